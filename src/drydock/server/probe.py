"""Which liveness probes the main loop responds to by itself, while all threads are busy."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gunicorn.http.errors import ParseException

from drydock.server import strict

if TYPE_CHECKING:
    from gunicorn.config import Config

    from drydock.server.connection import Connection
    from drydock.server.pool import ThreadPool
    from drydock.settings import Settings

REQUEST = b"GET /livez HTTP/1."


class LivenessProbe:
    """Recognises the probes, and decides whether the worker is alive."""

    def __init__(self, cfg: Config, settings: Settings, pool: ThreadPool) -> None:
        """`cfg`: for gunicorn's parser; `pool`: its threads make progress while it is alive."""
        self.cfg = cfg
        self.pool = pool
        self.metrics_port = settings.metrics_port
        self.hang_timeout = cfg.timeout

    def passes(self, connection: Connection) -> bool:
        """Whether the connection's request is a valid probe, and the worker overloaded but alive.

        Alive while its threads make progress: restarting a worker that is only overloaded makes the
        overload worse, but a hang has to show. The port of the metrics has no probe.
        """
        return (
            connection.buffer.startswith(REQUEST)
            and connection.server[1] != self.metrics_port
            and time.monotonic() - self.pool.last_progress < self.hang_timeout
            and self._is_valid(connection)
        )

    def _is_valid(self, connection: Connection) -> bool:
        """Whether the buffer is one valid request without a body, and nothing more.

        The parser and `strict` decide, as in a thread: all of it is here, so that they wait for
        nothing.
        """
        data, frame = connection.buffer, connection.frame
        if not frame.complete or len(data) != frame.head_bytes:
            return False
        try:
            request = strict.parse_head(self.cfg, bytes(data), connection.client)
        except ParseException:
            return False
        # One with `Content-Length: 0`, for example, is valid but not what a probe sends.
        return not any(name in strict.CONTENT_FIELDS for name, _ in request.headers)
