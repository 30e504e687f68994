"""A client's connection: its socket, its state, what has arrived and what has not been sent."""

from __future__ import annotations

import collections
import contextlib
import fcntl
import socket
import struct
import sys
import termios
import time
from typing import TYPE_CHECKING, Any, Literal

from drydock.server.framing import Frame

if TYPE_CHECKING:
    from gunicorn.http.parser import RequestParser

# The states. Only the main loop changes them, in drydock.server.lifecycle; while the thread pool
# has a connection it is IN_FLIGHT.
IDLE, RECEIVING, IN_FLIGHT, SENDING, CLOSING = range(5)

# A client must send or take this many bytes a second, on average, after the seconds that its
# timeout grants: otherwise a byte now and then would hold a connection for ever.
MIN_RATE = 4096


def unsent_part(piece: memoryview, sent: int) -> memoryview:
    """What is left of a piece; it must not keep more than twice its size in memory."""
    left = piece[sent:]
    if 2 * len(left) < memoryview(piece.obj).nbytes:
        return memoryview(bytes(left))
    return left


class Connection:
    """A client's connection. The main loop owns it, except while a thread serves it."""

    __slots__ = (
        "buffer",
        "client",
        "deadline",
        "frame",
        "fully_read",
        "held",
        "keep_alive",
        "linger_until",
        "parser",
        "sent",
        "server",
        "since",
        "sock",
        "socket",
        "state",
        "timed_out",
        "unacknowledged",
        "unsent",
        "unsent_bytes",
    )

    # gunicorn's handle() reads these.
    initialized = True
    is_http2 = False

    def __init__(self, sock: socket.socket, client: Any, server: Any) -> None:  # noqa: ANN401
        """Take over a connection just accepted; `client` and `server` are the two addresses."""
        sock.setblocking(False)
        self.socket = sock
        self.client = client
        self.server = server
        self.enter(IDLE)
        self.buffer = bytearray()  # what has arrived and no thread has taken
        self.frame = Frame()
        self.unsent: collections.deque[memoryview] = collections.deque()
        self.unsent_bytes = 0
        self.held = 0  # the bytes of `buffer` and `unsent`, as the ledger last counted them
        self.sent = 0  # bytes that the client has taken since it did not take all at once
        # Which deadline passed while a thread waited.
        self.timed_out: Literal["", "body", "send"] = ""
        self.keep_alive = False  # whether another request may follow this response
        self.fully_read = False  # whether all that the client has sent has been read
        # While it is CLOSING: when it is closed at the latest, and what the kernel last held.
        self.linger_until = 0.0
        self.unacknowledged = 0
        # While a thread has it: the names are gunicorn's.
        self.sock: object = None
        self.parser: RequestParser | None = None

    def init(self) -> None:
        """Nothing: gunicorn would begin TLS here, for which there is no setting."""

    def enter(self, state: int, seconds: float = 0) -> None:
        """Enter a state, in which it may be for so many seconds."""
        self.state = state
        self.since = time.monotonic()  # as all times here
        self.deadline = self.since + seconds

    def allow(self, seconds: float, moved: int) -> None:
        """Let the state last so long, and longer for each byte that the client sent or took."""
        self.deadline = self.since + seconds + moved / MIN_RATE

    def forget_unsent(self) -> None:
        """Drop what has not been sent."""
        self.unsent.clear()
        self.unsent_bytes = 0

    def reset_on_close(self) -> None:
        """Let close() send a reset, so that the client sees that the response is truncated."""
        with contextlib.suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def count_unacknowledged(self) -> int:
        """How many bytes the client's kernel has not acknowledged; an end that was sent is one.

        Linux alone can say (SIOCOUTQ, which has the number of TIOCOUTQ: man 7 tcp).

        Raises:
            OSError: if the connection is gone.

        """
        return int.from_bytes(fcntl.ioctl(self.socket, termios.TIOCOUTQ, bytes(4)), sys.byteorder)

    def send_unsent(self) -> bool:
        """Send what the client takes now; return whether all has been sent.

        Raises:
            OSError: if the client is gone.

        """
        while self.unsent:
            piece = self.unsent[0]
            try:
                sent = self.socket.send(piece)
            except BlockingIOError:
                return False
            self.sent += sent
            self.unsent_bytes -= sent
            if sent < len(piece):
                self.unsent[0] = unsent_part(piece, sent)
            else:
                self.unsent.popleft()
        return True
