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
        """Whether more is kept than may be."""
        return self.held > self.limit

    def update(self, connection: Connection) -> None:
        """Count what the connection keeps now."""
        held = len(connection.buffer) + connection.unsent_bytes
        self.held += held - connection.held
        connection.held = held

    def remove(self, connection: Connection) -> None:
        """Count the connection no longer."""
        self.held -= connection.held
        connection.held = 0

    def count_dropped(self, reason: str) -> None:
        """Count a connection that is given up, in the metrics and for the log.

        A line for each would make an attack on the service one on its logs.
        """
        metrics.dropped.labels(reason).inc()
        self._dropped[reason] += 1

    def take_dropped(self) -> collections.Counter[str]:
        """The connections given up since the last call, by the reason."""
        dropped, self._dropped = self._dropped, collections.Counter()
        return dropped
