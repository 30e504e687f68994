"""The exit of a worker's process: exit handlers, with a deadline, and nothing after them."""

from __future__ import annotations

import atexit
import logging
import os
import signal
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("gunicorn")

# Seconds that exit handlers may take together. They have the least even where GRACEFUL_TIMEOUT is
# over: the arbiter kills a second after that.
MIN_SECONDS, MAX_SECONDS = 0.5, 3.0
WARN_SECONDS = 0.2  # in which the warning has to be written


def leave(worker_exit: Callable[[], object], seconds_left: float, status: int = 0) -> NoReturn:
    """Run gunicorn's hook `worker_exit`, then what is registered with `atexit`, and exit.

    They have `seconds_left`, within bounds; then a handler that hangs is cut off. To be called in
    the main thread: only there do signal handlers run.
    """
    seconds = max(MIN_SECONDS, min(MAX_SECONDS, seconds_left))

    def cut_off(_number: int, _frame: object) -> NoReturn:
        # The next alarm ends the process: a thread that hangs may hold a lock of the log.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, WARN_SECONDS)
        log.warning("exit handlers were cut off after %g s", seconds)
        os._exit(status)

    # An alarm and not a thread, which a low pids limit may not allow. Python calls its handler even
    # while the main thread waits for a lock or a socket, or sleeps.
    signal.signal(signal.SIGALRM, cut_off)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    for handler in (worker_exit, atexit._run_exitfuncs):
        try:
            handler()
        except BaseException:  # such as SystemExit: the others have to run too
            log.exception("Exception during worker exit")
    # Not sys.exit(): the interpreter would wait for the threads. It would also free all objects,
    # and so copy the memory that is shared with the arbiter: at a low limit the kernel killed it.
    os._exit(status)
