"""How many workers fit into the container, by the limits that the kernel enforces.

`os.cpu_count()` shows the host's cores, and the affinity does not show the quota that `--cpus`
sets; only the control groups have it. What can't be read or parsed there counts as no limit: it
must not keep a service from starting. https://docs.kernel.org/admin-guide/cgroup-v2.html
"""

from __future__ import annotations

import dataclasses
import logging
import math
import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger("app.server.limits")

MIB = 2**20

# What the service holds in memory, measured in the image under a mix of reads, writes and bodies of
# 1 MiB, with SQLite: 79 to 87 MiB with 1 worker, 103 to 115 with 2, 122 to 173 with 4, 284 with 8.
# The kernel killed none at 96, 140, 192 and 428 MiB, but with one worker many at 80, and with two
# one at 112.
SHARED_MEMORY = 44 * MIB  # the master, and what its workers share with it
WORKER_MEMORY = 48 * MIB  # of a worker

# What the pids limit counts: of a worker its main thread, the one that leads and the readiness
# probe's, besides those that serve; the master, and two commands of `docker exec` or health checks
# at once: starting one took three.
SHARED_TASKS = 8
WORKER_TASKS = 3

# The most that a worker keeps of requests and responses, unless WEB_BUFFER_BYTES says otherwise;
# and the least. At 96 MiB of memory 8 MiB had a process killed in each of two tries, 4 in none.
MAX_BUFFER, MIN_BUFFER = 16 * MIB, MIB

# The same for connections, unless WEB_CONNECTIONS says otherwise, and the bytes for an idle one:
# 10,000 of them took some 20 MB.
MAX_CONNECTIONS, MIN_CONNECTIONS, CONNECTION_BYTES = 10_000, 512, 2048

MAX_WORKERS = 64  # workers, as WEB_CONCURRENCY allows by hand
# What is used, and the line of memory.stat with those files in it that have long not been read.
# Version 1 counts the groups below only under the names with `total_`.
MEMORY_FILES = {
    "memory.current": "inactive_file ",
    "memory.usage_in_bytes": "total_inactive_file ",
}
UNLIMITED = 2**60  # bytes; version 1 says "none" by a page's multiple near 2**63


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """What the container may use; None for no limit."""

    affinity: int  # CPUs that its threads may run on
    quota: float | None = None  # CPUs' worth of time
    memory: int | None = None  # bytes
    tasks: int | None = None  # processes and threads

    @property
    def cpus(self) -> float:
        """The CPUs that can be busy at a time, on average."""
        return self.affinity if self.quota is None else min(self.affinity, self.quota)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """How many workers there are to be, and why."""

    workers: int
    threads: int  # of each worker
    buffer: int  # bytes that each worker may keep for slow clients
    connections: int  # of each worker
    spare: bool  # whether there is room for one worker more, while another is replaced
    limits: Limits
    is_configured: bool  # by WEB_CONCURRENCY, and not chosen here

    def __str__(self) -> str:
        """One line for the log."""
        limits = self.limits
        quota = "no CPU quota" if limits.quota is None else f"{limits.quota:g} CPUs of quota"
        found = [quota, f"{limits.affinity} of affinity"]
        if limits.memory is None:
            found.append("no memory limit")
        else:
            found.append(f"{limits.memory // MIB} MiB of memory")
        if limits.tasks is not None:
            found.append(f"{limits.tasks} processes and threads")
        workers = f"{self.workers} {'worker' if self.workers == 1 else 'workers'}"
        by = " by WEB_CONCURRENCY" if self.is_configured else ""
        return f"{workers} of {self.threads} threads{by}: {', '.join(found)}"

    def problems(self) -> Iterator[str]:
        """One line for each limit that is too low for the plan."""
        memory = SHARED_MEMORY + self.workers * WORKER_MEMORY
        tasks = SHARED_TASKS + self.workers * (self.threads + WORKER_TASKS)
        limits = self.limits
        if limits.memory is not None and limits.memory < memory:
            yield (
                f"{limits.memory // MIB} MiB of memory are too few: under load the kernel may kill"
                f" a process. Allow {memory // MIB}, or set fewer WEB_CONCURRENCY."
            )
        if limits.tasks is not None and limits.tasks < tasks:
            yield (
                f"{limits.tasks} processes and threads are too few: under load a thread may fail to"
                f" start. Allow {tasks}, or set fewer WEB_CONCURRENCY or WEB_THREADS."
            )


