"""How to close a listening socket without losing a connection that waits in its queue.

The kernel completes connections by itself and resets those that wait when the last descriptor of
their listener is closed. Accepting until nobody waits is not enough: between the last accept() and
the close() there is always time for one more. So the queue is plugged first: with a backlog of 0
it holds one connection, and if that one is ours, no other can come in. The kernel then ignores
further connections, and after the close refuses them, as at any closed port.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time

ESTABLISHED = 1
FILL_TIMEOUT = 0.05  # seconds; on loopback all of this takes microseconds


def _tcp_info(sock: socket.socket) -> tuple[int, int]:
    """A socket's state, and what waits: bytes to be acknowledged or, of a listener, connections."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)  # linux/tcp.h: tcp_info
    return info[0], struct.unpack_from("I", info, 24)[0]


def plug(listener: socket.socket) -> bool:
    """Try to fill the queue of `listener`, just found empty, with a connection of our own.

    Returns:
        Whether no other connection is in the queue or can get there: the listener can be closed.

    """
    listener.listen(0)
    host, port = listener.getsockname()[:2]
    deadline = time.monotonic() + FILL_TIMEOUT
    # An OSError also if no file descriptor is left for the socket.
    with contextlib.suppress(OSError), socket.socket(listener.family) as filler:
        filler.settimeout(FILL_TIMEOUT)
        filler.connect(("127.0.0.1" if host == "0.0.0.0" else host, port))  # noqa: S104
        # To its client a connection seems complete before it is in the queue. Data is acknowledged
        # only once it is there.
        filler.send(b"\0")
        while _tcp_info(filler) != (ESTABLISHED, 0):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.001)
        return _tcp_info(listener)[1] == 1
    return False
