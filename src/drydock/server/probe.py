"""What the main loop responds to by itself, while all threads are busy.

A liveness probe, since a worker that is only overloaded must not be restarted; and the metrics, for
else nobody would see an overload while there is one.
"""

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

LIVENESS = b"GET /livez HTTP/1."
METRICS = b"GET /metrics HTTP/1."


class Probes:
    """Recognises the requests, and decides whether the worker is alive."""

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

        Only a valid request gets one. Each port has its own: a probe, while the worker is
        overloaded but alive, which is while its threads make progress, for a hang has to show; the
        metrics, which show it.
        """
        asks_metrics = connection.server[1] == self.metrics_port
        if not connection.buffer.startswith(METRICS if asks_metrics else LIVENESS):
            return None
        if not asks_metrics and time.monotonic() - self.pool.last_progress >= self.hang_timeout:
            return None
        request = self._parse(connection)
        if request is None:
            return None
        keep_alive = not (request.should_close() or self.closes() or not self.cfg.keepalive)
        make = responses.measured if asks_metrics else responses.alive
        field = "ACCEPT" if asks_metrics else "X-REQUEST-ID"
        given = ",".join(value for name, value in request.headers if name == field)
        return make(request.version, given, keep_alive=keep_alive), keep_alive

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
