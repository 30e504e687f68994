"""What the arbiter, gunicorn's first process, does otherwise: stop, replace workers, give up.

gunicorn looks its signal handlers up by name on the arbiter, so that a handler set on the object
comes before the class's. Nothing else of it is changed.
"""

from __future__ import annotations

import collections
import gc
import os
import signal
import time
from typing import TYPE_CHECKING

from gunicorn.errors import HaltServer

from app.server import state

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from app.server.hooks import SlotWorker

    class Arbiter:
        """The parts of gunicorn's that are used here; its types do not know all of them."""

        WORKERS: dict[int, SlotWorker]
        log: logging.Logger
        num_workers: int
        pid: int
        handle_alrm: Callable[[], None]
        handle_hup: Callable[[], None]
        handle_int: Callable[[], None]
        handle_term: Callable[[], None]
        handle_winch: Callable[[], None]

        signal: Callable[[int, object], None]
        spawn_worker: Callable[[], int]


# So many workers that died in a row, none of which had answered anything, within so many seconds:
# starting more of them is no service.
CRASHES = 5
CRASHES_WITHIN = 10.0

_supervisor: Supervisor | None = None


class Supervisor:
    """Stop, reload, recycling and the end of a crash loop, for one arbiter."""

    def __init__(self, arbiter: Arbiter, drain_seconds: int) -> None:
        """Take over the arbiter's signals."""
        self.arbiter = arbiter
        self.drain_seconds = drain_seconds
        self.crashes: collections.deque[float] = collections.deque(maxlen=CRASHES)
        arbiter.handle_term = arbiter.handle_int = self.drain
        arbiter.handle_alrm = self.end
        arbiter.handle_hup = self.reload
        arbiter.handle_winch = self.replace

    def drain(self) -> None:
        """Go on serving for a while, but say everywhere that this is the end (SIGTERM, SIGINT)."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.end_at_once)
        state.drain()
        if not self.drain_seconds:
            self.end()
        self.arbiter.log.info("draining for %d s", self.drain_seconds)
        # As a signal, it comes in turn with the others while the arbiter looks after its workers.
        signal.signal(signal.SIGALRM, self.arbiter.signal)
        signal.setitimer(signal.ITIMER_REAL, self.drain_seconds)

    def end(self) -> None:
        """Stop for good.

        Raises:
            StopIteration: always, which ends the arbiter's loop; it then sends SIGTERM to the
                workers and waits for them.

        """
        # The youngest has just started, if anything is wrong with the others.
        youngest = max(self.arbiter.WORKERS.values(), key=lambda worker: worker.age, default=None)
        state.end(youngest.slot if youngest else 0)
        raise StopIteration

    def end_at_once(self, number: int, _frame: object) -> None:
        """Wait for nothing (a second SIGTERM or SIGINT)."""
        # A worker just forked has this handler until it sets its own.
        if os.getpid() == self.arbiter.pid:
            for pid in list(self.arbiter.WORKERS):
                os.kill(pid, signal.SIGKILL)
        os._exit(128 + number)

    def reload(self) -> None:
        """Replace all workers (SIGHUP).

        gunicorn's own way reads settings again that can't have changed, and is then deaf, also for
        SIGTERM, until the old workers have ended. They are the oldest, so that the arbiter's loop
        ends them once there are more than there should be.
        """
        for _ in range(self.arbiter.num_workers):
            self.arbiter.spawn_worker()

    def replace(self) -> None:
        """Give a successor to each worker that asks for one (SIGWINCH, sent by the worker).

        It goes on serving until the successor is there, so that recycling costs no capacity.
        """
        for worker in list(self.arbiter.WORKERS.values()):
            if worker.age > 0 and state.says(worker.slot, state.REPLACE):
                worker.age = 0  # older than all others: the next to be ended
                self.arbiter.spawn_worker()

    def note_end(self, worker: SlotWorker) -> None:
        """Count workers that die without having answered anything.

        Raises:
            HaltServer: if that is all they do; it ends the arbiter with its status and reason.

        """
        answered = state.says(worker.slot, state.ANSWERED)
        left = state.says(worker.slot, state.LEAVING)
        state.clear(worker.slot)
        if answered:
            self.crashes.clear()
        elif state.phase() == state.SERVING and not left:
            now = time.monotonic()
            self.crashes.append(now)
            if len(self.crashes) == CRASHES and now - self.crashes[0] < CRASHES_WITHIN:
                state.end(0)
                raise HaltServer(f"{CRASHES} workers in a row died before their first answer", 1)


def take_over(arbiter: Arbiter, drain_seconds: int) -> None:
    """Supervise the arbiter, which is about to start its first workers."""
    global _supervisor
    _supervisor = Supervisor(arbiter, drain_seconds)
    # What exists now is never looked at by the garbage collector again, nor written to by it: the
    # workers go on sharing that memory.
    gc.collect()
    gc.freeze()


def note_end(worker: SlotWorker) -> None:
    """Tell the supervisor that a worker has ended."""
    if _supervisor is not None:
        _supervisor.note_end(worker)
