"""What the log says of rejected requests: a line for each would let any client flood it."""

from __future__ import annotations

import collections
import http
import logging
import threading
import time

from drydock import logs

log = logging.getLogger("app.server")

INTERVAL = 10.0  # seconds for which those that follow one of the same status are only counted


class Rejections:
    """This process's rejections; all threads may call it."""

    def __init__(self) -> None:
        """Begin without any."""
        self._lock = threading.Lock()
        self._more: collections.Counter[int] = collections.Counter()  # by status, not yet logged
        self._until: dict[int, float] = {}  # by status, in seconds of the monotonic clock

    def note(self, client: str, status: int, reason: str, request_id: str) -> None:
        """Count a rejection; log it at once if it is the first of its status for a while.

        `reason` may quote the client. At the level `debug` each one is logged. A failure of the
        application, which gunicorn has written this response to, always is.
        """
        failure = status >= http.HTTPStatus.INTERNAL_SERVER_ERROR
        level = logging.WARNING if failure or self._is_first(status) else logging.DEBUG
        token = logs.current_ids.set((request_id, None))
        log.log(level, "rejected %s with %d: %s", client, status, reason)
        logs.current_ids.reset(token)

    def _is_first(self, status: int) -> bool:
        """Count a rejection; return whether there is to be a line about it."""
        from drydock import metrics  # not before the directory of its files is set

        metrics.rejected.labels(str(status)).inc()
        now = time.monotonic()
        self.report(now)
        with self._lock:
            first = status not in self._until
            if first:
                self._until[status] = now + INTERVAL
            else:
                self._more[status] += 1
        return first

    def report(self, now: float) -> None:
        """Log how many more there were of each status whose time is over; at infinity it is."""
        if not self._until:  # nearly always
            return
        with self._lock:
            over = [status for status, until in self._until.items() if until <= now]
            for status in over:
                del self._until[status]
            counts = [(self._more.pop(status, 0), status) for status in over]
        for count, status in counts:
            if count:
                log.warning("%d more requests rejected with %d", count, status)


rejections = Rejections()
