"""Standard output for log lines, which never waits: a stalled reader must not stop the service.

What does not fit into the pipe now is kept, up to a bound, and written with the next line or at the
next tick. What does not fit there either is dropped and counted, and one line says so when it is
over.

A pipe takes up to PIPE_BUF bytes whole or not at all, from however many processes, if it is open as
non-blocking (man 7 pipe). That is a property of the open file description, which foreign processes
may share: it is not set on standard output itself, which is opened once more instead. Not so a
regular file, which is always ready, and whose writers share a position. What can't be opened again
(a socket; a pipe of another user's) is asked before each write whether there is room; another
process may take that in between, so that a wait remains possible there.
"""

from __future__ import annotations

import atexit
import collections
import logging
import os
import select
import stat
import sys
import threading
import time

log = logging.getLogger("app.server")

# Bytes of lines that a process keeps while nobody reads: at 400 each, those of 0.9 s at 3,000
# requests/s. A memory limit of 96 MiB has room for that in each process.
MAX_KEPT = 2**20
LINE_OVERHEAD = 64  # bytes of memory for each, besides its own
EXIT_SECONDS = 0.3  # how long a process that ends waits for the reader


class LogOutput:
    """Writes lines whole and in their order, without waiting for their reader."""

    def __init__(self) -> None:
        """Write to standard output; open() finds out how."""
        self._descriptor = 1
        self._is_own = False
        self._poll: select.poll | None = None  # asked before each write
        self._max_write = sys.maxsize  # bytes at a time
        self.forget()

    def forget(self) -> None:
        """Begin anew, in a process just forked: what is kept is its parent's to write."""
        # Not a plain lock: a signal's handler may log while its thread holds it.
        self._lock = threading.RLock()
        self._kept: collections.deque[bytes] = collections.deque()
        self._kept_bytes = 0
        self._dropped = 0  # lines, since flush() last returned their number
        self._unreported = 0  # the same, since it was last logged

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
        with self._lock:
            if self._kept:
                self._send_kept()
            written = 0 if self._kept else self._send(line)
            if written == len(line):
                return
            # The rest of a line that has begun is kept in any case, before all others.
            if not written and self._kept_bytes + len(line) + LINE_OVERHEAD > MAX_KEPT:
                self._dropped += 1
                return
            self._kept.append(line[written:])
            self._kept_bytes += len(line) - written + LINE_OVERHEAD

    def flush(self) -> int:
        """Write what is kept, as far as it goes; the lines dropped since the last call."""
        with self._lock:
            if self._kept:
                self._send_kept()
            dropped, self._dropped = self._dropped, 0
            self._unreported += dropped
            if self._kept or not self._unreported:
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

    def _send(self, line: bytes) -> int:
        """Write what fits now; how many bytes that were, or all if nobody is ever going to read."""
        written = 0
        try:
            while written < len(line) and (self._poll is None or self._poll.poll(0)):
                written += os.write(self._descriptor, line[written : written + self._max_write])
        except BlockingIOError:
            pass
        except OSError:
            self._dropped += 1
            return len(line)
        return written

    def _send_kept(self) -> None:
        """Write what is kept, as far as it goes."""
        while self._kept:
            line = self._kept[0]
            written = self._send(line)
            if written < len(line):
                self._kept[0] = line[written:]
                self._kept_bytes -= written
                return
            self._kept.popleft()
            self._kept_bytes -= len(line) + LINE_OVERHEAD


# That of this process.
output = LogOutput()
os.register_at_fork(after_in_child=output.forget)
atexit.register(output.finish)
