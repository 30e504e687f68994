"""The pool of threads that serve complete requests, and the main loop's side of it.

One of its threads runs the main loop (drydock.server.lead).

Nothing here locks: a connection belongs to the main loop or to one thread, and what passes between
them are single operations on dicts, deques and queues.
"""

from __future__ import annotations

import collections
import queue
import threading
import time
from typing import TYPE_CHECKING

from drydock.server.connection import IN_FLIGHT

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from drydock.server.connection import Connection
    from drydock.server.lead import Lead


class ThreadPool:
    """Serves the requests of connections; all methods are the leading thread's."""

    def __init__(
        self,
        size: int,
        serve: Callable[[Connection], bool],
        wake: Callable[[], None],
        lead: Lead,
        log: logging.Logger,
    ) -> None:
        """Prepare threads for `size` requests at a time.

        `serve` responds to the connection's request, in a thread, and returns whether another one
        may follow; `wake` lets the main loop look for completed ones.
        """
        self.size = size
        self.lead = lead
        self.in_flight = 0  # requests that threads serve, or are about to
        self.handed = 0  # those of them that a thread has, or is the next to get
        self.waiting: dict[Connection, None] = {}  # the others: the leading thread may serve them
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
        self._requests: queue.SimpleQueue[Connection | None] = queue.SimpleQueue()  # None: the lead
        self._completed: collections.deque[Connection] = collections.deque()

    def start(self, run_loop: Callable[[], None]) -> None:
        """Start the threads: one for each request, and one that runs the main loop."""
        for number in range(self.size + 1):
            threading.Thread(
                target=self._work, args=(run_loop,), name=f"request-{number}", daemon=True
            ).start()
        self.pass_lead_on()

    def pass_lead_on(self) -> None:
        """Let a free thread run the main loop: there is one, as `serve_here` sees to."""
        self._requests.put(None)

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
            if self.lead.serves(now):
                self.waiting[connection] = None
            else:
                self._hand_over(connection)

    def _hand_over(self, connection: Connection) -> None:
        self.handed += 1
        self._requests.put(connection)

    def hand_all_over(self) -> None:
        """Let other threads serve all that wait for the leading one."""
        for connection in self.waiting:
            self._hand_over(connection)
        self.waiting.clear()

    @property
    def can_serve_here(self) -> bool:
        """Whether the leading thread has a request to serve; others then have one place less."""
        return bool(self.waiting) and self.handed < self.size

    def serve_here(self) -> Connection | None:
        """Serve a request in the leading thread; None if another thread leads by then."""
        connection = next(iter(self.waiting))
        del self.waiting[connection], self.queued[connection]
        self.handed += 1
        self.lead.begin()
        self._respond(connection)
        if self.lead.end():
            self._leave(connection)
            self.last_progress = time.monotonic()
            return connection
        self._hand_back(connection)
        return None

    def withdraw(self, connection: Connection) -> bool:
        """Take a queued connection back; False if a thread has it."""
        if self.queued.pop(connection, self) is self:
            return False
        if connection in self.large_queued:
            self.large_queued.remove(connection)
        elif self.waiting.pop(connection, self) is None:
            self.in_flight -= 1
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
            self._hand_over(self.large_queued.popleft())

    def _leave(self, connection: Connection) -> None:
        """Note that no thread has the connection's request any more, nor is going to."""
        self.in_flight -= 1
        self.handed -= 1
        if connection.frame.large:
            self.large_in_flight -= 1
            self._start_large()

    # ---- in the threads -------------------------------------------------------------------------

    def _work(self, run_loop: Callable[[], None]) -> None:
        """Serve one request after the other, or lead, for ever."""
        while True:
            connection = self._requests.get()
            if connection is None:
                run_loop()
            # A dict's pop is one step: of thread and main loop only one gets the connection.
            elif self.queued.pop(connection, self) is None:
                self._respond(connection)
                self._hand_back(connection)

    def _respond(self, connection: Connection) -> None:
        """Serve the connection's request."""
        try:
            connection.keep_alive = self._serve(connection)
        except BaseException:
            # Such as a SystemExit of the application: nothing may end a thread.
            self._log.exception("Error handling request")
            connection.keep_alive = False

    def _hand_back(self, connection: Connection) -> None:
        """Let the main loop go on with the connection."""
        self._completed.append(connection)
        self._wake()
        # A response that the client has not taken is in memory: make no other before the main loop
        # has counted this one.
        while connection.unsent_bytes and connection.state == IN_FLIGHT:
            time.sleep(0.001)
