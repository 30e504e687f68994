"""gunicorn's hooks: the settings, and each worker's slot among the metrics' files."""

from __future__ import annotations

import functools
import http
import logging
import os
import shutil
import sys
from typing import TYPE_CHECKING, Any, cast

from drydock import logs
from drydock.server import limits, state, supervisor
from drydock.server.log_output import output
from drydock.settings import BaseSettings, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gunicorn.arbiter import Arbiter
    from gunicorn.http.message import Request
    from gunicorn.workers.base import Worker

    from drydock.server.supervisor import SlotWorker

log = logging.getLogger("app.server")

# Bytes for each process that counts: it has four files, of 64 KiB each at first, which grow with
# the number of routes.
METRICS_ROOM = 512 * 1024


class Source:
    """Where the settings come from: the service says so (drydock.server.config)."""

    load: Callable[[], BaseSettings] = BaseSettings.load


@functools.cache
def settings() -> BaseSettings:
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


_short: set[str] = set()  # the routes whose short responses are in this worker's log


def post_request(_worker: Worker, req: Request, environ: dict[str, Any], resp: Any) -> None:  # noqa: ANN401 (gunicorn.http.wsgi.Response; the stubs lack what is read)
    """Let no request follow a response that is shorter than its Content-Length.

    The client takes what comes next on the connection for the rest of that response (RFC 9112,
    6.3); closed, it sees that something is missing. The log names each route once: it is the
    application that is at fault, for each of its clients in the same way.
    """
    if (
        resp is None
        or resp.response_length is None
        or resp.sent >= resp.response_length
        # Where there is no content the length says what it would have been (RFC 9110, 8.6).
        or req.method == "HEAD"
        or resp.status_code == http.HTTPStatus.NOT_MODIFIED
        or sys.exception()  # the client is gone, or the application failed, which the log says
    ):
        return
    req.force_close()
    route = environ.get("app.route") or "an unknown route"
    if route not in _short:
        _short.add(route)
        token = logs.current_ids.set((environ.get("app.request_id"), environ.get("app.trace_id")))
        log.error(
            "the application's response to %s %s has %d bytes and a Content-Length of %d: closed"
            " the connection. From now on that happens without a line for this route.",
            req.method,
            route,
            resp.sent,
            resp.response_length,
        )
        logs.current_ids.reset(token)


def child_exit(server: Arbiter, worker: SlotWorker) -> None:
    """Take what the worker that has ended had in flight out of the metrics."""
    from drydock import metrics

    metrics.leave_slot(worker.slot)
    supervisor.note_end(cast("supervisor.Arbiter", server), worker)
