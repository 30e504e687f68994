"""How the service fits itself into what the container may use."""

from __future__ import annotations

import concurrent.futures
import json
import re
import time
import uuid
from typing import TYPE_CHECKING

import pytest
import urllib3

from containers import Container, docker, eventually, inspect
from depth import FULL

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., Container]

CHOSEN = re.compile(r"(\d+) workers? of (\d+) threads[^:]*: .*")
# How often the kernel has killed a process for memory, in either version of the control groups.
KILLS = """
import pathlib
group = pathlib.Path("/sys/fs/cgroup")
found = [group / "memory.events", group / "memory/memory.oom_control"]
text = next(file for file in found if file.exists()).read_text()
print(dict(line.split() for line in text.splitlines())["oom_kill"])
"""
TOKEN = ("-e", "API_TOKEN=a-token-for-the-tests")
CORES = "import os; print(len(os.sched_getaffinity(0)))"


@pytest.fixture(scope="module")
def image(probe: str) -> str:
    """The load asks for more than any service has."""
    return probe


def logged(container: Container) -> re.Match[str]:
    """The line of the start log that says how many workers were chosen, and why."""

    def lines() -> list[re.Match[str]]:
        messages = [json.loads(line)["message"] for line in container.logs().splitlines()]
        return [found for found in map(CHOSEN.fullmatch, messages) if found]

    line: re.Match[str]
    (line,) = eventually(lines, 30, "the line about the workers")
    return line


def booted(container: Container) -> int:
    return container.logs().count("Booting worker")


@pytest.mark.parametrize(("cpus", "workers"), [("0.5", 1), ("1", 1), ("1.5", 2), ("2", 2)])
def test_there_are_as_many_workers_as_the_cpu_quota_has_use_for(
    run: Run, cpus: str, workers: int
) -> None:
    container = run("--cpus", cpus, "--memory", "1g").wait_until_healthy()
    workers = min(workers, int(container.python(CORES)))
    line = logged(container)
    assert int(line[1]) == booted(container) == workers
    assert f"{cpus} CPUs of quota" in line[0]
    assert "1024 MiB of memory" in line[0]


def test_the_limits_are_found_in_the_host_s_namespace_as_well(run: Run) -> None:
    container = run("--cgroupns", "host", "--cpus", "0.5", "--memory", "200m")
    assert "0.5 CPUs of quota" in logged(container)[0]
    assert "200 MiB of memory" in logged(container)[0]


def test_web_concurrency_overrides_all_limits(run: Run) -> None:
    container = run("--cpus", "0.5", "-e", "WEB_CONCURRENCY=3").wait_until_healthy()
    assert logged(container)[0].startswith("3 workers of 4 threads by WEB_CONCURRENCY: 0.5 CPUs")
    assert booted(container) == 3


def test_too_little_memory_is_a_warning_and_no_end(run: Run) -> None:
    container = run("--memory", "88m").wait_until_healthy()
    assert logged(container)[1] == "1"
    lines = [json.loads(line) for line in container.logs().splitlines()]
    warnings = [line["message"] for line in lines if line["level"] == "warning"]
    assert any(message.startswith("88 MiB of memory are too few") for message in warnings)


def load(container: Container, seconds: float) -> list[int]:
    """Send reads, writes and the largest bodies from 16 clients; return the statuses."""
    headers = {"Authorization": "Bearer a-token-for-the-tests", "Content-Type": "application/json"}
    large = json.dumps({"title": "x" * (2**20 - 100)}).encode()
    until = time.monotonic() + seconds

    def client(number: int) -> list[int]:
        statuses: list[int] = []
        while time.monotonic() < until:
            kind = (number + len(statuses)) % 8
            if kind < 2:
                body = large if kind else json.dumps({"title": str(uuid.uuid4())}).encode()
                response = pool.request("POST", "/notes", headers=headers, body=body)
            else:
                response = pool.request("GET", "/notes?page_size=100" if kind < 4 else "/hello/x")
            statuses.append(response.status)
        return statuses

    with (
        urllib3.HTTPConnectionPool(
            "127.0.0.1", container.port, maxsize=16, retries=False, timeout=30
        ) as pool,
        concurrent.futures.ThreadPoolExecutor(16) as threads,
    ):
        return [status for each in threads.map(client, range(16)) for status in each]


@pytest.mark.parametrize(
    ("memory", "most"),
    [(96, 1), *(pytest.param(*each, marks=pytest.mark.slow) for each in ((256, 3), (1024, 19)))],
)
def test_what_was_chosen_fits_into_the_memory_under_load(run: Run, memory: int, most: int) -> None:
    container = run("--memory", f"{memory}m", *TOKEN).wait_until_healthy()
    line = logged(container)
    # The pids limit of 64 allows no more than seven, and one while another is replaced.
    assert int(line[1]) == booted(container) == min(most, 7, int(container.python(CORES)))
    assert f"{memory} MiB of memory" in line[0]
    statuses = load(container, 5 if FULL else 3)
    assert {200, 201, 422} == set(statuses)
    assert container.python(KILLS).strip() == "0"
    assert not inspect(container.name)["State"]["OOMKilled"]
    assert booted(container) == int(line[1])


@pytest.mark.slow
@pytest.mark.parametrize("memory", [96, 140])
def test_replacing_a_worker_fits_into_the_memory_as_well(run: Run, memory: int) -> None:
    """By recycling and by a signal; at 96 MiB the old one ends first."""
    options = ("--memory", f"{memory}m", *TOKEN, "-e", "WEB_MAX_REQUESTS=100")
    container = run(*options).wait_until_healthy()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        loading = pool.submit(load, container, 6)
        time.sleep(3)
        docker("kill", "--signal", "SIGHUP", container.name)
        statuses = loading.result()
    assert {200, 201, 422} <= set(statuses) <= {200, 201, 422, 503}
    assert booted(container) > 2
    assert container.python(KILLS).strip() == "0"
