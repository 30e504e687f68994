"""The pool of threads that serve complete requests, and the main loop's side of it.

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
        self._requests: queue.SimpleQueue[Connection] = queue.SimpleQueue()
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
            self._requests.put(connection)

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
            self._requests.put(self.large_queued.popleft())

    def _leave(self, connection: Connection) -> None:
        """Note that no thread has the connection's request, nor is going to."""
        self.in_flight -= 1
        if connection.frame.large:
            self.large_in_flight -= 1
            self._start_large()

    def _work(self) -> None:
        """Serve one request after the other, in a thread, for ever."""
        while True:
            connection = self._requests.get()
            # A dict's pop is one step: of thread and main loop only one gets the connection.
            if self.queued.pop(connection, self) is self:
                continue
            try:
                connection.keep_alive = self._serve(connection)
            except BaseException:
                # Such as a SystemExit of the application: nothing may end a thread.
                self._log.exception("Error handling request")
                connection.keep_alive = False
            self._completed.append(connection)
            self._wake()
            # A response that the client has not taken is in memory: make no other before the main
            # loop has counted this one.
            while connection.unsent_bytes and connection.state == IN_FLIGHT:
                time.sleep(0.001)
