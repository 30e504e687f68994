"""Accepts connections: shares them with other workers, makes room, pauses, empties the queue."""

from __future__ import annotations

import errno
import socket
import time
from typing import TYPE_CHECKING

from drydock.server import state
from drydock.server.listener import plain, plug

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from drydock.metrics import DropReason
    from drydock.server.connection import Connection
    from drydock.server.ledger import Ledger
    from drydock.server.lifecycle import Lifecycle
    from drydock.server.poller import Poller

# Seconds.
YIELD = 0.01  # how long connections are left to a worker that has fewer
YIELD_TICK = 0.001  # how often to check whether it has caught up
YIELD_PAUSE = 0.1  # how long it does not yield again after one that has not caught up in time

AT_ONCE = 4  # connections accepted before a look at what clients have sent

UNSENT_BYTES = 2**17  # what the kernel takes of a response beyond what is on its way
NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Acceptor:
    """A worker's side of the listening sockets, which all workers share."""

    def __init__(
        self, slot: int, limit: int, poller: Poller, lifecycle: Lifecycle, ledger: Ledger
    ) -> None:
        """`limit`: how many connections this worker, the one in `slot`, may have."""
        self.slot = slot
        self.limit = limit
        self.poller = poller
        self.lifecycle = lifecycle
        self.ledger = ledger
        self.listeners: dict[int, socket.socket] = {}  # by file descriptor
        self.makes_room = True  # whether one connection may be dropped for another
        self.paused = False  # not accepting, since there is no room
        # Seconds of the monotonic clock.
        self.paused_at = 0.0  # when there was last no room
        self._yields_until = 0.0  # 0 while it does not yield
        self._yields_from = 0.0  # it does not yield before this
        lifecycle.on_drop = self._on_drop

    def start(self, listeners: Iterable[socket.socket]) -> None:
        """Accept from now on."""
        state.set_flag(self.slot, state.ACCEPTING)
        for listener in listeners:
            listener.setblocking(False)
            self.listeners[listener.fileno()] = listener
            self.poller.add_listener(listener)

    def on_event(self, descriptor: int) -> None:
        """Accept a few connections, so that workers share a burst; or leave them to another."""
        listener = self.listeners.get(descriptor)
        if listener is None or self._yields():
            return
        for _ in range(AT_ONCE):
            # Room for a further one is made only if it is there: by the next event.
            if not self.accept(listener) or self.full or self._is_ahead():
                return

    @property
    def full(self) -> bool:
        """Whether there are as many connections as there may be."""
        return len(self.lifecycle.connections) >= self.limit

    def accept(self, listener: socket.socket) -> bool:
        """Accept one connection; return whether there may be another."""
        if self.full and not self.make_room():
            self._pause()
            return False
        try:
            accepted, client = listener.accept()
        except OSError as error:
            if error.errno not in NO_ROOM:
                # No connection waits, or it is gone again.
                return error.errno not in (errno.EAGAIN, errno.EWOULDBLOCK)
            if self.make_room():
                return True
            # Level-triggered, the listener would wake the loop at once and for ever.
            self._pause()
            return False
        # Without it the kernel takes megabytes of a response, which can't be counted here, for a
        # client that reads nothing.
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        self.lifecycle.open(accepted, plain(client), listener.getsockname())
        state.set_connections(self.slot, len(self.lifecycle.connections))
        return True

    # ---- sharing with other workers -------------------------------------------------------------

    def _is_ahead(self) -> bool:
        return state.another_has_fewer_connections(self.slot)

    def _yields(self) -> bool:
        """Leave new connections to a worker that has fewer, if that one is quick.

        All workers are woken for each connection, and the same one is first again and again:
        without this, half of the processors were idle.
        """
        now = time.monotonic()
        if not self._yields_until and now >= self._yields_from and self._is_ahead():
            self._yields_until = now + YIELD
            state.set_flag(self.slot, state.YIELDING)
            self._listen(enabled=False)
        return bool(self._yields_until)

    def set_busy(self, *, busy: bool) -> None:
        """Let the others know whether connections would wait here until requests are served."""
        change = state.set_flag if busy else state.clear_flag
        change(self.slot, state.BUSY)

    def next_look(self, now: float, timeout: float) -> float:
        """End yielding if it is time to; return the seconds until this has to be called again."""
        if not self._yields_until:
            return timeout
        if now >= self._yields_until:
            self._yields_from = now + YIELD_PAUSE  # the other one hangs, or has just started
        elif self._is_ahead():
            return min(timeout, YIELD_TICK)
        self._yields_until = 0.0
        state.clear_flag(self.slot, state.YIELDING)
        if not self.paused:
            self._listen(enabled=True)
        return timeout

    def _listen(self, *, enabled: bool) -> None:
        """Set whether new connections wake the main loop."""
        for listener in self.listeners.values():
            self.poller.enable_listener(listener, enabled=enabled)

    # ---- room -----------------------------------------------------------------------------------

    def make_room(self) -> bool:
        """Drop the connection that has been idle for longest, or else the slowest sender.

        None whose request has arrived or may be on its way; and none during the shutdown: what
        waits is then accepted once others have been served.
        """
        if not self.makes_room:
            return False
        lifecycle = self.lifecycle
        before = time.monotonic() - lifecycle.min_idle
        reasons: tuple[tuple[Collection[Connection], DropReason], ...] = (
            (lifecycle.idle, "idle"),
            (lifecycle.receiving, "slow"),
        )
        for candidates, reason in reasons:
            while connection := next((c for c in candidates if c.since < before), None):
                lifecycle.on_event(connection)
                if connection in candidates and connection.since < before:
                    self.ledger.count_dropped(reason)
                    lifecycle.drop(connection)
                if connection.socket.fileno() < 0:
                    return True
        return False

    def _pause(self) -> None:
        """Leave connections in the kernel's queue until one is dropped here, or the next tick."""
        self.paused_at = time.monotonic()
        if not self.paused:
            self.paused = True
            state.set_connections(self.slot, state.FULL)
            self._listen(enabled=False)

    def resume(self) -> None:
        """Accept again, if it has paused."""
        if self.paused:
            self.paused = False
            state.set_connections(self.slot, len(self.lifecycle.connections))
            self._listen(enabled=not self._yields_until)

    def _on_drop(self) -> None:
        state.set_connections(self.slot, len(self.lifecycle.connections))
        self.resume()

    # ---- the end --------------------------------------------------------------------------------

    def empty_queues(self) -> bool:
        """Accept all that waits in the kernel's queues and let no more in; return whether done.

        If there is no room for all (`paused`), the rest is accepted as requests are served; until
        then hardly any connection joins them.
        """
        self.resume()
        done = True
        for listener in self.listeners.values():
            while self.accept(listener):
                pass
            if self.paused:
                listener.listen(0)
                return False
            done = plug(listener) and done
        return done

    def close(self) -> None:
        """Close the listeners."""
        for listener in self.listeners.values():
            self.poller.remove_listener(listener)
            listener.close()
        self.listeners.clear()
        state.clear_flag(self.slot, state.ACCEPTING)
