"""What bounds a worker's connections: their deadlines, and the memory that they take."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from drydock.server.connection import IN_FLIGHT, RECEIVING, SENDING

if TYPE_CHECKING:
    import logging

    from drydock.server.ledger import Ledger
    from drydock.server.lifecycle import Lifecycle
    from drydock.server.pool import ThreadPool

# A thousand clients whose time is up together must not make all others wait until each has its 408.
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
        """Do all that is due; whether there is more, to be done after a look at other clients."""
        more = self._expire(now)
        self.free_memory()
        self.lifecycle.resume_parked()
        for reason, count in self.ledger.take_dropped().items():
            self.log.warning("%d connections dropped: %s", count, reason)
        return more

    def _expire(self, now: float) -> bool:
        """End what has passed its deadline; whether there is more."""
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

        Those are the ones that have been at it for longest. A body that has just begun is no
        reason: it is parked, for a tick or two.
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
