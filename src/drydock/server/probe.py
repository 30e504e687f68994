"""Which liveness probes the main loop responds to by itself, while all threads are busy."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gunicorn.http.errors import ParseException

from drydock.server import responses, strict

if TYPE_CHECKING:
    from collections.abc import Callable

    from gunicorn.config import Config

    from drydock.server.connection import Connection
    from drydock.server.pool import ThreadPool
    from drydock.settings import BaseSettings

REQUEST = b"GET /livez HTTP/1."


class LivenessProbe:
    """Recognises the probes, and decides whether the worker is alive."""

    def __init__(
        self, cfg: Config, settings: BaseSettings, pool: ThreadPool, closes: Callable[[], bool]
    ) -> None:
        """`cfg`: for gunicorn's parser; `pool`: its threads make progress while it is alive.

        `closes`: whether each response now closes its connection.
        """
        self.cfg = cfg
        self.closes = closes
        self.pool = pool
        self.metrics_port = settings.metrics_port
        self.hang_timeout = cfg.timeout

    def respond(self, connection: Connection) -> tuple[bytes, bool] | None:
        """The response, and whether another request may follow it; None if a thread has to respond.

        Only a valid probe gets one, while the worker is overloaded but alive: while its threads
        make progress. Restarting a worker that is only overloaded makes the overload worse, but a
        hang has to show. The port of the metrics has no probe.
        """
        if (
            not connection.buffer.startswith(REQUEST)
            or connection.server[1] == self.metrics_port
            or time.monotonic() - self.pool.last_progress >= self.hang_timeout
        ):
            return None
        request = self._parse(connection)
        if request is None:
            return None
        keep_alive = not (request.should_close() or self.closes() or not self.cfg.keepalive)
        given = ",".join(value for name, value in request.headers if name == "X-REQUEST-ID")
        return responses.alive(request.version, given, keep_alive=keep_alive), keep_alive

    def _parse(self, connection: Connection) -> strict.Request | None:
        """The request in the buffer, if it is one valid request without a body, and nothing more.

        The parser and `strict` decide, as in a thread: all of it is here, so that they wait for
        nothing.
        """
        data, frame = connection.buffer, connection.frame
        if not frame.complete or len(data) != frame.head_bytes:
            return None
        try:
            request = strict.parse_head(self.cfg, bytes(data), connection.client)
        except ParseException:
            return None
        # One with `Content-Length: 0`, for example, is valid but not what a probe sends.
        if any(name in strict.CONTENT_FIELDS for name, _ in request.headers):
            return None
        return request
