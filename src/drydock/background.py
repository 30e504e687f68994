"""The background process: calls one function of the service, its step, until it is stopped.

One thread, so that a step can be cut off where it stands. A timer ticks once a second: it writes
log lines that were kept, renews the heartbeat for the health check, and counts the seconds of the
step. Ticks and not the clock, for a container that was paused must not lose its step.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from prometheus_client import Counter, Gauge, Histogram, start_http_server

from drydock import healthcheck, logs, metrics
from drydock.failures import StartError
from drydock.server import process_exit, state
from drydock.server.log_output import output

if TYPE_CHECKING:
    from types import FrameType

    from flask import Flask

    from drydock.service import Service, Step
    from drydock.settings import Settings

log = logging.getLogger("app.work")

HEARTBEAT_SLACK = 10  # seconds that a tick may be late before the health check fails
UNWIND_SECONDS = 1  # for a step that was cut off to roll back
METRICS_TIMEOUT = 10  # seconds for a request at the metrics' port

steps = Counter("app_work_steps_total", "Steps of the background process.", ("result",))
durations = Histogram("app_work_step_duration_seconds", "Time that a step took.")
last_success = Gauge(
    "app_work_last_success_timestamp_seconds", "When the last successful step ended."
)


def is_stopping() -> bool:
    """Whether the process was asked to stop: a long step should then end as soon as it can."""
    return state.phase() != state.SERVING


class StepCutOff(BaseException):
    """Raised in the middle of a step whose time is over."""


class Background:
    """Calls the step, keeps the heartbeat, and ends when it is asked to."""

    def __init__(self, settings: Settings) -> None:
        """Handle the process's signals; a stop before the first step leaves that out."""
        self.settings = settings
        self.heartbeat = Path(healthcheck.heartbeat_path(settings.app_port))
        self.in_step = False
        self.ticks = 0  # since the step began, or since the stop
        self.limit = settings.work_timeout  # ticks that a step may take
        self.dropped = 0  # log lines, not yet counted in the metrics
        # Readable once the process is to stop. No threading.Event: a handler that sets one can
        # meet its lock, taken by the very thread that it interrupts.
        self.wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        signal.signal(signal.SIGALRM, self.tick)
        signal.signal(signal.SIGTERM, self.stop)
        signal.signal(signal.SIGINT, self.stop)
        keep_signals_from_children()

    def stop(self, number: int, _frame: FrameType | None) -> None:
        """Let the step end within GRACEFUL_TIMEOUT; a second signal ends the process at once."""
        if is_stopping():
            os._exit(128 + number)
        state.begin_drain()
        self.limit = self.settings.graceful_timeout
        self.restart_ticks()
        os.eventfd_write(self.wake, 1)
        if self.in_step:
            log.info("stopping: the step has up to %d s to end", self.limit)

    def tick(self, _number: int, _frame: FrameType | None) -> None:
        """Do what is due each second; cut off a step whose time is over.

        Raises:
            StepCutOff: in the step, if its time is over.

        """
        self.ticks += 1
        self.dropped += output.flush()
        self.beat()
        if not self.in_step or self.ticks < self.limit:
            return
        if (
            self.ticks >= self.limit + UNWIND_SECONDS
        ):  # the step has caught the exception, or hangs again
            log.error("the step did not end when it was cut off; the process does")
            output.finish()
            os._exit(1)
        raise StepCutOff

    def restart_ticks(self) -> None:
        """Count from now on."""
        self.ticks = 0
        signal.setitimer(signal.ITIMER_REAL, 1, 1)

    def beat(self) -> None:
        """Write down when the next beat is due: a step may hold back the ticks until its limit."""
        left = max(self.limit - self.ticks, 0) if self.in_step else 0
        due = time.monotonic() + left + HEARTBEAT_SLACK
        os.utime(self.heartbeat, (due, due))

    def run(self, app: Flask, step: Step) -> int:
        """Call `step` until the process is stopped; return its exit status."""
        self.heartbeat.touch(mode=0o600)
        self.restart_ticks()
        self.beat()
        poll = select.poll()
        poll.register(self.wake, select.POLLIN)
        try:
            while not is_stopping():
                if not self.run_step(app, step):
                    poll.poll(self.settings.work_interval * 1000)
                metrics.log_lines_dropped.inc(self.dropped)
                self.dropped = 0
        except StepCutOff:
            steps.labels("cut off").inc()
            if not is_stopping():
                log.exception("the step was cut off after %d s (WORK_TIMEOUT)", self.limit)
                return 1
            log.warning("the step was cut off: it did not end within %d s", self.limit)
        finally:
            signal.signal(signal.SIGALRM, signal.SIG_IGN)
            self.heartbeat.unlink(missing_ok=True)
        log.info("stopped")
        return 0

    def run_step(self, app: Flask, step: Step) -> bool:
        """Call `step` once; whether there is more to do at once. What goes wrong is logged."""
        began = time.monotonic()
        self.restart_ticks()
        self.in_step = True
        try:
            self.beat()
            with app.app_context():
                more = step() is True
        except Exception:
            steps.labels("failed").inc()
            log.exception("the step failed; the next is in %d s", self.settings.work_interval)
            return False
        finally:
            self.in_step = False
            durations.observe(time.monotonic() - began)
        steps.labels("done").inc()
        last_success.set_to_current_time()
        return more


def keep_signals_from_children() -> None:
    """Have signals their usual meaning in a child that a step forks (multiprocessing does).

    The phase is in memory that it shares: a SIGTERM for the child would stop its parent. One may
    come as soon as the child exists, so it has to wait until the handlers are gone.
    """
    numbers = (signal.SIGALRM, signal.SIGTERM, signal.SIGINT)

    def restore() -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)

    os.register_at_fork(
        before=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, numbers),
        after_in_parent=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers),
        after_in_child=restore,
    )


def run(service: Service) -> NoReturn:
    """Run the background process of `service` until it is stopped.

    Raises:
        StartError: with one line for each thing that keeps it from starting.

    """
    settings = service.load_settings()
    background = Background(settings)
    step = service.load_step()
    output.open(1)
    logs.write = output.write
    app = service.create_app(settings)
    if settings.metrics_port:
        serve_metrics(settings.metrics_port)
    log.info("started: %s, every %d s", service.work, settings.work_interval)
    status = background.run(app, step)
    process_exit.leave(lambda: None, settings.graceful_timeout, status)


def serve_metrics(port: int) -> None:
    """Serve the metrics at `port`, in a thread.

    Raises:
        StartError: with one line, if the port can't be had.

    """
    try:
        server, _ = start_http_server(port)
    except OSError as error:
        raise StartError(f"METRICS_PORT={port}: {error.strerror}. Expected a free port.") from None
    # Else a client that sends nothing would hold its thread for ever.
    server.RequestHandlerClass.timeout = METRICS_TIMEOUT  # type: ignore[attr-defined]
