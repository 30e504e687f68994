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
from typing import Any

MAPPED = "::ffff:"  # RFC 4291, 2.5.5.2: what follows is an IPv4 address, as Python shows it
ESTABLISHED = 1
FILL_TIMEOUT = 0.05  # seconds; on loopback all of this takes microseconds


def _tcp_info(sock: socket.socket) -> tuple[int, int]:
    """A socket's state, and what waits: bytes to be acknowledged or, of a listener, connections."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)  # linux/tcp.h: tcp_info
    return info[0], struct.unpack_from("I", info, 24)[0]


def plain(address: tuple[Any, ...]) -> tuple[Any, ...]:
    """The address of a client; of an IPv4 client at an IPv6 socket, its IPv4 address.

    Logs and lists of trusted proxies are to have the one that it is known by.
    """
    host, port = address[:2]
    return (host.removeprefix(MAPPED), port) if host.startswith(MAPPED) else address


def plug(listener: socket.socket) -> bool:
    """Try to fill the queue of `listener`, just found empty, with a connection of our own.

    Returns:
        Whether no other connection is in the queue or can get there: the listener can be closed.

    """
    listener.listen(0)
    host, port = listener.getsockname()[:2]
    # For `::` in IPv4, since a container may have no IPv6 address, not even ::1.
    host = {"0.0.0.0": "127.0.0.1", "::": "::ffff:127.0.0.1"}.get(host, host)  # noqa: S104
    deadline = time.monotonic() + FILL_TIMEOUT
    # An OSError also if no file descriptor is left for the socket.
    with contextlib.suppress(OSError), socket.socket(listener.family) as filler:
        filler.settimeout(FILL_TIMEOUT)
        filler.connect((host, port))
        # To its client a connection seems complete before it is in the queue. Data is acknowledged
        # only once it is there.
        filler.send(b"\0")
        while _tcp_info(filler) != (ESTABLISHED, 0):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.001)
        return _tcp_info(listener)[1] == 1
    return False
