"""What is changed in the arbiter, gunicorn's first process: stop, reload, the end of a crash loop.

gunicorn looks its signal handlers up by name on the arbiter, so that a handler set on the object
comes before the class's. The same goes for spawn_worker() and murder_workers(). Nothing else of it
is changed.
"""

from __future__ import annotations

import collections
import gc
import os
import signal
import time
from typing import TYPE_CHECKING

from gunicorn.errors import HaltServer

from drydock.server import state

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    import gunicorn.arbiter
    from gunicorn.workers.base import Worker

    class SlotWorker(Worker):
        """A worker with the attributes that gunicorn's hooks give it (drydock.server.hooks)."""

        slot: int
        arbiter: gunicorn.arbiter.Arbiter

    class Arbiter:
        """The parts of gunicorn's that are used here; its types do not know all of them."""

        supervisor: Supervisor  # set by take_over()
        WORKERS: dict[int, SlotWorker]
        log: logging.Logger
        num_workers: int
        pid: int
        handle_alrm: Callable[[], None]
        handle_hup: Callable[[], None]
        handle_int: Callable[[], None]
        handle_quit: Callable[[], None]
        handle_term: Callable[[], None]
        handle_usr2: Callable[[], None]
        handle_winch: Callable[[], None]
        murder_workers: Callable[[], None]
        signal: Callable[[int, object], None]
        spawn_worker: Callable[[], int]
        timeout: float


# If this many workers in a row die within this many seconds, none of which has responded to
# anything, not even a probe, starting more of them would not help.
MAX_CRASHES = 5
CRASH_SECONDS = 300.0

# The arbiter checks its workers once a second. If it is this many seconds late, all processes have
# stood still: they were paused (`docker pause`), or no CPU was free.
LATE = 0.5


