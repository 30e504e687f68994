"""Standard output for log lines, which never waits: a stalled reader must not stop the service.

A worker gathers the lines of its requests for up to 20 ms, or until they fill a write, since the
engine wakes up for each write: it took more of the processor than the service. With nothing in
flight they are written at once, and so is any other line, behind those that wait.

What does not fit into the pipe now is kept, up to a bound, and tried again with later lines and at
each tick. What does not fit there either is dropped and counted; one line gives the number when the
reader is back.

A pipe takes up to PIPE_BUF bytes whole or not at all, from however many processes, if it is open as
non-blocking (man 7 pipe). That is a property of the open file description, which foreign processes
may share: it is not set on standard output itself, which is opened once more instead. A regular
file is not opened again: it is always ready, and its writers share a position. What can't be opened
again (a socket; a pipe of another user's) is polled for room before each write; another process may
take that room in between, so that a wait remains possible there.
"""

from __future__ import annotations

import atexit
import collections
import logging
import math
import os
import select
import stat
import sys
import threading
import time

log = logging.getLogger("app.server")

# Bytes of lines that a process keeps while nobody reads: at 400 bytes each, the lines of 0.9 s at
# 3,000 requests/s. A memory limit of 96 MiB has room for that in each process.
MAX_KEPT = 2**20
LINE_OVERHEAD = 64  # bytes of memory for each, besides its own
GATHER_SECONDS = 0.02  # for which a line waits for others, and between two tries if nobody reads
# How often kept lines are written at a time, several by each write: by a thread (each write gives
# up the interpreter lock, for up to 1 ms), and by the main loop, all that a pipe holds. With one
# for each new line, some would always be left.
THREAD_TURNS, LOOP_TURNS = 2, 16
EXIT_SECONDS = 0.3  # how long a process that ends waits for the reader


