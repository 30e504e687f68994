"""The background process: calls one function of the service, its step, until it is stopped.

The step runs in the main thread, so that a signal can cut it off where it stands. A timer ticks
once a second: it writes log lines that were kept, renews the heartbeat for the health check, and
counts the seconds of the step. Ticks and not the clock: a container that was paused must not lose
its step. While a step is outside of Python no tick comes; then a second thread counts.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, NoReturn

from prometheus_client import Counter, Gauge, Histogram

from drydock import healthcheck, logs, metrics
from drydock.context import State
from drydock.failures import StartError
from drydock.server import process_exit, state
from drydock.server.log_output import output

if TYPE_CHECKING:
    from flask import Flask

    from drydock.service import Service, Step
    from drydock.settings import BaseSettings

log = logging.getLogger("app.work")

HEARTBEAT_SLACK = 10  # seconds that a tick may be late
UNWIND_SECONDS = 1  # for a step that was cut off to roll back

steps = Counter("app_work_steps_total", "Steps of the background process.", ("result",))
for result in ("done", "failed"):
    steps.labels(result)  # there from the start, as 0
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

    def __init__(self, settings: BaseSettings) -> None:
        """Handle the process's signals; a stop before the first step leaves that out.

        Raises:
            StartError: with one line, if there is no place for the heartbeat.

        """
        self.settings = settings
        self.heartbeat = Path(healthcheck.heartbeat_path(settings.app_port))
        self.in_step = False
        self.is_cut_off = False  # the step that runs
        self.ticks = 0  # since the step began, or since the stop
        self.missing_ticks = 0  # seconds since the last one, as the second thread counts them
        self.limit = settings.work_timeout  # ticks that a step may take
        self.dropped = 0  # log lines, not yet counted in the metrics
        # Readable once the process is to stop. No threading.Event: a handler that sets one can
        # meet its lock, taken by the very thread that it interrupts.
        self.wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.is_started = False  # before that there is no heartbeat: it is not healthy yet
        try:
            self.heartbeat.touch(mode=0o600)
            self.heartbeat.unlink()
        except OSError as error:
            folder = self.heartbeat.parent
            raise StartError(
                f"{folder}: {error.strerror}. Expected a directory in memory that can be written"
                " to; every container has one, but with --ipc=none."
            ) from None
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

    def tick(self, _number: int, frame: FrameType | None) -> None:
        """Do what is due each second; cut off a step whose time is over.

        Raises:
            StepCutOff: in the step, if its time is over.

        """
        self.ticks += 1
        self.missing_ticks = 0
        self.dropped += output.flush()
        if self.is_started:
            self.beat()
        if not self.in_step or self.ticks < self.limit:
            return
        if self.ticks >= self.limit + UNWIND_SECONDS:  # it has caught the exception, or hangs again
            end_at_once(frame, "the step did not end when it was cut off; the process does")
        self.is_cut_off = True
        raise StepCutOff

    def watch(self) -> None:
        """End the process if no tick comes for too long; in a thread of its own.

        Python calls a signal's handler only between its own instructions, and a step may be in a
        library's for ever.
        """
        while True:
            time.sleep(1)
            self.missing_ticks += 1
            if self.missing_ticks > self.seconds_left() + HEARTBEAT_SLACK:
                main = sys._current_frames().get(threading.main_thread().ident or 0)
                end_at_once(main, "the step hangs outside of Python; the process ends")

    def restart_ticks(self) -> None:
        """Count from now on."""
        self.ticks = self.missing_ticks = 0
        signal.setitimer(signal.ITIMER_REAL, 1, 1)

    def seconds_left(self) -> int:
        """How long no tick may come: for as long as the step may run."""
        return max(self.limit - self.ticks, 0) if self.in_step else 0

    def beat(self) -> None:
        """Write down when the next beat is due at the latest."""
        due = time.monotonic() + self.seconds_left() + HEARTBEAT_SLACK
        self.heartbeat.touch(mode=0o600)  # it may be gone: other containers can share the folder
        os.utime(self.heartbeat, (due, due))

    def run(self, app: Flask, step: Step) -> int:
        """Call `step` until the process is stopped; return its exit status."""
        self.is_started = True
        self.beat()
        threading.Thread(target=self.watch, name="watch", daemon=True).start()
        try:
            while not is_stopping():
                if not self.run_step(app, step):
                    self.wait()
                self.count_dropped()
        except StepCutOff:
            if not is_stopping():
                log.exception("the step was cut off after %d s (WORK_TIMEOUT)", self.limit)
                return 1
            log.warning("the step was cut off: it did not end within %d s", self.limit)
        finally:
            signal.signal(signal.SIGALRM, signal.SIG_IGN)
            self.heartbeat.unlink(missing_ok=True)
        log.info("stopped")
        return 0

    def wait(self) -> None:
        """Wait for WORK_INTERVAL, or until the process is to stop."""
        poll = select.poll()
        poll.register(self.wake, select.POLLIN)
        end = time.monotonic() + self.settings.work_interval
        while (left := end - time.monotonic()) > 0 and not poll.poll(min(left, 1) * 1000):
            self.count_dropped()

    def count_dropped(self) -> None:
        """Add the dropped lines to the metrics; not in a tick, which may interrupt their lock."""
        dropped, self.dropped = self.dropped, 0
        metrics.log_lines_dropped.inc(dropped)

    def run_step(self, app: Flask, step: Step) -> bool:
        """Call `step` once; whether there is more to do at once. What goes wrong is logged.

        Raises:
            StepCutOff: if its time was over.

        """
        began = time.monotonic()
        self.restart_ticks()
        self.in_step = True
        try:
            self.beat()
            with app.app_context(), State.of(app).span("step"):
                more = step() is True
        except BaseException as error:  # SystemExit and CancelledError, too
            if self.is_cut_off:  # also where the step's own cleanup has failed after that
                raise StepCutOff from error
            steps.labels("failed").inc()
            log.exception("the step failed; the next is in %d s", self.settings.work_interval)
            return False
        finally:
            self.in_step = False
            durations.observe(time.monotonic() - began)
        steps.labels("done").inc()
        last_success.set_to_current_time()
        return more


def end_at_once(frame: FrameType | None, reason: str) -> NoReturn:
    """End the process with status 1 and, in the log, the trace of the main thread, at `frame`."""
    trace = None
    while frame is not None:
        trace = TracebackType(trace, frame, frame.f_lasti, frame.f_lineno)
        frame = frame.f_back
    log.error(reason, exc_info=StepCutOff().with_traceback(trace))
    output.finish()
    os._exit(1)


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


def run(service: Service, step: str | None = None) -> NoReturn:
    """Run a background process of `service` until it is stopped.

    `step` names another step than the service's own, as `module:function`.

    Raises:
        StartError: with one line for each thing that keeps it from starting.

    """
    settings = service.load_settings()
    background = Background(settings)
    call = service.load_step(step)
    output.open(1)
    logs.write = output.write
    app = service.create_app(settings)
    if settings.metrics_port:
        metrics.serve(settings.app_host, settings.metrics_port)
    log.info("started: %s, every %d s", step or service.work, settings.work_interval)
    status = background.run(app, call)
    process_exit.leave(lambda: None, background.limit - background.ticks, status)
