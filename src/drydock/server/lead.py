"""The lead: which thread runs the main loop, and whether that thread serves requests, too.

To hand a short request to another thread costs about as much as to serve it: both threads wake up
and wait for Python's lock. So the thread that leads serves short requests itself, one after the
other. When one waits for longer than LIMIT, or computes for longer than MAX_RUN, another thread
takes over the lead, and for PAUSE seconds each request gets a thread of its own. The same holds
where requests wait for something else, such as a database, since threads can wait at the same time.
"""

from __future__ import annotations

import collections
import resource
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# Seconds.
LIMIT = 0.005  # after at most twice that, another thread takes over
MAX_RUN = 0.02  # of processor time: on a busy machine the clock says nothing about a request
PAUSE = 1.0

BATCH = 4  # requests between two looks at other clients, of which the last begins within LIMIT
MAX_WAITS = 3  # batches in a row that may seem to wait

Usage = tuple[float, float, int]


def usage() -> Usage:
    """The time and this thread's processor time, in seconds; how often it waited (getrusage)."""
    used = resource.getrusage(resource.RUSAGE_THREAD)
    return time.monotonic(), used.ru_utime + used.ru_stime, used.ru_nvcsw


class Lead:
    """Passes the lead on. All methods but watch() are for the thread that has it."""

    def __init__(self) -> None:
        """Begin with the expectation that requests are short."""
        # Of the thread that leads: where its state is (man 5 proc), and its processor's clock.
        self._stat = Path("/proc/self/stat")
        self._clock = time.CLOCK_THREAD_CPUTIME_ID
        self._number = 0
        # The number of the request that the leading thread serves. Only one thread can take it out:
        # the leading one when it has served it, or the watching one, which takes over.
        self._served: collections.deque[int] = collections.deque()
        self._has_served = threading.Event()  # since the watching thread last looked
        self._paused_until = 0.0  # seconds of the monotonic clock
        self._waits = 0
        self._ended = False
        self._error: BaseException | None = None

    def take(self) -> None:
        """Let this thread lead."""
        self._stat = Path(f"/proc/self/task/{threading.get_native_id()}/stat")
        self._clock = time.pthread_getcpuclockid(threading.get_ident())

    def serves(self, now: float) -> bool:
        """Whether the thread that leads serves requests, too."""
        return now >= self._paused_until

    def begin(self) -> None:
        """Note that the leading thread serves a request from now on."""
        self._number += 1
        self._served.append(self._number)
        if not self._has_served.is_set():
            self._has_served.set()

    def end(self) -> bool:
        """Note that it has served the request; return False if another thread leads by now."""
        try:
            self._served.pop()
        except IndexError:
            return False
        return True

    def goes_on(self, since: float, served: int) -> bool:
        """Whether to serve another request before the next look at clients, the last being then."""
        batch = BATCH if self._waits < MAX_WAITS else 1
        return served < batch and time.monotonic() - since < LIMIT

    def measure(self, before: Usage, requests: int) -> None:
        """Pause if requests wait. `before`: usage() before `requests` of them were served.

        They do if the thread gave the processor away once for each, and for half of the time. Now
        and then that is chance: another thread wants Python's lock.
        """
        time_, processor, waits = (after - was for after, was in zip(usage(), before, strict=True))
        if waits < requests or time_ < 2 * processor:
            self._waits = 0
        elif self._waits < MAX_WAITS:
            self._waits += 1
        else:  # and the next batch of them is enough for the next pause
            self._pause()

    def _pause(self) -> None:
        self._paused_until = time.monotonic() + PAUSE

    def finish(self, error: BaseException | None = None) -> None:
        """End watch(), since the main loop has ended; by an error, if there is one."""
        self._error = error
        self._ended = True
        self._has_served.set()

    def watch(self, pass_on: Callable[[], None]) -> None:
        """Call `pass_on` for each request that takes too long, until the main loop has ended.

        Sleeps while no request is served. For the main thread: only there do signal handlers run,
        and they must not wait for a request.

        Raises:
            BaseException: the error that has ended the main loop.

        """
        while not self._ended:
            self._has_served.wait()
            self._has_served.clear()
            number, began = self._number, self._computed()
            time.sleep(LIMIT)
            while self._number == number and self._served:
                if self._waits_now() or self._computed() - began > MAX_RUN:
                    if self.end():
                        self._pause()
                        pass_on()
                    break
                time.sleep(LIMIT)
        if self._error:
            raise self._error

    def _computed(self) -> float:
        """The processor time of the thread that leads, in seconds."""
        return time.clock_gettime(self._clock)

    def _waits_now(self) -> bool:
        """Whether the thread that leads waits: for anything but a processor or Python's lock.

        Read without that lock, which the thread gets meanwhile if it wants it.
        """
        try:
            return not self._stat.read_text().rpartition(") ")[2].startswith("R")
        except OSError:  # no file descriptor is left
            return True
