"""The background process, run as such."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import urllib3

from drydock import Service, healthcheck
from drydock.failures import StartError

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclasses.dataclass
class Work:
    """A running background process, and the file that it prints to."""

    process: subprocess.Popen[str]
    file: Path
    port: int

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What it has printed: each line is whole, and one object."""
        whole = self.file.read_text().split("\n")[:-1]
        return [json.loads(line) for line in whole]

    def said(self, word: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if word in line["message"]]

    def wait_for(self, word: str, count: int = 1) -> list[dict[str, Any]]:
        deadline = time.monotonic() + 30
        while len(found := self.said(word)) < count:
            assert self.process.poll() is None, self.file.read_text()
            assert time.monotonic() < deadline, self.file.read_text()
            time.sleep(0.05)
        return found

    def health(self) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-IS", str(healthcheck.__file__)]
        variables = {"APP_PORT": str(self.port)}
        return subprocess.run(command, env=variables, capture_output=True, text=True, check=False)


@contextlib.contextmanager
def work(folder: Path, step: str, stdout: int | None = None, **variables: str) -> Iterator[Work]:
    """Run it with its data in `folder`; it prints to a file there, unless told otherwise."""
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if "DATABASE" not in name} | {
        "APP_ENV": "test",
        "APP_PORT": str(port),
        "DATA_DIR": str(folder),
        "METRICS_PORT": "0",
        "STEP": step,
        "WORK_INTERVAL": "60",
        "PYTHONPATH": os.pathsep.join(sys.path),
        **variables,
    }
    file = folder / "log"
    with (
        file.open("w") as stream,
        subprocess.Popen(
            [sys.executable, "-m", "probe", "work"],
            env=environment,
            stdout=stdout or stream,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process,
    ):
        try:
            yield Work(process, file, port)
        finally:
            process.kill()
            # Else a later test's health check, with the same port, would see it.
            Path(healthcheck.heartbeat_path(port)).unlink(missing_ok=True)


def test_it_calls_the_step_again_after_the_interval_and_stops_when_idle(tmp_path: Path) -> None:
    with work(tmp_path, "write", WORK_INTERVAL="1") as running:
        first, second = running.wait_for("ends", 2)[:2]
        assert "step 1 ends: 1 notes" in first["message"]
        assert "step 2 ends: 2 notes" in second["message"]  # each is committed
        assert running.health().returncode == 0
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(5) == 0
        assert running.lines[-1]["message"] == "stopped"
    # Whoever is the next at this port in a container is not taken for a background process.
    assert not Path(healthcheck.heartbeat_path(running.port)).exists()


def test_a_step_that_has_more_to_do_is_called_again_at_once(tmp_path: Path) -> None:
    with work(tmp_path, "more") as running:
        running.wait_for("step 3 ends")
        time.sleep(1)
        assert not running.said("step 4")


@pytest.mark.parametrize(("step", "error"), [("fail", "RuntimeError"), ("exit", "SystemExit")])
def test_what_a_step_raises_is_logged_with_its_trace_and_rolled_back(
    tmp_path: Path, step: str, error: str
) -> None:
    with work(tmp_path, step, WORK_INTERVAL="2") as running:
        running.wait_for("step 2 ends: 1 notes")
        (failure,) = running.said("the step failed")
        assert failure["level"] == "error"
        assert failure["message"] == "the step failed; the next is in 2 s"
        assert f"\n{error}: this step" in failure["exc_info"]
        (again,) = running.said("step 2 begins")
        times = [datetime.datetime.fromisoformat(line["time"]) for line in (failure, again)]
        assert (times[1] - times[0]).total_seconds() > 1.5
        assert running.health().returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_lets_the_step_end(tmp_path: Path, number: int) -> None:
    """It has that time from the signal on, however long it has taken before."""
    with work(tmp_path, "slow", GRACEFUL_TIMEOUT="3") as running:
        running.wait_for("begins")
        time.sleep(2.5)  # of its four seconds
        running.process.send_signal(number)
        assert running.process.wait(20) == 0
        (ends,) = running.said("ends")
        assert "step 1 ends: 1 notes, stopping: True" in ends["message"]
        assert not running.said("step 2")
        assert running.said("stopping: the step has up to 3 s to end")


def test_a_stop_during_the_start_ends_it_before_the_first_step(tmp_path: Path) -> None:
    with work(tmp_path, "write") as running:
        # The signal's handlers are there before anything that takes time.
        status = Path(f"/proc/{running.process.pid}/status")
        deadline = time.monotonic() + 30
        while not caught(status.read_text(), signal.SIGTERM):
            assert time.monotonic() < deadline
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(20) == 0
        assert not running.said("begins")
        assert running.lines[-1]["message"] == "stopped"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def caught(status: str, number: int) -> bool:
    """Whether a process handles the signal, by its /proc/PID/status."""
    (mask,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(mask, 16) >> (number - 1) & 1)


def test_a_stop_cuts_off_a_step_that_takes_too_long(tmp_path: Path) -> None:
    with work(tmp_path, "slow", GRACEFUL_TIMEOUT="1") as running:
        running.wait_for("begins")
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(20) == 0
        assert not running.said("ends")
        assert running.said("the step was cut off: it did not end within 1 s")
        assert running.lines[-1]["message"] == "stopped"
    with work(tmp_path, "write") as running:  # and what it had written is rolled back
        running.wait_for("ends: 1 notes")


def test_a_second_signal_waits_for_nothing(tmp_path: Path) -> None:
    with work(tmp_path, "stubborn", GRACEFUL_TIMEOUT="60") as running:
        running.wait_for("begins")
        running.process.send_signal(signal.SIGTERM)
        running.wait_for("stopping")
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(5) == 128 + signal.SIGTERM


def test_a_step_that_hangs_ends_the_process_and_shows_where(tmp_path: Path) -> None:
    with work(tmp_path, "slow", WORK_TIMEOUT="1") as running:
        assert running.process.wait(30) == 1
        (cut,) = running.said("the step was cut off after 1 s (WORK_TIMEOUT)")
        assert "time.sleep(4)" in cut["exc_info"]
        assert not running.said("the step failed")  # its cleanup did


@pytest.mark.parametrize("stop", [True, False])
def test_a_step_that_will_not_be_cut_off_ends_the_process(tmp_path: Path, *, stop: bool) -> None:
    limit = "GRACEFUL_TIMEOUT" if stop else "WORK_TIMEOUT"
    with work(tmp_path, "stubborn", None, **{limit: "1"}) as running:
        running.wait_for("begins")
        if stop:
            running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(30) == 1
        assert running.lines[-1]["message"].startswith("the step did not end")
        assert "time.sleep(60)" in running.lines[-1]["exc_info"]


def test_a_step_that_hangs_in_a_library_ends_the_process(tmp_path: Path) -> None:
    """No signal reaches Python then."""
    with work(tmp_path, "outside", WORK_TIMEOUT="1") as running:
        assert running.process.wait(40) == 1
        assert running.lines[-1]["message"].startswith("the step hangs outside of Python")
        assert "library.pthread_mutex_lock(lock)" in running.lines[-1]["exc_info"]


def test_a_pause_costs_no_step(tmp_path: Path) -> None:
    """It is stopped for longer than its step may take."""
    with work(tmp_path, "slow", WORK_TIMEOUT="6") as running:
        running.wait_for("begins")
        running.process.send_signal(signal.SIGSTOP)
        time.sleep(7)
        running.process.send_signal(signal.SIGCONT)
        running.wait_for("step 1 ends")


def test_a_process_that_stands_still_is_unhealthy(tmp_path: Path) -> None:
    with work(tmp_path, "write") as running:
        running.wait_for("ends")
        heartbeat = Path(healthcheck.heartbeat_path(running.port))
        late = time.monotonic() - 5
        running.process.send_signal(signal.SIGSTOP)
        os.utime(heartbeat, (late, late))
        done = running.health()
        assert done.returncode == 1
        assert re.search(r"the background process hangs: \d+ s overdue", done.stderr)
        running.process.send_signal(signal.SIGCONT)
        deadline = time.monotonic() + 10
        while running.health().returncode != 0:
            assert time.monotonic() < deadline


def test_a_step_may_take_its_time_without_a_tick(tmp_path: Path) -> None:
    """As one does that is busy outside of Python; the health check waits as long as the limit."""
    with work(tmp_path, "slow", WORK_TIMEOUT="100") as running:
        running.wait_for("begins")
        due = Path(healthcheck.heartbeat_path(running.port)).stat().st_mtime
        assert 100 < due - time.monotonic() <= 110


def test_the_metrics_tell_of_the_steps(tmp_path: Path) -> None:
    port = free_port()
    with work(tmp_path, "fail", WORK_INTERVAL="1", METRICS_PORT=str(port)) as running:
        running.wait_for("step 2 ends")
        time.sleep(0.5)
        before = time.time()
        found = metrics(port)
        assert found['app_work_steps_total{result="failed"}'] == 1
        assert found['app_work_steps_total{result="done"}'] >= 1
        assert found["app_work_step_duration_seconds_count"] >= 2
        assert before - 30 < found["app_work_last_success_timestamp_seconds"] <= before + 1


def metrics(port: int) -> dict[str, float]:
    text = urllib3.request("GET", f"http://127.0.0.1:{port}/metrics", timeout=10).data.decode()
    samples = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in samples}


