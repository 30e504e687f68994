"""The very end of a worker's process: exit handlers, with a deadline, and nothing after them."""

from __future__ import annotations

import atexit
import logging
import os
import signal
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("gunicorn")

# Seconds that exit handlers may take together. The least is there for a service whose
# GRACEFUL_TIMEOUT is over, too: the arbiter kills a second after that.
MIN_SECONDS, MAX_SECONDS = 0.5, 3.0
WARN_SECONDS = 0.2  # in which the warning has to be written


def leave(worker_exit: Callable[[], object], seconds_left: float, status: int = 0) -> NoReturn:
    """Run gunicorn's hook `worker_exit`, then what is registered with `atexit`, and exit.

    They have `seconds_left`, within bounds; a handler that hangs then holds the worker no longer.
    Call it in the main thread, which alone has signals.
    """
    seconds = max(MIN_SECONDS, min(MAX_SECONDS, seconds_left))

    def give_up(_number: int, _frame: object) -> NoReturn:
        # The next alarm ends the process: a thread that hangs may have a lock of the log's.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, WARN_SECONDS)
        log.warning("exit handlers were cut off after %g s", seconds)
        os._exit(status)

    # An alarm and not a thread, which a low pids limit may not allow. Python calls its handler also
    # while the main thread waits for a lock, a socket or a sleep.
    signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    for handler in (worker_exit, atexit._run_exitfuncs):
        try:
            handler()
        except BaseException:  # SystemExit, say: the others are to run all the same
            log.exception("Exception during worker exit")
    # Not by the interpreter's own end, which takes all objects apart, and for that copies the
    # memory that is shared with the arbiter: at a low limit the kernel killed it there. It would
    # wait for the threads, too.
    os._exit(status)
