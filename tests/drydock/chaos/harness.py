"""Containers under load: what the tests in this folder share."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import re
import signal
import statistics
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from containers import HARDENED, Container, docker, eventually, inspect, on_host
from processes import running

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent


@contextlib.contextmanager
def server(
    image: str, *options: str, stock: bool = False, wait: bool = True
) -> Iterator[Container]:
    """The service with endpoints for chaos, hardened, on the host's network; `stock` gunicorn's.

    Workers are not recycled unless a test asks for it, and requests are not logged: the engine
    would take more of the processor than the service.
    """
    mounts = [
        f"{HERE / 'application.py'}:/app/chaos.py:ro",
        f"{HERE / 'stock.py'}:/app/stock.py:ro",
    ]
    volumes = [word for mount in mounts for word in ("--volume", mount)]
    defaults: tuple[str, ...] = ("--env", "WEB_MAX_REQUESTS=0", "--env", "LOG_LEVEL=warning")
    if stock:
        defaults += ("--env", "METRICS_PORT=0", "--env", "PYTHONWARNINGS=ignore")
    settings = ("--config", "stock.py") if stock else ()
    command = ("gunicorn", *settings, "chaos:application")
    # More processes than the usual 64, since threads count as well.
    limits = (*HARDENED, "--pids-limit", "128")
    with on_host(image, *limits, *volumes, *defaults, *options, command=command) as container:
        yield container.wait_until_healthy() if wait else container


@dataclasses.dataclass(repr=False)
class Result:
    """What load.py has counted."""

    connected: int
    refused: int
    timed_out: int
    lost: int
    truncated: int
    by_worker: dict[str, int]
    statuses: dict[str, int]
    seconds: list[float]
    ends: list[float]

    def percentile(self, hundredths: int) -> float:
        """The percentile of the seconds until the response."""
        return statistics.quantiles(self.seconds, n=100)[hundredths - 1]

    def longest_gap(self) -> float:
        """The longest time without any response, in seconds."""
        ends = sorted(self.ends)
        return max(later - earlier for earlier, later in itertools.pairwise(ends))

    def all_served(self) -> bool:
        """Whether every connection and every request got its complete response, a 200."""
        return set(self.statuses) == {"200"} and not (self.lost or self.truncated or self.timed_out)

    def __repr__(self) -> str:
        """In one line, for the message of a failed test."""
        return (
            f"{self.connected} connections, {self.refused} refused, {self.timed_out} timed out,"
            f" {self.lost} lost, {self.truncated} truncated, {self.statuses}"
        )


def report(figure: str) -> None:
    """Print a figure, which `make chaos` shows."""
    sys.stdout.write(f"{figure}\n")


@dataclasses.dataclass
class Load:
    """Clients at work."""

    process: subprocess.Popen[str]

    def result(self, *, finish: bool = False) -> Result:
        """What they have counted once they are done; `finish` asks them to end."""
        if finish:
            self.process.send_signal(signal.SIGTERM)
        printed, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0
        return Result(**json.loads(printed))


@contextlib.contextmanager
def load(container: Container, *options: Any) -> Iterator[Load]:
    """Run load.py against the container."""
    command = [sys.executable, str(HERE / "load.py"), "--port", str(container.port)]
    command += [str(option) for option in options]
    with running(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        yield Load(process)


def exit_status(container: Container) -> int:
    """The status with which it ended."""
    status: int = inspect(container.name)["State"]["ExitCode"]
    return status


def workers(container: Container) -> list[int]:
    """The process ids of its workers, on this machine, the oldest first."""
    shown = docker("top", container.name, "-o", "pid,ppid").stdout.splitlines()[1:]
    found = [tuple(map(int, line.split())) for line in shown]
    first = inspect(container.name)["State"]["Pid"]
    return sorted(pid for pid, parent in found if parent == first)


def memory(container: Container) -> list[float]:
    """For each worker the MB of its own and its share of what it shares, the oldest first."""
    found = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in workers(container)]
    return [int(re.findall(r"^Pss: +(\d+)", text, re.MULTILINE)[0]) / 1e3 for text in found]


def replaced(container: Container, old: list[int]) -> list[int]:
    """Wait until as many workers are at work and none is one of `old`; return them."""

    def new() -> list[int] | None:
        now = workers(container)
        return now if len(now) == len(old) and not set(now) & set(old) else None

    found: list[int] = eventually(new, 20, "all workers replaced")
    return found
