"""One request and its response: what gunicorn's threads see in place of a client's socket.

All sockets are non-blocking. The main loop reads a request before a thread gets it, and sends what
the client did not take while the thread was there, so that no thread waits for a client. Two waits
remain, each with a deadline: for a body too large to keep, and for the client to take some of a
response that is made piece by piece and is too large to keep.
"""

from __future__ import annotations

import errno
import select
import time
from typing import TYPE_CHECKING, Any

from drydock.server.connection import MIN_RATE, unsent_part

if TYPE_CHECKING:
    from drydock.server.connection import Connection

# The most of a response made piece by piece that is kept until the client takes it. A piece is
# never split: it is in memory anyway, and most responses are one.
MAX_UNSENT = 2**18
# Pieces are joined up to this many bytes: a piece of a few would cost many times its size.
SMALL_PIECE = 2**12

# Up to this many bytes, a response's head and what follows are sent together.
SMALL_RESPONSE = 2**16


class Exchange:
    """Stands in for the socket in gunicorn's parser and response."""

    __slots__ = ("_connection", "_head", "_received", "_seconds_waited", "_timeouts", "start")

    def __init__(self, connection: Connection, body_timeout: float, send_timeout: float) -> None:
        """Serve `connection`; the timeouts are in seconds, each plus the time at MIN_RATE."""
        self._connection = connection
        self.start = connection.buffer[:7]  # of the request, for a response to what is not parsed
        self._timeouts = {select.POLLIN: body_timeout, select.POLLOUT: send_timeout}
        self._seconds_waited: dict[int, float] = {}
        self._received = 0
        self._head: bytes | None = None  # kept until there is something to send with it

    def recv(self, size: int) -> bytes:
        """More of a body that was too large to be kept.

        Raises:
            ConnectionResetError: if the client sends it too slowly.
            OSError: if the client is gone.

        """
        self._wait(select.POLLIN, self._received)
        received = self._connection.socket.recv(size)
        self._received += len(received)
        return received

    def sendall(self, data: bytes) -> None:
        """Send a part of the response; the head, which comes first, together with what follows.

        If the process is killed in between, a proxy has got a head and can no longer retry the
        request elsewhere.

        Raises:
            OSError: as send().

        """
        if self._head is None:
            self._head = data
            return
        if self._head and len(data) <= SMALL_RESPONSE:
            data = self._head + data
            self._head = b""
        self.flush()
        self.send(data)

    def flush(self) -> None:
        """Send the head by itself, if that is all or what follows is large.

        Raises:
            OSError: as send().

        """
        if self._head:
            head, self._head = self._head, b""
            self.send(head)

    def send(self, data: bytes) -> None:
        """Send now what the client takes; leave what is left to the main loop.

        Raises:
            ConnectionResetError: if the client takes too slowly a response that can't all be kept.
            OSError: if the client is gone.

        """
        connection = self._connection
        if not connection.unsent:  # nearly always
            try:
                sent = connection.socket.send(data)
            except BlockingIOError:
                sent = 0
            if sent == len(data):
                return
        else:
            sent = 0
        connection.unsent_bytes += len(data) - sent
        if connection.unsent and len(connection.unsent[-1]) < SMALL_PIECE:
            data = b"".join((connection.unsent.pop(), data))
        connection.unsent.append(unsent_part(memoryview(data), sent))
        while not connection.send_unsent():
            if connection.unsent_bytes - len(connection.unsent[-1]) <= MAX_UNSENT:
                return
            self._wait(select.POLLOUT, connection.sent)

    def _wait(self, event: int, moved: int) -> None:
        """Wait for the client, which has sent or taken `moved` bytes.

        The time that the application takes does not count.
        """
        began = time.monotonic()
        waited = self._seconds_waited.get(event, 0.0)
        poll = select.poll()
        poll.register(self._connection.socket, event)
        allowed = self._timeouts[event] + moved / MIN_RATE - waited
        if not poll.poll(max(0.0, allowed) * 1000):
            self._connection.timed_out = "send" if event == select.POLLOUT else "body"
            # gunicorn treats this error as a client that is gone.
            raise ConnectionResetError(errno.ECONNRESET, "the client is too slow")
        self._seconds_waited[event] = waited + time.monotonic() - began

    def getpeername(self) -> Any:  # noqa: ANN401
        """The client's address.

        Raises:
            OSError: if the client is gone.

        """
        return self._connection.socket.getpeername()

    def gettimeout(self) -> float:
        """0, as for a non-blocking socket: gunicorn then leaves it as it is."""
        return 0.0

    def settimeout(self, seconds: float | None) -> None:
        """Do nothing: this object has its own deadlines."""

    def setblocking(self, flag: bool) -> None:
        """Do nothing, as above."""

    def shutdown(self, how: int) -> None:  # noqa: ARG002 (as the socket's)
        """Fail, so that gunicorn skips its own lingering close: the main loop does the closing.

        Raises:
            OSError: always.

        """
        raise OSError(errno.ENOTCONN, "the main loop closes connections")

    def close(self) -> None:
        """Do nothing, as above."""
