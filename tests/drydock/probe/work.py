"""The background process: a step that behaves as the setting STEP says."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import logging
import multiprocessing
import sys
import time

from drydock.background import is_stopping

from .settings import Settings
from .storage import kept

log = logging.getLogger(__name__)
numbers = itertools.count(1)


def step() -> bool:
    """Log that it begins and ends; between that do what STEP says, and count the notes."""
    number, kind = next(numbers), Settings.current().step
    log.info("step %d begins", number)
    if kind == "loud":
        for _ in range(10_000):
            log.info("x" * 200)  # together more than is kept for a reader that stalls
    if kind == "fork":
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
        child.start()
        child.terminate()
        child.join()
        log.info("the child ended with %d", child.exitcode)
    with kept() as notes:
        if kind != "read":
            notes.add(f"step {number} at {time.time_ns()}")
        if number == 1 and kind == "fail":
            raise RuntimeError("this step\nfails")
        if number == 1 and kind == "exit":
            sys.exit("this step exits")
        if kind == "slow":
            take_time()
        while kind == "stubborn":
            with contextlib.suppress(BaseException):
                time.sleep(60)
        if kind == "outside":
            # A lock of the C library, taken twice: no signal ends the wait.
            library, lock = ctypes.CDLL(None), ctypes.create_string_buffer(64)
            while True:
                library.pthread_mutex_lock(lock)
        count = notes.count()
    log.info("step %d ends: %d notes, stopping: %s", number, count, is_stopping())
    return kind == "more" and number % 3 != 0


def take_time() -> None:
    """Four seconds; and a failure of its own, where it is cut off."""
    done = False
    try:
        time.sleep(4)
        done = True
    finally:
        if not done:
            raise RuntimeError("cleaning up failed")