class LogOutput:
    """Writes lines whole and in their order, without waiting for their reader."""

    def __init__(self) -> None:
        """Write to standard output; open() finds out how."""
        self._descriptor = 1
        self._is_own = False
        self._poll: select.poll | None = None  # polled before each write
        self._max_write = sys.maxsize  # bytes at a time
        self.forget()

    def forget(self) -> None:
        """Begin anew, in a process just forked: its parent writes what is kept."""
        # Held while a line is written, and never waited for: a write gives up the interpreter lock,
        # and each thread would wait until this one has it again.
        self._writing = threading.Lock()
        # Held for a moment. Re-entrant: a signal's handler may log while its thread holds it.
        self._counting = threading.RLock()
        self.gathers = False  # whether a main loop writes what has waited long enough
        self._kept: collections.deque[bytes] = collections.deque()
        self._kept_bytes = 0
        self._dropped = 0  # lines, since flush() last returned their number
        self._unreported = 0  # the same, since it was last logged
        self._gone = False  # the reader, so that a report would be dropped as well
        self._stalled = False  # the reader: the last write did not fit
        self._due = 0.0  # when to write what is kept, by the monotonic clock

    def open(self, descriptor: int) -> None:
        """Write to what `descriptor` refers to."""
        if self._is_own:
            os.close(self._descriptor)
        self._descriptor, self._is_own = descriptor, False
        self._poll, self._max_write = None, sys.maxsize
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        try:
            self._descriptor = os.open(f"/proc/self/fd/{descriptor}", flags)
            self._is_own = True
        except OSError:
            self._poll, self._max_write = select.poll(), select.PIPE_BUF
            self._poll.register(descriptor, select.POLLOUT)

    def write(self, line: bytes) -> None:
        """Write a line, now or later, or drop it; from any thread."""
        if not self._kept and self._writing.acquire(blocking=False):  # nearly always
            try:
                if self._kept:  # another thread has left a part of its line meanwhile
                    self._keep(line)
                else:
                    written = self._send([line])
                    if written < len(line):
                        self._keep_first(line[written:])
                        return
            finally:
                self._writing.release()
        else:
            self._keep(line)
        if self._kept:  # by this thread, or by another while this one wrote
            self._send_kept(THREAD_TURNS)

    def gather(self, line: bytes) -> None:
        """Write a line together with others, a moment later; from any thread."""
        if not self.gathers:
            self.write(line)
            return
        now = time.monotonic()
        if not self._kept:
            self._due = now + GATHER_SECONDS
        self._keep(line)
        if now >= self._due or (self._kept_bytes >= select.PIPE_BUF and not self._stalled):
            self._send_kept(THREAD_TURNS)

    def send(self, now: float, *, in_flight: int) -> float:
        """Write what is gathered if it is time; return the seconds until it will be.

        `in_flight`: requests whose lines may join it.
        """
        if self._kept and (not in_flight or now >= self._due):
            self._send_kept(LOOP_TURNS)
        return max(0.0, self._due - now) if self._kept else math.inf

    def flush(self) -> int:
        """Write what is kept, as much as fits; return the lines dropped since the last call."""
        self._send_kept(LOOP_TURNS)
        with self._counting:
            dropped, self._dropped = self._dropped, 0
            self._unreported += dropped
            if self._kept or self._gone or not self._unreported:
                return dropped
            unreported, self._unreported = self._unreported, 0
        log.warning("%d log lines were dropped: nobody read them in time", unreported)
        return dropped

    def finish(self) -> None:
        """Wait a little for the reader, at the end of the process."""
        deadline = time.monotonic() + EXIT_SECONDS
        self.flush()
        while self._kept and time.monotonic() < deadline:
            time.sleep(0.01)
            self.flush()

    def _send(self, lines: list[bytes]) -> int:
        """Write what fits now; return how many bytes, or all if the reader is gone."""
        data = b"".join(lines)
        written = 0
        try:
            while written < len(data) and (self._poll is None or self._poll.poll(0)):
                written += os.write(self._descriptor, data[written : written + self._max_write])
        except BlockingIOError:
            pass
        except OSError:
            with self._counting:
                self._dropped += len(lines)
                self._gone = True
            return len(data)
        self._gone = False
        return written

    def _send_kept(self, turns: int) -> None:
        """Write what is kept, in `turns` writes at the most; none while another thread writes."""
        for _ in range(turns):
            if not self._kept or not self._writing.acquire(blocking=False):
                return
            try:
                if self._kept and not self._send_first():
                    return
            finally:
                self._writing.release()

    def _send_first(self) -> bool:
        """Write as many lines as a pipe takes whole, or one; return whether they fitted."""
        lines = [self._kept.popleft()]
        size = len(lines[0])
        while self._kept and size + len(self._kept[0]) <= select.PIPE_BUF:
            lines.append(self._kept.popleft())
            size += len(lines[-1])
        written = self._send(lines)
        with self._counting:
            self._kept_bytes -= size + len(lines) * LINE_OVERHEAD
        self._stalled = written < size
        if self._stalled:
            self._due = time.monotonic() + GATHER_SECONDS
            for line in reversed(lines):
                size -= len(line)  # where it begins
                if rest := line[max(0, written - size) :]:
                    self._keep_first(rest)
        return not self._stalled

    def _keep(self, line: bytes) -> None:
        """Keep a line behind the others, if there is room."""
        with self._counting:
            if self._kept_bytes + len(line) + LINE_OVERHEAD > MAX_KEPT:
                self._dropped += 1
            else:
                self._kept.append(line)
                self._kept_bytes += len(line) + LINE_OVERHEAD

    def _keep_first(self, line: bytes) -> None:
        """Keep a line, or what is left of it, before all others; there is always room for one."""
        with self._counting:
            self._kept.appendleft(line)
            self._kept_bytes += len(line) + LINE_OVERHEAD


# That of this process.
output = LogOutput()
os.register_at_fork(after_in_child=output.forget)
atexit.register(output.finish)
