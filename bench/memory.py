"""What a worker takes, and how little memory a container can do with."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, TypedDict

import shapes
import wrk
from common import say
from containers import docker
from servers import running
from wrk import Load

if TYPE_CHECKING:
    from servers import Images, Server
    from shapes import Shape

LOAD = Load("64 connections", seconds=2)
SMALLEST, LARGEST, STEP = 16, 140, 4  # MB that --memory is tried with

# What each process has for itself, and its part of what it shares; but for this process. Run as
# the servers' user, so that nobody needs to be root.
COUNT = """
import os, re
total = 0
for pid in filter(str.isdecimal, os.listdir("/proc")):
    if int(pid) != os.getpid():
        with open(f"/proc/{pid}/smaps_rollup") as file:
            total += int(re.search(r"^Pss: +(\\d+)", file.read(), re.MULTILINE)[1])
print(total)
"""


class Memory(TypedDict):
    """One server, MB of 10^6 bytes; the last is what `--memory` takes: MiB."""

    one_worker_mb: float
    a_worker_more_mb: float
    smallest_mib: int


def taken(images: Images, shape: Shape) -> float:
    """What all processes of a server take after a load, in MB."""
    with running(images, shape) as server:
        wrk.run(server, LOAD)
        return int(docker("exec", server.name, "python3", "-c", COUNT).stdout) * 1024 / 1e6


def processes(server: Server) -> set[str]:
    """The ids of its processes."""
    return set(docker("top", server.name, "-o", "pid").stdout.split())


def suffices(images: Images, shape: Shape, mebibytes: int) -> bool:
    """Whether a server serves 64 connections without an error or a process killed."""
    limit = f"{mebibytes}m"
    try:
        limits = ("--memory", limit, "--memory-swap", limit)
        with running(images, shape, *limits, within=10) as server:
            before = processes(server)
            return not wrk.run(server, LOAD)["errors"] and processes(server) == before
    except AssertionError:  # it does not start, or is gone
        return False


def smallest(images: Images, shape: Shape) -> int:
    """The smallest `--memory` that suffices, in MiB; found by halves."""
    low, high = SMALLEST, LARGEST
    while low < high:
        middle = (low + high) // 2 // STEP * STEP
        fits = suffices(images, shape, middle)
        say(f"{shape.title}: {middle} MiB {'suffice' if fits else 'do not suffice'}")
        low, high = (low, middle) if fits else (middle + STEP, high)
    return high


def measure(images: Images) -> dict[str, Memory]:
    """Measure a few servers, each once. The smallest `--memory` may be a step or two off."""
    found: dict[str, Memory] = {}
    for few in zip(*map(shapes.of_workers, (1, 3, shapes.CPUS)), strict=True):
        one, three, usual = few
        title = one.title.removesuffix(" x 1")
        say(f"memory of {title}")
        alone = taken(images, one)
        more = (taken(images, three) - alone) / 2
        usual = dataclasses.replace(usual, title=title)
        found[title] = {
            "one_worker_mb": alone,
            "a_worker_more_mb": more,
            "smallest_mib": smallest(images, usual),
        }
    return found
