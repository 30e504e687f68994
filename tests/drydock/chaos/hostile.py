"""Hostile clients: many connections, and next to nothing on each."""

from __future__ import annotations

import contextlib
import resource
import selectors
import socket
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def allow_files(count: int) -> None:
    """Let this process open so many files, where its soft limit does not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))


class Hostile:
    """So many connections, each of which sends `opening` and then a byte a second."""

    def __init__(self, port: int, count: int, opening: bytes, drip: bytes = b"") -> None:
        self.port = port
        self.opening = opening
        self.drip = drip
        self.closed = 0  # by the server
        self.pause = 0.5 / count  # seconds: a burst may come to one worker and leave the others
        self.sockets = [self.connect() for _ in range(count)]
        self.over = threading.Event()

    def connect(self) -> socket.socket:
        time.sleep(self.pause)
        with contextlib.ExitStack() as stack:
            connection = stack.enter_context(socket.socket())
            # A receive window as small as possible; set before connect(), which announces it.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(10)
            connection.connect(("127.0.0.1", self.port))
            connection.sendall(self.opening)
            connection.setblocking(False)
            stack.pop_all()
        return connection

    def run(self) -> None:
        """Send a byte a second, and connect again when the server closes."""
        while not self.over.wait(1):
            for number, connection in enumerate(self.sockets):
                try:
                    connection.send(self.drip)
                except BlockingIOError:
                    pass
                except OSError:
                    self.closed += 1
                    connection.close()
                    with contextlib.suppress(OSError):
                        self.sockets[number] = self.connect()


@contextlib.contextmanager
def attack(port: int, count: int, opening: bytes, drip: bytes = b"") -> Iterator[Hostile]:
    """Keep `count` such connections for as long as the context lasts."""
    allow_files(count + 1000)
    hostile = Hostile(port, count, opening, drip)
    thread = threading.Thread(target=hostile.run)
    thread.start()
    try:
        yield hostile
    finally:
        hostile.over.set()
        thread.join()
        for connection in hostile.sockets:
            connection.close()


def ask(connection: socket.socket) -> bytes:
    """Send one request on a kept connection and return its whole response."""
    connection.sendall(b"GET /hello/idle HTTP/1.1\r\nHost: x\r\n\r\n")
    response = b""
    while not response.endswith(b"}\n"):
        received = connection.recv(65536)
        assert received, f"closed after {response!r}"
        response += received
    return response


@contextlib.contextmanager
def idle(port: int, count: int) -> Iterator[list[socket.socket]]:
    """So many connections that have had a response and are idle since."""
    allow_files(count + 1000)
    with contextlib.ExitStack() as stack:
        sockets = []
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", port), 10)
            sockets.append(stack.enter_context(connection))
            assert ask(connection).startswith(b"HTTP/1.1 200")
        yield sockets


def seconds_until_closed(connections: list[socket.socket], within: float) -> list[float]:
    """After how long the server has closed each; fails if it has not closed all in time."""
    began = time.monotonic()
    took = []
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            connection.setblocking(False)
            selector.register(connection, selectors.EVENT_READ)
        while selector.get_map():
            assert time.monotonic() - began < within, f"{len(selector.get_map())} are still open"
            for key, _ in selector.select(0.1):
                with contextlib.suppress(ConnectionError):
                    if key.fileobj.recv(65536):  # type: ignore[union-attr]
                        continue
                selector.unregister(key.fileobj)
                took.append(time.monotonic() - began)
    return took
