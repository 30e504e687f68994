"""Waiting for sockets and threads in one place: epoll, and a descriptor that threads write to."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket


class Poller:
    """What the main loop waits for. Made in the worker: descriptors of epoll survive a fork."""

    def __init__(self) -> None:
        """Begin with nothing but the descriptor that wakes the loop."""
        self._epoll = select.epoll()
        self.wake_descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self.wake_descriptor, select.EPOLLIN)
        self.poll = self._epoll.poll  # seconds; returns pairs of a descriptor and its events

    def wake(self) -> None:
        """Let poll() return, from any thread or a signal's handler."""
        os.eventfd_write(self.wake_descriptor, 1)

    def clear_wake(self) -> None:
        """Clear all calls of wake() so far."""
        os.eventfd_read(self.wake_descriptor)

    def add_listener(self, listener: socket.socket) -> None:
        """Return from poll() whenever a connection waits to be accepted."""
        self._epoll.register(listener, select.EPOLLIN)

    def enable_listener(self, listener: socket.socket, *, enabled: bool) -> None:
        """Set whether a connection that waits ends poll()."""
        self._epoll.modify(listener, select.EPOLLIN if enabled else 0)

    def remove_listener(self, listener: socket.socket) -> None:
        """Stop waiting for the listener."""
        self._epoll.unregister(listener)

    def add(self, client: socket.socket) -> None:
        """Wait for the client's first bytes; closing the socket removes it."""
        self._epoll.register(client, select.EPOLLIN | select.EPOLLONESHOT)

    def await_input(self, client: socket.socket) -> None:
        """Return from poll() once, when the client has sent something."""
        self._epoll.modify(client, select.EPOLLIN | select.EPOLLONESHOT)

    def await_output(self, client: socket.socket) -> None:
        """Return from poll() once, when the client has taken something."""
        self._epoll.modify(client, select.EPOLLOUT | select.EPOLLONESHOT)

    def close(self) -> None:
        """Close both descriptors."""
        self._epoll.close()
        os.close(self.wake_descriptor)
