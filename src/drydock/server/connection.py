"""A client's connection, and what gunicorn's threads see of it in place of a socket.

All sockets are non-blocking. The main loop reads a request before a thread gets it, and sends what
the client did not take while the thread was there, so that no thread waits for a client. Two waits
remain, each with a deadline: for a body too large to keep, and for the client to take some of an
answer that is made piece by piece and is too large to keep.
"""

from __future__ import annotations

import collections
import errno
import select
import time
from typing import TYPE_CHECKING, Any

from drydock.server.framing import Frame

if TYPE_CHECKING:
    import socket

    from gunicorn.http.parser import RequestParser

# A client must send or take so many bytes a second, on average, after the seconds that its
# timeout grants: without it a byte now and then would hold a connection for ever.
LOWEST_RATE = 4096
# The most of an answer made piece by piece that is kept until the client takes it. A piece is never
# split: it is in memory anyway, and most answers are one.
KEPT_PIECES = 2**18
# Pieces are joined up to so many bytes: a piece of a few would cost many times its size.
SMALL_PIECE = 2**12

# Up to so many bytes a head and what follows are sent as one.
SMALL_ANSWER = 2**16

# Only the main loop writes a connection's state: while a thread has one it is QUEUED.
READING, QUEUED, SENDING, CLOSING = range(4)


def rest(piece: memoryview, sent: int) -> memoryview:
    """What is left of a piece; it must not keep more than twice its size in memory."""
    left = piece[sent:]
    if 2 * len(left) < memoryview(piece.obj).nbytes:
        return memoryview(bytes(left))
    return left


class Connection:
    """A client's connection; owned by the main loop, but by a thread while it answers."""

    __slots__ = (
        "buffer",
        "clean",
        "client",
        "deadline",
        "frame",
        "given_up",
        "held",
        "keep",
        "out",
        "parser",
        "sent",
        "server",
        "since",
        "sock",
        "socket",
        "state",
        "unsent",
    )

    # What gunicorn's handle() asks of its own connections.
    initialized = True
    is_http2 = False

    def __init__(self, sock: socket.socket, client: Any, server: Any, now: float) -> None:  # noqa: ANN401
        """Take over a connection just accepted; `client` and `server` are the two addresses."""
        sock.setblocking(False)
        self.socket = sock
        self.client = client
        self.server = server
        self.state = READING
        self.since = now  # when it came into its state, in seconds of the monotonic clock
        self.deadline = now  # when it has to be out of it
        self.buffer = bytearray()  # what has arrived and no thread has taken
        self.frame = Frame()
        self.out: collections.deque[memoryview] = collections.deque()  # what has not been sent
        self.unsent = 0  # the bytes of `out`
        self.held = 0  # the bytes of both that the worker has on its account
        self.sent = 0  # what the client has taken since it did not take all at once
        self.given_up = ""  # what a thread has given up on: receiving the "body", or to "send"
        self.keep = False  # whether another request may follow this answer
        self.clean = False  # nothing that the client has sent is left unread
        # While a thread has it: the names are gunicorn's.
        self.sock: Exchange | None = None
        self.parser: RequestParser | None = None

    def init(self) -> None:
        """Nothing: gunicorn would begin TLS here, for which there is no setting."""

    def push(self) -> bool:
        """Send what the client takes now; return whether that was all.

        Raises:
            OSError: if the client is gone.

        """
        while self.out:
            piece = self.out[0]
            try:
                sent = self.socket.send(piece)
            except BlockingIOError:
                return False
            self.sent += sent
            self.unsent -= sent
            if sent < len(piece):
                self.out[0] = rest(piece, sent)
            else:
                self.out.popleft()
        return True


class Exchange:
    """One request and its answer: stands in for the socket in gunicorn's parser and response."""

    __slots__ = ("_connection", "_head", "_read", "_timeouts", "_waited")

    def __init__(self, connection: Connection, body_timeout: float, send_timeout: float) -> None:
        """Serve `connection`; the timeouts are in seconds, each plus the time at LOWEST_RATE."""
        self._connection = connection
        self._timeouts = {select.POLLIN: body_timeout, select.POLLOUT: send_timeout}
        self._waited: dict[int, float] = {}
        self._read = 0
        self._head: bytes | None = None  # kept until there is something to send with it

    def recv(self, size: int) -> bytes:
        """More of a body that was too large to be kept.

        Raises:
            ConnectionResetError: if the client sends it too slowly.
            OSError: if the client is gone.

        """
        self._wait(select.POLLIN, self._read)
        received = self._connection.socket.recv(size)
        self._read += len(received)
        return received

    def sendall(self, data: bytes) -> None:
        """Send a part of the answer; the head, which comes first, together with what follows.

        Of a process that is killed in between a proxy would get a head, and could no longer ask
        another for the answer.

        Raises:
            OSError: as send().

        """
        if self._head is None:
            self._head = data
            return
        if self._head and len(data) <= SMALL_ANSWER:
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
        """Send now what the client takes; keep the rest for the main loop.

        Raises:
            ConnectionResetError: if the client takes too slowly an answer that can't all be kept.
            OSError: if the client is gone.

        """
        connection = self._connection
        if not connection.out:  # nearly always
            try:
                sent = connection.socket.send(data)
            except BlockingIOError:
                sent = 0
            if sent == len(data):
                return
        else:
            sent = 0
        connection.unsent += len(data) - sent
        if connection.out and len(connection.out[-1]) < SMALL_PIECE:
            data = b"".join((connection.out.pop(), data))
        connection.out.append(rest(memoryview(data), sent))
        while not connection.push() and connection.unsent - len(connection.out[-1]) > KEPT_PIECES:
            self._wait(select.POLLOUT, connection.sent)

    def _wait(self, event: int, moved: int) -> None:
        """Wait for the client, which has moved so many bytes; the service's own time is free."""
        began = time.monotonic()
        waited = self._waited.get(event, 0.0)
        poll = select.poll()
        poll.register(self._connection.socket, event)
        allowed = self._timeouts[event] + moved / LOWEST_RATE - waited
        if not poll.poll(max(0.0, allowed) * 1000):
            self._connection.given_up = "send" if event == select.POLLOUT else "body"
            # The error that gunicorn takes for a client that has gone away.
            raise ConnectionResetError(errno.ECONNRESET, "the client is too slow")
        self._waited[event] = waited + time.monotonic() - began

    def getpeername(self) -> Any:  # noqa: ANN401
        """The client's address.

        Raises:
            OSError: if the client is gone.

        """
        return self._connection.socket.getpeername()

    def gettimeout(self) -> float:
        """0, as of a socket that does not block: gunicorn then leaves all as it is."""
        return 0.0

    def settimeout(self, seconds: float | None) -> None:
        """Nothing: the deadlines are this object's own."""

    def setblocking(self, flag: bool) -> None:
        """Nothing, as above."""

    def shutdown(self, how: int) -> None:  # noqa: ARG002 (as the socket's)
        """Refuse, which ends gunicorn's own lingering close: closing is up to the main loop.

        Raises:
            OSError: always.

        """
        raise OSError(errno.ENOTCONN, "the main loop closes connections")

    def close(self) -> None:
        """Nothing, as above."""
