"""What is counted: bytes that connections keep in memory, and connections that are dropped."""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING

from drydock import metrics

if TYPE_CHECKING:
    from drydock.server.connection import Connection


class Ledger:
    """A worker's counts."""

    def __init__(self, limit: int) -> None:
        """`limit`: how many bytes all connections together may keep."""
        self.limit = limit
        self.held = 0  # bytes that wait here for slow clients and for threads
        self._dropped: collections.Counter[str] = collections.Counter()

    @property
    def full(self) -> bool:
        """Whether more bytes are kept than the limit allows."""
        return self.held > self.limit

    def update(self, connection: Connection) -> None:
        """Count what the connection keeps now."""
        held = len(connection.buffer) + connection.unsent_bytes
        self.held += held - connection.held
        connection.held = held

    def remove(self, connection: Connection) -> None:
        """Stop counting the connection."""
        self.held -= connection.held
        connection.held = 0

    def count_dropped(self, reason: metrics.DropReason) -> None:
        """Count a connection that is dropped, in the metrics and for the log.

        A log line for each would let an attacker flood the logs.
        """
        metrics.dropped.labels(reason).inc()
        self._dropped[reason] += 1

    def take_dropped(self) -> collections.Counter[str]:
        """The number of connections dropped since the last call, by reason."""
        dropped, self._dropped = self._dropped, collections.Counter()
        return dropped
