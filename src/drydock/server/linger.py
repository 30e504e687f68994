"""The end of a connection, so that its client gets the whole response (RFC 9112, 9.6).

The kernel sends a reset if something is unread at the close, or arrives after it; and the reset may
overtake the response, or destroy what of it the client has not read. So only this side is closed,
unless all has been read and acknowledged; and what still comes is discarded for a while.
"""

from __future__ import annotations

import socket
import sys
import time
from typing import TYPE_CHECKING

from drydock.server.connection import CLOSING

if TYPE_CHECKING:
    from collections.abc import Callable

    from drydock.server.connection import Connection
    from drydock.server.poller import Poller

# Seconds.
LINGER = 2.0  # for which a client may neither take nor send a byte
LOOK = 0.25  # between two looks whether it has taken all, which is no event

LINGER_BYTES = 2**26  # how much of an unused body is read, so that its sender gets the response
RECEIVE_BYTES = 2**16

# What is read at a time, then copied or discarded. One for all: only the main loop reads.
scratch = memoryview(bytearray(RECEIVE_BYTES))


class Linger:
    """Connections whose last response has been sent."""

    def __init__(self, timeout: float, poller: Poller, drop: Callable[[Connection], None]) -> None:
        """Let go of each within `timeout` seconds, by calling `drop`."""
        self.timeout = timeout
        self.poller = poller
        self.drop = drop

    def begin(self, connection: Connection) -> None:
        """Close the connection, at once if there is nothing to wait for.

        Raises:
            OSError: if the client is gone.

        """
        connection.enter(CLOSING)
        connection.linger_until = connection.since + LINGER
        connection.sent = 0  # bytes that are discarded
        connection.unacknowledged = sys.maxsize
        self.discard_input(connection)
        if connection.socket.fileno() >= 0:
            connection.socket.shutdown(socket.SHUT_WR)

    def discard_input(self, connection: Connection) -> None:
        """Discard what the client sends, until it has got its response or its time is over.

        Raises:
            OSError: if the client is gone.

        """
        try:
            size = connection.socket.recv_into(scratch)
        except BlockingIOError:
            size = -1
        if size > 0:
            connection.fully_read = False
            connection.sent += size
        unacknowledged = connection.count_unacknowledged()
        delivered = connection.fully_read and not unacknowledged
        if size == 0 or delivered or connection.sent > LINGER_BYTES:
            self.drop(connection)
            return
        now = time.monotonic()
        if size > 0 or unacknowledged < connection.unacknowledged:
            connection.linger_until = min(now + LINGER, connection.since + self.timeout)
        connection.unacknowledged = unacknowledged
        connection.deadline = min(now + LOOK, connection.linger_until)
        self.poller.await_input(connection.socket)