def plan(limits: Limits, threads: int, configured: int | None = None) -> Plan:
    """Choose the number of workers with `threads` threads each; `configured` overrides all limits.

    One for each CPU, since more would share the same time and cost memory; but only as many as fit
    beside one more, which exists for a while when a worker is replaced. With less than a CPU and a
    half there is one: two that are throttled in turns serve less than one.
    """
    room = MAX_WORKERS + 1
    if limits.memory is not None:
        room = min(room, (limits.memory - SHARED_MEMORY) // WORKER_MEMORY)
    if limits.tasks is not None:
        room = min(room, (limits.tasks - SHARED_TASKS) // (threads + WORKER_TASKS))
    chosen = max(1, min(math.floor(limits.cpus + 0.5), room - 1))
    workers = chosen if configured is None else configured
    most = workers + (workers < room)
    buffer, connections = MAX_BUFFER, MAX_CONNECTIONS
    if limits.memory is not None:
        # Half of what is left; the application needs the other half.
        spare = max(0, ((limits.memory - SHARED_MEMORY) // most - WORKER_MEMORY) // 2)
        buffer = max(MIN_BUFFER, min(buffer, spare))
        connections = max(MIN_CONNECTIONS, min(connections, spare // CONNECTION_BYTES))
    return Plan(
        workers=workers,
        threads=threads,
        buffer=buffer,
        connections=connections,
        spare=most > workers,
        limits=limits,
        is_configured=configured is not None,
    )


def read(process: Path = Path("/proc/self"), root: Path = Path("/")) -> Limits:
    """Read the limits of this process.

    `process` is its folder in /proc; the paths that it names as mounted are below `root`.
    """
    quotas, sizes, counts = [], [], []
    for folder in _groups("cpu", process, root):
        # Version 2 has both numbers in one file ("max 100000" for none), version 1 in two (-1).
        match _numbers(folder / "cpu.max") or (
            _numbers(folder / "cpu.cfs_quota_us") + _numbers(folder / "cpu.cfs_period_us")
        ):
            case [quota, period] if quota > 0 and period > 0:
                quotas.append(quota / period)
    for folder in _groups("memory", process, root):
        sizes += _numbers(folder / "memory.max") or _numbers(folder / "memory.limit_in_bytes")
    for folder in _groups("pids", process, root):
        counts += _numbers(folder / "pids.max")
    return Limits(
        affinity=len(os.sched_getaffinity(0)),
        quota=min(quotas, default=None),
        memory=min((size for size in sizes if 0 < size < UNLIMITED), default=None),
        tasks=min((count for count in counts if count > 0), default=None),
    )


def memory_used(process: Path = Path("/proc/self"), root: Path = Path("/")) -> int | None:
    """The bytes that the container uses, as the kernel counts them against its limit.

    Without the files that have not been read for a while: it drops those before it kills a process.
    None where the control group can't be seen; the arguments are those of `read`.
    """
    for folder in _groups("memory", process, root):
        for name, key in MEMORY_FILES.items():
            for used in _numbers(folder / name):
                found = [line for line in _lines(folder / "memory.stat") if line.startswith(key)]
                return used - int(found[0].split()[1]) if found else used
    return None


def _groups(controller: str, process: Path, root: Path) -> Iterator[Path]:
    """The folders of the process's control group and its ancestors, as far as they are mounted.

    A limit of any of them holds: a parent's shows where the host's groups are seen
    (`--cgroupns host`), such as a slice that several containers share. The mounts and not the usual
    paths are followed: a host has version 1, version 2, or both with each controller in one of
    them; and a container sees the groups from its own down (a private cgroup namespace), from the
    host's, or in part.
    """
    own = {}
    for line in _lines(process / "cgroup"):
        match line.split(":", 2):
            case [_, controllers, path]:
                own.update(dict.fromkeys(controllers.split(","), PurePosixPath(path)))
    for line in _lines(process / "mountinfo"):
        mount, _, kind = line.partition(" - ")
        match mount.split(), kind.split():
            case [_, _, _, top, point, *_], ["cgroup2", *_]:
                group = own.get("")
            case [_, _, _, top, point, *_], ["cgroup", _, options] if controller in options.split(
                ","
            ):
                group = own.get(controller)
            case _:
                continue
        inner = PurePosixPath()
        # If the group is outside of what is mounted, the mount is its nearest visible ancestor.
        if group is not None and group.is_relative_to(top) and ".." not in group.parts:
            inner = group.relative_to(top)
        folder = root / point.lstrip("/")
        for part in (inner, *inner.parents):
            yield folder / part


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(errors="replace").splitlines()
    except OSError:
        return []


def _numbers(file: Path) -> list[int]:
    """The whole numbers that are all of a file's content; none if there is anything else."""
    try:
        return [int(word) for line in _lines(file) for word in line.split()]
    except ValueError:
        return []


def report(plan: Plan) -> None:
    """Log what was found and chosen in one line, and one more for each limit that is too low."""
    log.info("%s", plan)
    for problem in plan.problems():
        log.warning("%s", problem)
