"""What the service needs of gunicorn beyond settings: its log lines, and the workers' slots."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import shutil
import time
import uuid
from typing import TYPE_CHECKING, Any

import gunicorn.util
from gunicorn.glogging import Logger

from app import errors, logs
from app.settings import Settings

if TYPE_CHECKING:
    import datetime
    import socket
    from collections.abc import MutableMapping
    from pathlib import Path

    from gunicorn.arbiter import Arbiter
    from gunicorn.config import Config
    from gunicorn.http.message import Request
    from gunicorn.http.wsgi import Response
    from gunicorn.workers.base import Worker

    class SlotWorker(Worker):
        """A worker with the attribute that pre_fork gives it."""

        slot: int


log = logging.getLogger(__name__)

PROBES = {"/livez", "/readyz"}


@functools.cache
def settings() -> Settings:
    """The settings as they were when this process started.

    gunicorn reads its settings again on SIGHUP. The application, loaded once and for all workers,
    does not; and a secret's file that is being replaced at that moment must not end the service.

    Raises:
        SettingsError: with one line for each variable that is not acceptable.

    """
    return Settings.load()


def write_error(sock: socket.socket, status_int: int, reason: str, mesg: str) -> None:
    """Refuse what gunicorn could not even parse, in place of its HTML, with a problem document.

    `mesg` quotes the client and the limits, which is for the log alone.
    """
    request_id = uuid.uuid4().hex
    token = logs.current_ids.set((request_id, None))
    client = ""
    with contextlib.suppress(OSError):  # it may be gone
        client = sock.getpeername()[0]
    log.warning("refused %s with %d: %s", client, status_int, mesg)
    logs.current_ids.reset(token)
    document = errors.document(status_int, reason, "The request is not valid HTTP.", request_id)
    body = json.dumps(document).encode() + b"\n"
    head = (
        f"HTTP/1.1 {status_int} {reason}\r\nConnection: close\r\nX-Request-ID: {request_id}\r\n"
        f"Content-Type: {errors.CONTENT_TYPE}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    gunicorn.util.write_nonblock(sock, head.encode() + body)


# There is no setting for it; a contract test sends what gunicorn refuses.
gunicorn.util.write_error = write_error


def _is_not_told_elsewhere(record: logging.LogRecord) -> bool:
    """Leave out what `write_error` tells better: with the request's id."""
    return not str(record.msg).startswith("Invalid request from ip=")


class ServerLogger(Logger):
    """gunicorn's own messages as all other log lines; one line of ours for each request.

    gunicorn's access log costs 17 % of the throughput, since it collects everything that a format
    could ask for; this one 5 % (bench/throughput.py).
    """

    def setup(self, cfg: Config) -> None:
        """Leave the handlers to the root logger."""
        self.cfg = cfg
        self._settings = settings()
        logs.configure(self._settings)
        self.error_log = logging.getLogger("gunicorn")
        self.error_log.addFilter(_is_not_told_elsewhere)
        self._access_log_enabled = self.error_log.isEnabledFor(logging.INFO)

    def access(
        self,
        resp: Response,
        req: Request,  # noqa: ARG002 (gunicorn's signature)
        environ: MutableMapping[str, Any],
        request_time: datetime.timedelta,
    ) -> None:
        """Write the line of a request that was answered."""
        status = int(str(resp.status).partition(" ")[0])
        quiet = environ.get("PATH_INFO") in PROBES or "app.metrics" in environ
        if not self._access_log_enabled or (
            quiet and status < 500 and not self._settings.log_probes
        ):
            return
        line = logs.access_line(
            self._settings,
            environ,
            status=status,
            seconds=request_time.total_seconds(),
            size=resp.sent or 0,
            now=time.time(),
        )
        logs.write_line(line)


def use_metrics_directory(path: Path) -> None:
    """Tell prometheus_client, before it is imported, where the workers' files are; wipe it.

    Numbers of an earlier life of this container would be added to this one's. A reload of the
    settings (SIGHUP) comes by here as well and must not wipe.
    """
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR") == str(path):
        return
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(mode=0o700, parents=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(path)


def pre_fork(server: Arbiter, worker: SlotWorker) -> None:
    """Give the new worker the lowest slot that no living one has."""
    taken = {getattr(other, "slot", None) for other in server.WORKERS.values()}
    worker.slot = next(slot for slot in range(len(taken) + 1) if slot not in taken)


def post_fork(_server: Arbiter, worker: SlotWorker) -> None:
    """Count in the slot's files from now on."""
    from app import metrics

    metrics.enter_slot(worker.slot, worker.cfg.threads)


def child_exit(_server: Arbiter, worker: SlotWorker) -> None:
    """Forget what the worker that has ended had under way."""
    from app import metrics

    metrics.leave_slot(worker.slot)
