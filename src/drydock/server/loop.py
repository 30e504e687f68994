"""The main loop of a worker: waits for clients and threads, and does what is due by the clock.

One thread at a time runs it (drydock.server.lead).
"""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

from drydock.server.lead import usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from drydock.server.acceptor import Acceptor
    from drydock.server.bounds import Bounds
    from drydock.server.lead import Lead
    from drydock.server.lifecycle import Lifecycle
    from drydock.server.log_output import LogOutput
    from drydock.server.poller import Poller
    from drydock.server.pool import ThreadPool
    from drydock.server.shutdown import Shutdown

# Seconds.
TICK = 0.25  # how late a deadline may be noticed
SHUTDOWN_TICK = 0.02  # the same once the worker is to end: its successor, or `docker stop`, waits


@dataclasses.dataclass
class Loop:
    """Runs the parts of a worker, none of which waits for a client."""

    poller: Poller
    lifecycle: Lifecycle
    pool: ThreadPool
    lead: Lead
    acceptor: Acceptor
    bounds: Bounds
    shutdown: Shutdown
    log: LogOutput
    on_tick: Callable[[], None]
    on_completed: Callable[[], None]  # some requests have been served
    next_tick: float = 0.0  # seconds of the monotonic clock
    tick: float = TICK

    def wake(self) -> None:
        """Tick at once, from any thread or a signal's handler."""
        self.next_tick = 0.0
        self.poller.wake()

    def run(self) -> bool:
        """Serve until the shutdown is complete; return False if another thread leads by then."""
        self.lead.take()
        self.acceptor.set_busy(busy=False)  # as the one before may have left it
        poll, connections = self.poller.poll, self.lifecycle.connections
        on_client, on_listener = self.lifecycle.on_event, self.acceptor.on_event
        wake_descriptor = self.poller.wake_descriptor
        while True:
            now = time.monotonic()
            if now >= self.next_tick and not self._tick(now):
                return True
            timeout = self.tick if self.next_tick > now and not self.pool.can_serve_here else 0
            timeout = min(timeout, self.log.send(now, in_flight=self.pool.in_flight))
            for descriptor, _ in poll(self.acceptor.next_look(now, timeout)):
                if connection := connections.get(descriptor):
                    on_client(connection)
                elif descriptor == wake_descriptor:
                    self._on_wake()
                else:
                    on_listener(descriptor)
            # Not while deadlines that have passed are left: a request may take longer than those.
            if self.pool.waiting and self.next_tick > now and not self._serve():
                return False

    def _tick(self, now: float) -> bool:
        """Do what is due by the clock; return whether to go on."""
        self.tick = SHUTDOWN_TICK if self.shutdown.due else TICK
        self.next_tick = now + self.tick
        self.on_tick()
        if self.bounds.enforce(now):
            self.next_tick = now  # after a look at other clients
        self.acceptor.resume()
        return self.shutdown.step(now)

    def _serve(self) -> bool:
        """Serve some of the requests that wait; return False if another thread leads by then."""
        before = usage()
        if not self.lead.serves(before[0]):
            self.pool.hand_all_over()
        self.acceptor.set_busy(busy=True)
        served = 0
        while self.pool.can_serve_here and self.lead.goes_on(before[0], served):
            served += 1
            connection = self.pool.serve_here()
            if connection is None:
                return False
            self.lifecycle.complete(connection)
            self.bounds.free_memory()
        self.acceptor.set_busy(busy=False)
        if served:
            self.lead.measure(before, served)
            self.on_completed()
        return True

    def _on_wake(self) -> None:
        """Go on with the connections whose requests threads have served."""
        self.poller.clear_wake()
        completed = False
        while connection := self.pool.next_completed():
            completed = True
            self.lifecycle.complete(connection)
            self.bounds.free_memory()
        if completed:
            self.on_completed()
