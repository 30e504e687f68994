"""The pool of threads that serve complete requests, and the main loop's side of it.

Nothing here locks: a connection belongs to the main loop or to one thread, and what passes between
them are single operations on dicts, deques and queues.
"""

from __future__ import annotations

import collections
import math
import queue
import resource
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from drydock.server.connection import IN_FLIGHT

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from drydock.server.connection import Connection


# Seconds.
TURN = 0.01  # for which a thread serves requests before the main loop looks at clients again
PATIENCE = 0.005  # for which the main loop waits for a thread that completes nothing
PROMPT = 0.0005  # how late the main loop comes back at the most if no thread has the interpreter
PARALLEL = 0.25  # for which several threads serve, after one was seen to wait


class ThreadPool:
    """Serves the requests of connections; all methods are the main loop's."""

    def __init__(
        self,
        size: int,
        serve: Callable[[Connection], bool],
        wake: Callable[[], None],
        log: logging.Logger,
    ) -> None:
        """Prepare `size` threads.

        `serve` responds to the connection's request, in a thread, and returns whether another one
        may follow; `wake` lets the main loop look for completed ones.
        """
        self.size = size
        self.in_flight = 0  # requests that threads serve, or are about to
        # Bodies too large to keep are read by the threads, which wait for the client there: others
        # must be served meanwhile.
        self.large_limit = max(1, size - 1)
        self.large_in_flight = 0
        self.large_queued: collections.deque[Connection] = collections.deque()  # not yet in flight
        # When a request was last completed, or a thread was free, by the monotonic clock: since
        # then all of them may hang.
        self.last_progress = time.monotonic()
        # All for which no thread has been free yet. A thread or the main loop takes a connection
        # out, and then owns it.
        self.queued: dict[Connection, None] = {}
        self._serve = serve
        self._wake = wake
        self._log = log
        self._ready: collections.deque[Connection] = collections.deque()  # for any thread
        self._starts: queue.SimpleQueue[None] = queue.SimpleQueue()  # each starts a free thread
        # A thread has ended its turn, or (True) the main loop has to look at a response.
        self._ends: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._running: dict[int, None] = {}  # the threads that serve and are not known to wait
        self._watched = False  # the main loop waits for the threads, and not for clients
        self._turn = 0  # its number
        self._alone = True  # one thread has the turn, no other
        self._turn_ends = 0.0  # by the monotonic clock, as is the next
        self._parallel_until = 0.0
        self._completed: collections.deque[Connection] = collections.deque()

    def start(self) -> None:
        """Start the threads."""
        for number in range(self.size):
            threading.Thread(target=self._work, name=f"request-{number}", daemon=True).start()

    @property
    def busy(self) -> bool:
        """Whether the next request has to wait for a thread."""
        return self.in_flight >= self.size

    @property
    def large_busy(self) -> bool:
        """Whether a request with a large body has to wait, even if a thread is free."""
        return self.large_in_flight >= self.large_limit

    def submit(self, connection: Connection, now: float) -> None:
        """Let the next free thread serve the connection's request."""
        if self.in_flight < self.size:
            self.last_progress = now
        self.queued[connection] = None
        if connection.frame.large:
            self.large_queued.append(connection)
            self._start_large()
        else:
            self.in_flight += 1
            self._ready.append(connection)

    def withdraw(self, connection: Connection) -> bool:
        """Take a queued connection back; False if a thread has it."""
        if self.queued.pop(connection, self) is self:
            return False
        if connection in self.large_queued:
            self.large_queued.remove(connection)
        else:
            self._leave(connection)  # a thread will find it gone
        return True

    def next_completed(self) -> Connection | None:
        """A connection whose request has been served, if there is one; the caller owns it."""
        if not self._completed:
            return None
        connection = self._completed.popleft()
        self._leave(connection)
        self.last_progress = time.monotonic()
        return connection

    def _start_large(self) -> None:
        """Give threads the requests whose bodies they must read; keep one thread for others."""
        while self.large_queued and not self.large_busy:
            self.large_in_flight += 1
            self.in_flight += 1
            self._ready.append(self.large_queued.popleft())

    def _leave(self, connection: Connection) -> None:
        """Note that no thread has the connection's request, nor is going to."""
        self.in_flight -= 1
        if connection.frame.large:
            self.large_in_flight -= 1
            self._start_large()

    @property
    def waiting(self) -> bool:
        """Whether run() is to be called again soon: requests are ready, a thread may be free."""
        return bool(self._ready) and self._starts.empty()

    def run(self) -> None:
        """Let threads serve the requests that have been submitted.

        Python runs one thread at a time. If several serve, and the main loop waits for clients
        beside them, they stop each other some ten times for each request. So they take turns: one
        thread serves what is ready, and the main loop looks at clients after that. Where requests
        wait for something else (a database), threads serve side by side.
        """
        now = time.monotonic()
        if now < self._parallel_until:
            self._turn_ends = math.inf
            for _ in range(min(len(self._ready), self.size) - self._starts.qsize()):
                self._starts.put(None)
        elif self.waiting:
            self._turn += 1
            self._turn_ends = now + TURN
            self._alone = not self._running
            while not self._ends.empty():  # of earlier turns
                self._ends.get()
            self._watched = True
            while self._running or (self._ready and time.monotonic() < self._turn_ends):
                if not self._watch():
                    break
            self._watched = False

    def _watch(self) -> bool:
        """Wait for the thread whose turn it is; return whether the turn may go on."""
        if not self._running and self._starts.empty():
            self._starts.put(None)
        completed, began = len(self._completed), time.monotonic()
        try:
            return not self._ends.get(timeout=PATIENCE)
        except queue.Empty:
            if len(self._completed) > completed:
                return True
        self._alone = False
        now = time.monotonic()
        if (
            now - began < PATIENCE + PROMPT
            and self._running
            and all(map(_sleeps, list(self._running)))
        ):
            self._parallel_until = now + PARALLEL
            return False
        self._running.clear()
        return self._starts.empty()  # otherwise no thread is free

    def _work(self) -> None:
        """Serve requests, in a thread, for ever."""
        me = threading.get_native_id()
        while True:
            self._starts.get()
            turn, waits, served = self._turn, _waits(), 0
            while self._ready and time.monotonic() < self._turn_ends:
                self._running[me] = None
                served += self._serve_next()
            self._running.pop(me, None)
            if self._watched:
                # Beside others, it has waited for the interpreter as well.
                alone = self._alone and turn == self._turn
                if alone and served and _waits() - waits >= served:
                    self._parallel_until = time.monotonic() + PARALLEL
                self._ends.put(False)

    def _serve_next(self) -> bool:
        """Serve the next ready request, in a thread; return whether there was one."""
        try:
            connection = self._ready.popleft()
        except IndexError:  # another thread has it
            return False
        # A dict's pop is one step: of thread and main loop only one gets the connection.
        if self.queued.pop(connection, self) is self:
            return False
        try:
            connection.keep_alive = self._serve(connection)
        except BaseException:
            # Such as a SystemExit of the application: nothing may end a thread.
            self._log.exception("Error handling request")
            connection.keep_alive = False
        self._completed.append(connection)
        if not self._watched:
            self._wake()
        elif connection.unsent_bytes:
            self._ends.put(True)
        # A response that the client has not taken is in memory: make no other before the main
        # loop has counted this one.
        while connection.unsent_bytes and connection.state == IN_FLIGHT:
            time.sleep(0.001)
        return True


def _waits() -> int:
    """How often this thread has waited: of its own accord, and not for a processor."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw


def _sleeps(thread: int) -> bool:
    """Whether a thread of this process waits, and not for a processor (man 5 proc_pid_stat)."""
    stat = Path(f"/proc/self/task/{thread}/stat").read_bytes()
    return stat.rpartition(b")")[2].split()[0] != b"R"