class Supervisor:
    """Stop, reload, recycling and the end of a crash loop, for one arbiter."""

    def __init__(
        self, arbiter: Arbiter, drain_seconds: int, *, spare: bool, on_tick: Callable[[], None]
    ) -> None:
        """Take over the arbiter's signals.

        `spare`: whether there is room for one more worker; `on_tick` is called once a second.
        """
        self.arbiter = arbiter
        self.drain_seconds = drain_seconds
        self.spare = spare
        self.on_tick = on_tick
        self.outdated: set[SlotWorker] = set()  # workers that are to be replaced
        self.crashes: collections.deque[float] = collections.deque(maxlen=MAX_CRASHES)
        self.checked_at = self.resumed_at = time.monotonic()
        self._quit, self._spawn = arbiter.handle_quit, arbiter.spawn_worker
        self._kill_hung = arbiter.murder_workers
        arbiter.spawn_worker = self.spawn
        arbiter.murder_workers = self.kill_hung
        arbiter.handle_term = arbiter.handle_int = self.drain
        arbiter.handle_quit = self.quit
        arbiter.handle_alrm = self.end
        arbiter.handle_hup = self.reload
        arbiter.handle_winch = self.replace
        arbiter.handle_usr2 = self.ignore_upgrade

    def drain(self) -> None:
        """Go on serving for a while, but announce the end everywhere (SIGTERM, SIGINT)."""
        if state.phase() != state.SERVING:  # a second signal came before the first was handled
            self.end_at_once(signal.SIGTERM, None)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.end_at_once)
        state.begin_drain()
        if not self.drain_seconds:
            self.end()
        self.arbiter.log.info("draining for %d s", self.drain_seconds)
        # A signal, because the arbiter handles those one after the other.
        signal.signal(signal.SIGALRM, self.arbiter.signal)
        signal.setitimer(signal.ITIMER_REAL, self.drain_seconds)

    def quit(self) -> None:
        """End without waiting for requests (SIGQUIT). Workers that die now are no crash loop."""
        state.begin_end(0)
        self._quit()

    def ignore_upgrade(self) -> None:
        """Start no second arbiter (SIGUSR2): its settings would wipe the metrics of this one."""
        self.arbiter.log.warning("SIGUSR2 is ignored: start a new container instead")

    def end(self) -> None:
        """Stop for good.

        Raises:
            StopIteration: always, which ends the arbiter's loop; it then sends SIGTERM to the
                workers and waits for them.

        """
        # The youngest: if one hangs, it is more likely an older one.
        youngest = max(self.arbiter.WORKERS.values(), key=lambda worker: worker.age, default=None)
        state.begin_end(youngest.slot if youngest else 0)
        raise StopIteration

    def end_at_once(self, number: int, _frame: object) -> None:
        """Wait for nothing (a second SIGTERM or SIGINT)."""
        # A worker just forked has this handler until it sets its own.
        if os.getpid() == self.arbiter.pid:
            for pid in list(self.arbiter.WORKERS):
                os.kill(pid, signal.SIGKILL)
        os._exit(128 + number)

    def spawn(self) -> int:
        """Start a worker; if that fails go on without it, and let the arbiter try again.

        Returns:
            Its process id, or 0.

        """
        try:
            return self._spawn()
        except OSError as error:  # fork failed; what goes wrong in the child is logged there
            self.arbiter.log.error("no worker could be started: %s", error)
            return 0

    def kill_hung(self) -> None:
        """Kill workers whose main loops hang, but not for a time in which this process hung too.

        After a pause all heartbeats are old, and gunicorn killed the workers with their requests.
        """
        self.on_tick()
        now = time.monotonic()
        if now - self.checked_at > 1 + LATE:
            self.resumed_at = now
        self.checked_at = now
        if now - self.resumed_at > self.arbiter.timeout:
            self._kill_hung()

    def reload(self) -> None:
        """Replace all workers, one after the other (SIGHUP).

        gunicorn's own reload reads settings again that can't have changed, and then handles no
        signal, not even SIGTERM, until the old workers have ended. And it has twice as many workers
        for a while, for which there may be no room. A second signal during a reload has no effect.
        """
        if not self.outdated:
            self.outdated.update(self.arbiter.WORKERS.values())
        self.replace_next()

    def replace(self) -> None:
        """Replace each worker that wants a successor (SIGWINCH, sent by the worker)."""
        for worker in self.arbiter.WORKERS.values():
            if state.has_flag(worker.slot, state.WANTS_SUCCESSOR):
                self.outdated.add(worker)
        self.replace_next()

    def replace_next(self) -> None:
        """Replace the next worker, unless one is being replaced.

        It serves until its successor has started, so that no capacity is lost. Where there is no
        room for both it ends first, and new connections wait in the kernel meanwhile.
        """
        workers = list(self.arbiter.WORKERS.items())
        if any(worker.age == 0 for _, worker in workers):
            return
        for pid, worker in workers:
            if worker in self.outdated:
                if not self.spare:
                    os.kill(pid, signal.SIGTERM)
                elif not self.arbiter.spawn_worker():
                    return
                worker.age = 0  # older than all others: the next that the arbiter ends
                return

    def spawn_missing(self) -> None:
        """Start the workers that are missing; the arbiter also counts those that are ending."""
        serving = sum(worker.age > 0 for worker in self.arbiter.WORKERS.values())
        for _ in range(self.arbiter.num_workers - serving):
            self.arbiter.spawn_worker()

    def note_end(self, worker: SlotWorker) -> None:
        """Count workers that die before their first response.

        Raises:
            HaltServer: if too many did in a row; it ends the arbiter with its status and reason.

        """
        responded = state.has_flag(worker.slot, state.RESPONDED)
        stopping = state.has_flag(worker.slot, state.STOPPING)
        state.clear_slot(worker.slot)
        crashed = (
            getattr(worker, "sets_flags", False)  # gunicorn's own workers set neither
            and state.phase() == state.SERVING
            and not stopping
        )
        if crashed:
            from drydock import metrics  # not before the directory of its files is set

            metrics.workers_crashed.inc()
        if responded:
            self.crashes.clear()
        elif crashed:
            now = time.monotonic()
            self.crashes.append(now)
            if len(self.crashes) == MAX_CRASHES and now - self.crashes[0] < CRASH_SECONDS:
                state.begin_end(0)
                raise HaltServer(
                    f"{MAX_CRASHES} workers in a row died before their first response", 1
                )
        self.outdated.discard(worker)
        if state.phase() != state.ENDING:
            self.spawn_missing()
            self.replace_next()


def take_over(
    arbiter: Arbiter,
    drain_seconds: int,
    *,
    spare: bool = True,
    on_tick: Callable[[], None] = lambda: None,
) -> None:
    """Supervise the arbiter, which is about to start its first workers; see Supervisor."""
    arbiter.supervisor = Supervisor(arbiter, drain_seconds, spare=spare, on_tick=on_tick)
    # The garbage collector no longer visits, and so no longer writes to, the objects that exist
    # now: the workers go on sharing that memory. In the image it was off until here
    # (deploy/sitecustomize.py).
    gc.freeze()
    gc.enable()


def note_end(arbiter: Arbiter, worker: SlotWorker) -> None:
    """Let the arbiter's supervisor, if it has one yet, know that a worker has ended.

    Raises:
        HaltServer: if too many have crashed in a row.

    """
    supervisor = getattr(arbiter, "supervisor", None)
    if supervisor is not None:
        supervisor.note_end(worker)
