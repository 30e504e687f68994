"""What bounds a worker's connections: their deadlines, and the memory that they take."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from drydock.server.connection import IN_FLIGHT, RECEIVING, SENDING
from drydock.server.rejections import rejections

if TYPE_CHECKING:
    import logging

    from drydock.server.ledger import Ledger
    from drydock.server.lifecycle import Lifecycle
    from drydock.server.pool import ThreadPool

# If a thousand deadlines pass together, the other clients must not wait until each has its 408.
MAX_EXPIRED = 20

MIN_SECONDS = 1.0  # that a request may take to arrive before it is dropped for its memory


class Bounds:
    """Drops what takes too long or too much; some of it at each tick."""

    def __init__(
        self, lifecycle: Lifecycle, pool: ThreadPool, ledger: Ledger, log: logging.Logger
    ) -> None:
        """Watch over the connections of `lifecycle`, whose requests `pool` serves."""
        self.lifecycle = lifecycle
        self.pool = pool
        self.ledger = ledger
        self.log = log

    def enforce(self, now: float) -> bool:
        """Do what is due; return whether more is left for after a look at other clients."""
        more = self._expire(now)
        self.free_memory()
        self.lifecycle.resume_parked()
        self.report(now)
        return more

    def report(self, now: float) -> None:
        """Log what has been counted until now; `now` may be infinity, for all of it."""
        for reason, count in self.ledger.take_dropped().items():
            self.log.warning("%d connections dropped: %s", count, reason)
        rejections.report(now)

    def _expire(self, now: float) -> bool:
        """Expire connections whose deadline has passed; return whether more are left."""
        queued = self.pool.queued
        expired = [
            connection
            for connection in self.lifecycle.connections.values()
            if connection.deadline < now and (connection.state != IN_FLIGHT or connection in queued)
        ]
        for connection in expired[:MAX_EXPIRED]:
            try:
                self.lifecycle.expire(connection)
            except OSError:
                self.lifecycle.drop(connection)
        return len(expired) > MAX_EXPIRED

    def free_memory(self) -> None:
        """Keep the memory bounded: drop the slowest clients until a quarter is free again.

        The slowest are those whose request or response has taken longest. A body that has just
        begun is not dropped but parked, for a tick or two.
        """
        if not self.ledger.full:
            return
        begun = time.monotonic() - MIN_SECONDS
        lifecycle = self.lifecycle
        slow = [
            connection
            for connection in lifecycle.connections.values()
            if connection.state == SENDING
            or (connection.state == RECEIVING and connection.since < begun)
        ]
        for connection in sorted(slow, key=lambda connection: connection.since):
            if self.ledger.held < self.ledger.limit * 3 // 4:
                break
            self.ledger.count_dropped("memory")
            lifecycle.drop(connection, reset=True)
