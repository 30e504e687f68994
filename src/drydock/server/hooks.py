"""gunicorn's hooks: the settings, and each worker's slot among the metrics' files."""

from __future__ import annotations

import functools
import os
import shutil
from typing import TYPE_CHECKING, cast

from drydock.server import limits, state, supervisor
from drydock.server.log_output import output
from drydock.settings import Settings, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gunicorn.arbiter import Arbiter

    from drydock.server.supervisor import SlotWorker


# Bytes for each process that counts: it has four files, of 64 KiB each at first, which grow with
# the number of routes.
METRICS_ROOM = 512 * 1024


class Source:
    """Where the settings come from: the service says so (drydock.server.config)."""

    load: Callable[[], Settings] = Settings.load


@functools.cache
def settings() -> Settings:
    """The settings as they were when this process started.

    gunicorn reads its settings again on SIGHUP. The application, loaded once and for all workers,
    does not; and a secret's file that is being replaced at that moment must not end the service.

    Raises:
        SettingsError: with one line for each variable that is not acceptable.

    """
    return Source.load()


@functools.cache
def plan() -> limits.Plan:
    """How many workers and threads there are to be, and how much each may keep."""
    return limits.plan(limits.read(), settings().web_threads, settings().web_concurrency)


def use_metrics_directory(path: Path, workers: int) -> None:
    """Tell prometheus_client, before it is imported, where the workers' files are; wipe it.

    Numbers of an earlier life of this container would be added to this one's. A reload of the
    settings (SIGHUP) comes by here as well and must not wipe.

    Raises:
        SettingsError: if there is too little room. The files have holes, and a process that writes
            into one where no memory is left is killed (SIGBUS), as is the one that replaces it.

    """
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR") == str(path):
        return
    shutil.rmtree(path, ignore_errors=True)
    room = os.statvfs(path.parent)
    free, needed = room.f_bavail * room.f_frsize, (workers + 1) * METRICS_ROOM
    if room.f_blocks and free < needed:  # no blocks at all: without a limit
        raise SettingsError(
            f"METRICS_PORT: {path.parent} has {free // 1024} KiB left, and the metrics of {workers}"
            f" workers need {needed // 1024}. Expected more (--shm-size), or METRICS_PORT=0."
        )
    path.mkdir(mode=0o700, parents=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(path)


def flush_log() -> None:
    """Write log lines that were kept, and count those that were dropped; once in a while."""
    if dropped := output.flush():
        from drydock import metrics

        metrics.log_lines_dropped.inc(dropped)


def when_ready(server: Arbiter) -> None:
    """Take over the arbiter's signals, and freeze what the workers are about to share."""
    arbiter = cast("supervisor.Arbiter", server)
    drain_seconds, spare = settings().drain_seconds, plan().spare
    supervisor.take_over(arbiter, drain_seconds, spare=spare, on_tick=flush_log)


def pre_fork(server: Arbiter, worker: SlotWorker) -> None:
    """Give the new worker the lowest slot that no living one has."""
    used = {getattr(other, "slot", None) for other in server.WORKERS.values()}
    worker.slot = next(slot for slot in range(len(used) + 1) if slot not in used)
    state.clear_slot(worker.slot)


def post_fork(server: Arbiter, worker: SlotWorker) -> None:
    """Count in the slot's files from now on; the hook worker_exit is going to need `server`."""
    from drydock import metrics

    worker.arbiter = server
    metrics.enter_slot(worker.slot, worker.cfg.threads)


def child_exit(server: Arbiter, worker: SlotWorker) -> None:
    """Forget what the worker that has ended had under way."""
    from drydock import metrics

    metrics.leave_slot(worker.slot)
    supervisor.note_end(cast("supervisor.Arbiter", server), worker)