def test_a_child_of_a_step_can_be_stopped_by_itself(tmp_path: Path) -> None:
    with work(tmp_path, "fork", WORK_INTERVAL="1") as running:
        assert running.wait_for("the child ended", 2)[0]["message"].endswith("-15")
        assert "stopping: False" in running.wait_for("ends")[0]["message"]


def test_idle_clients_of_the_metrics_hold_nothing_and_print_nothing(tmp_path: Path) -> None:
    address = ("127.0.0.1", free_port())
    with (
        work(tmp_path, "read", METRICS_PORT=str(address[1])) as running,
        contextlib.ExitStack() as s,
    ):
        running.wait_for("ends")
        before, printed = threads(running.process.pid), len(running.lines)
        idle = [s.enter_context(socket.create_connection(address, 30)) for _ in range(30)]
        idle[-1].recv(1)  # closed: there is no room for so many
        assert threads(running.process.pid) <= before + 4
        assert idle[0].recv(1) == b""  # and the first one is closed after a while
        url = f"http://127.0.0.1:{address[1]}/metrics"
        metrics = urllib3.request(
            "GET", url, timeout=10, retries=urllib3.Retry(5, backoff_factor=1)
        )
        assert metrics.status == 200
        assert len(running.lines) == printed  # each of them is JSON


def threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def test_the_metrics_are_served_to_both_families(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with work(tmp_path, "read", METRICS_PORT=str(port), APP_HOST="::") as running:
        running.wait_for("ends")
        for host in ("127.0.0.1", "[::1]"):
            response = urllib3.request("GET", f"http://{host}:{port}/metrics", timeout=10)
            assert b"app_work_steps_total" in response.data


def test_another_machine_s_address_is_one_line(tmp_path: Path) -> None:
    with work(tmp_path, "read", METRICS_PORT="9464", APP_HOST="192.0.2.1") as running:
        assert running.process.wait(30) == 1
        printed = running.file.read_text()
    assert "error: APP_HOST=192.0.2.1: Cannot assign requested address. Expected an" in printed
    assert "Traceback" not in printed


def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        with work(tmp_path, "write", METRICS_PORT=str(port)) as running:
            assert running.process.wait(30) == 1
            printed = running.file.read_text()
    assert f"error: METRICS_PORT={port}: Address already in use. Expected a free port." in printed
    assert "Traceback" not in printed


def test_a_bad_setting_is_one_line(tmp_path: Path) -> None:
    with work(tmp_path, "write", WORK_TIMEOUT="0") as running:
        assert running.process.wait(30) == 1
        (line,) = running.file.read_text().splitlines()
    assert line.startswith("error: WORK_TIMEOUT='0': ")


@pytest.fixture
def stalled() -> Iterator[tuple[int, int]]:
    """Both ends of a pipe that is full."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, bytes(4096))
    os.set_blocking(writing, True)
    os.set_blocking(reading, False)
    try:
        yield reading, writing
    finally:
        os.close(reading)
        os.close(writing)


def test_a_reader_that_stalls_stops_no_step_and_gets_all_lines_later(
    tmp_path: Path, stalled: tuple[int, int]
) -> None:
    reading, writing = stalled
    with work(tmp_path, "write", writing) as running:
        deadline = time.monotonic() + 30
        while notes(tmp_path / "app.sqlite") < 1:
            assert time.monotonic() < deadline
            assert running.process.poll() is None
            time.sleep(0.1)
        printed = b""
        while b"step 1 ends" not in printed:  # though nothing new is logged
            assert time.monotonic() < deadline
            with contextlib.suppress(BlockingIOError):
                printed += os.read(reading, 65536)
            time.sleep(0.01)


def test_lines_that_nobody_reads_are_dropped_and_counted(
    tmp_path: Path, stalled: tuple[int, int]
) -> None:
    port = free_port()
    with work(tmp_path, "loud", stalled[1], METRICS_PORT=str(port)) as running:
        deadline = time.monotonic() + 60
        while notes(tmp_path / "app.sqlite") < 1:
            assert time.monotonic() < deadline
            assert running.process.poll() is None
            time.sleep(0.1)
        while not 1_000 < metrics(port)["log_lines_dropped_total"] < 10_000:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def notes(database: Path) -> int:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        try:
            return int(connection.execute("SELECT count(*) FROM notes").fetchone()[0])
        except sqlite3.OperationalError:
            return 0  # not migrated yet


def test_a_service_without_one_says_so() -> None:
    with pytest.raises(StartError, match="this service has no background process"):
        Service("probe").load_step()
