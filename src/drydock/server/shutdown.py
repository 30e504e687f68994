"""The end of a worker: it stops accepting, closes idle connections, finishes what is in flight."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from drydock.server import state
from drydock.server.connection import IN_FLIGHT, SENDING

if TYPE_CHECKING:
    import logging

    from drydock.server.acceptor import Acceptor
    from drydock.server.lifecycle import Lifecycle

# Seconds.
PLUG_TIMEOUT = 1.0  # how long the last worker tries to close its listeners without a loss
# How long a worker that is replaced finishes what it has. No client waits for that, but it takes
# memory, and the arbiter counts it as one of its workers.
REPLACED_TIMEOUT = 600.0


class Shutdown:
    """Ends this worker, or the whole service, step by step."""

    def __init__(
        self,
        slot: int,
        arbiter_pid: int,
        graceful_timeout: float,
        acceptor: Acceptor,
        lifecycle: Lifecycle,
        log: logging.Logger,
    ) -> None:
        """Prepare the end of the worker in `slot`, or of the service within `graceful_timeout`."""
        self.slot = slot
        self.arbiter_pid = arbiter_pid
        self.graceful_timeout = graceful_timeout
        self.acceptor = acceptor
        self.lifecycle = lifecycle
        self.log = log
        self.requested = False
        # Seconds of the monotonic clock; 0 before it begins.
        self.began = 0.0  # for this worker
        self.service_began = 0.0  # for the whole service

    def request(self) -> None:
        """Begin with the next step; from any thread or a signal's handler."""
        self.requested = True

    @property
    def due(self) -> bool:
        """Whether this worker is to end."""
        # The phase counts too: a signal that came before its handler was set is lost.
        return self.requested or state.phase() == state.ENDING

    def step(self, now: float) -> bool:
        """Take the next step, if the worker is to end; return whether more are left."""
        if os.getppid() != self.arbiter_pid:  # the arbiter is gone: nothing looks after this worker
            return False
        if not self.due:
            return True
        if not self.began:
            self.began = now
            self.acceptor.makes_room = False
            state.set_flag(self.slot, state.STOPPING)
        if not self.service_began and state.phase() == state.ENDING:
            self.service_began = now
        self._stop_accepting(now)
        self._close_idle(now)
        if not self.acceptor.listeners and not self.lifecycle.connections:
            return False
        # Only where the whole service ends does the engine wait, and then kill it.
        if self.service_began:
            if now - self.service_began > self.graceful_timeout:
                self._report_unfinished("by GRACEFUL_TIMEOUT")
                return False
        elif now - self.began > REPLACED_TIMEOUT:
            self._report_unfinished("long after their worker was replaced")
            return False
        return True

    def seconds_left(self) -> float:
        """How long the service may still take to end; no bound if only this worker ends."""
        if not self.service_began:
            return float("inf")
        return self.service_began + self.graceful_timeout - time.monotonic()

    def _report_unfinished(self, why: str) -> None:
        """Log how many requests are not going to be finished."""
        connections = self.lifecycle.connections.values()
        if unfinished := sum(c.state in (IN_FLIGHT, SENDING) for c in connections):
            self.log.warning("%d requests were cut off %s", unfinished, why)

    def _stop_accepting(self, now: float) -> None:
        """Close the listeners; if the service ends, one worker empties their queues first."""
        acceptor = self.acceptor
        if not acceptor.listeners:
            return
        if self.service_began and state.last_to_accept() == self.slot:
            # The others close theirs at once: they would accept the one that fills the queue.
            patient = now - max(self.service_began, acceptor.paused_at) < PLUG_TIMEOUT
            if patient and state.another_has_flag(self.slot, state.ACCEPTING):
                return
            if not acceptor.empty_queues() and (acceptor.paused or patient):
                return
        acceptor.close()

    def _close_idle(self, now: float) -> None:
        """Close idle connections. They have more time if the service goes on.

        A client may be sending its next request just now, and a close would lose it. So each has
        some time to send one, whose response then says `Connection: close`.
        """
        since, patience = self.service_began, self.lifecycle.min_idle
        if not since:
            since, patience = self.began, self.graceful_timeout / 2
        for connection in list(self.lifecycle.idle):
            if now - max(since, connection.since) > patience:
                # A request that has arrived since the last look still gets its response.
                self.lifecycle.on_event(connection)
                if connection in self.lifecycle.idle:
                    self.lifecycle.close_idle(connection)
