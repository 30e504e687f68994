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
    """Set, before prometheus_client is imported, the directory of the workers' files; empty it.

    Otherwise the numbers from before a restart of the container would be added to the new ones. A
    reload of the settings (SIGHUP) calls this again and must not empty it.

    Raises:
        SettingsError: if there is too little room. The files are sparse: a process that writes to
            them when no memory is left is killed (SIGBUS), and so is its successor.

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
    """Write log lines that were kept, and count those that were dropped; called at each tick."""
    if dropped := output.flush():
        from drydock import metrics

        metrics.log_lines_dropped.inc(dropped)


def when_ready(server: Arbiter) -> None:
    """Take over the arbiter's signals, and freeze the memory that the workers will share."""
    arbiter = cast("supervisor.Arbiter", server)
    drain_seconds, spare = settings().drain_seconds, plan().spare
    supervisor.take_over(arbiter, drain_seconds, spare=spare, on_tick=flush_log)


def pre_fork(server: Arbiter, worker: SlotWorker) -> None:
    """Give the new worker the lowest slot that no living one has."""
    used = {getattr(other, "slot", None) for other in server.WORKERS.values()}
    worker.slot = next(slot for slot in range(len(used) + 1) if slot not in used)
    state.clear_slot(worker.slot)


def post_fork(server: Arbiter, worker: SlotWorker) -> None:
    """Count in the slot's files from now on, and keep `server` for the hook worker_exit."""
    from drydock import metrics

    worker.arbiter = server
    metrics.enter_slot(worker.slot, worker.cfg.threads)


def child_exit(server: Arbiter, worker: SlotWorker) -> None:
    """Take what the worker that has ended had in flight out of the metrics."""
    from drydock import metrics

    metrics.leave_slot(worker.slot)
    supervisor.note_end(cast("supervisor.Arbiter", server), worker)
