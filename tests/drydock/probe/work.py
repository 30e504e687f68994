"""The background process: a step that behaves as the setting STEP says."""

from __future__ import annotations

import contextlib
import itertools
import logging
import multiprocessing
import time

from sqlalchemy import func, select

from drydock.background import is_stopping
from drydock.database import transaction

from .notes import Note
from .settings import Settings

log = logging.getLogger(__name__)
numbers = itertools.count(1)


def step() -> bool:
    """Log that it begins and ends; between that count the notes, add one, wait, or fail."""
    number, kind = next(numbers), Settings.current().step
    log.info("step %d begins", number)
    if kind == "fail once" and number == 1:
        raise RuntimeError("this step\nfails")
    if kind == "fork":
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
        child.start()
        child.terminate()
        child.join()
        log.info("the child ended with %d", child.exitcode)
    with transaction() as session:
        if kind != "read":
            session.add(Note(title=f"step {number} at {time.time_ns()}"))
            session.flush()
        while kind == "stubborn":
            with contextlib.suppress(BaseException):
                time.sleep(60)
        if kind == "slow":
            time.sleep(3)
        count = session.scalar(select(func.count()).select_from(Note))
    log.info("step %d ends: %d notes, stopping: %s", number, count, is_stopping())
    return kind == "more" and number % 3 != 0
