"""What the container may use, and what is chosen to fit into it."""

from __future__ import annotations

import logging
import os
import re
from typing import TYPE_CHECKING

import pytest

from drydock.server import limits
from drydock.server.limits import MIB, Limits

if TYPE_CHECKING:
    from pathlib import Path

CPUS = len(os.sched_getaffinity(0))
NONE_V1 = "9223372036854771712"
# What a container of Docker sees; of a line's fields only those before the mount point, and those
# after the lone hyphen, count.
V2 = "30 29 0:26 / /sys/fs/cgroup ro,nosuid,nodev - cgroup2 cgroup rw,nsdelegate"
V1 = """\
81 80 0:46 / /sys/fs/cgroup rw,nosuid - tmpfs tmpfs rw,mode=755
82 81 0:29 {0} /sys/fs/cgroup/cpu,cpuacct ro master:11 - cgroup cgroup rw,cpu,cpuacct
83 81 0:33 {0} /sys/fs/cgroup/memory ro master:12 - cgroup cgroup rw,memory
84 81 0:37 {0} /sys/fs/cgroup/pids ro master:13 - cgroup cgroup rw,pids"""
V1_GROUPS = "9:pids:{0}\n4:memory:{0}\n2:cpu,cpuacct:{0}\n1:name=systemd:{0}\n0::/"

# Each: /proc/self/cgroup, /proc/self/mountinfo, the files below /sys/fs/cgroup, what it amounts to.
TREES: dict[str, tuple[str | None, str | None, dict[str, str], Limits]] = {
    "version 2, its own namespace": (
        "0::/",
        V2,
        {"cpu.max": "150000 100000", "memory.max": "268435456", "pids.max": "64"},
        Limits(affinity=CPUS, quota=1.5, memory=256 * MIB, tasks=64),
    ),
    "version 2, less than a CPU": (
        "0::/",
        V2,
        {"cpu.max": "5000 10000", "memory.max": "max", "pids.max": "max"},
        Limits(affinity=CPUS, quota=0.5),
    ),
    "version 2, no limit at all": (
        "0::/",
        V2,
        {"cpu.max": "max 100000", "memory.max": "max", "pids.max": "max"},
        Limits(affinity=CPUS),
    ),
    "version 2, no file, as in the root group": ("0::/", V2, {}, Limits(affinity=CPUS)),
    "version 2, the host's namespace; an ancestor's limit is lower, of one kind each": (
        "0::/pod/one",
        V2,
        {
            "pod/one/cpu.max": "200000 100000",
            "pod/cpu.max": "50000 100000",
            "cpu.max": "100000 100000",
            "pod/one/memory.max": "max",
            "pod/memory.max": str(512 * MIB),
            "pod/one/pids.max": "32",
            "pod/pids.max": "64",
            "pod/two/memory.max": str(1 * MIB),
        },
        Limits(affinity=CPUS, quota=0.5, memory=512 * MIB, tasks=32),
    ),
    "version 2, the host's namespace, but only its own group is mounted": (
        "0::/pod/one",
        V2.replace(" / ", " /pod/one "),
        {"cpu.max": "100000 100000", "memory.max": str(64 * MIB)},
        Limits(affinity=CPUS, quota=1.0, memory=64 * MIB),
    ),
    "version 2, in a group outside of what it sees": (
        "0::/../one",
        V2,
        {"cpu.max": "100000 100000"},
        Limits(affinity=CPUS, quota=1.0),
    ),
    "version 2, mounted from outside of the namespace": (
        "0::/",
        V2.replace(" / ", " /../.. "),
        {"cpu.max": "100000 100000"},
        Limits(affinity=CPUS, quota=1.0),
    ),
    "version 1, its own namespace": (
        V1_GROUPS.format("/"),
        V1.format("/"),
        {
            "cpu,cpuacct/cpu.cfs_quota_us": "150000",
            "cpu,cpuacct/cpu.cfs_period_us": "100000",
            "memory/memory.limit_in_bytes": "268435456",
            "pids/pids.max": "64",
        },
        Limits(affinity=CPUS, quota=1.5, memory=256 * MIB, tasks=64),
    ),
    "version 1, no limit at all": (
        V1_GROUPS.format("/"),
        V1.format("/"),
        {
            "cpu,cpuacct/cpu.cfs_quota_us": "-1",
            "cpu,cpuacct/cpu.cfs_period_us": "100000",
            "memory/memory.limit_in_bytes": NONE_V1,
            "pids/pids.max": "max",
        },
        Limits(affinity=CPUS),
    ),
    "version 1, the host's namespace, its own group mounted": (
        V1_GROUPS.format("/docker/x"),
        V1.format("/docker/x"),
        {
            "cpu,cpuacct/cpu.cfs_quota_us": "25000",
            "cpu,cpuacct/cpu.cfs_period_us": "100000",
            "memory/memory.limit_in_bytes": str(96 * MIB),
        },
        Limits(affinity=CPUS, quota=0.25, memory=96 * MIB),
    ),
    "version 1, the host's namespace, all mounted; an ancestor's limit is lower": (
        V1_GROUPS.format("/docker/x"),
        V1.format("/"),
        {
            "cpu,cpuacct/docker/x/cpu.cfs_quota_us": "-1",
            "cpu,cpuacct/docker/x/cpu.cfs_period_us": "100000",
            "cpu,cpuacct/docker/cpu.cfs_quota_us": "300000",
            "cpu,cpuacct/docker/cpu.cfs_period_us": "100000",
            "memory/docker/x/memory.limit_in_bytes": str(512 * MIB),
            "memory/docker/memory.limit_in_bytes": str(256 * MIB),
            "memory/memory.limit_in_bytes": NONE_V1,
        },
        Limits(affinity=CPUS, quota=3.0, memory=256 * MIB),
    ),
    "both: memory in version 1, CPU in version 2": (
        "4:memory:/\n0::/",
        V1.format("/").splitlines()[2] + "\n" + V2.replace("/sys/fs/cgroup", "/sys/fs/cgroup/v2"),
        {"v2/cpu.max": "200000 100000", "memory/memory.limit_in_bytes": str(64 * MIB)},
        Limits(affinity=CPUS, quota=2.0, memory=64 * MIB),
    ),
    "content that means nothing": (
        "0::/",
        V2,
        {"cpu.max": "a lot", "memory.max": "12 cats", "pids.max": "\x00\xff"},
        Limits(affinity=CPUS),
    ),
    "numbers that mean nothing": (
        "0::/",
        V2,
        {"cpu.max": "100000 0", "memory.max": "", "pids.max": "-3"},
        Limits(affinity=CPUS),
    ),
    "more numbers than known": (
        "0::/",
        V2,
        {"cpu.max": "1 2 3", "cpu.cfs_quota_us": "5", "memory.max": "0"},
        Limits(affinity=CPUS),
    ),
    "tables that mean nothing": (
        "what\n::\n",
        "is\n1 2 - cgroup2\n - \n1 2 3 / /sys/fs/cgroup - cgroup cgroup",
        {"cpu.max": "100000 100000"},
        Limits(affinity=CPUS),
    ),
    "no table of groups": (
        None,
        V2,
        {"cpu.max": "100000 100000"},
        Limits(affinity=CPUS, quota=1.0),
    ),
    "no table of mounts": ("0::/", None, {"cpu.max": "100000 100000"}, Limits(affinity=CPUS)),
    "no control groups": ("", "1 2 0:1 / /proc rw - proc proc rw", {}, Limits(affinity=CPUS)),
}


def plant(root: Path, groups: str | None, mounts: str | None, files: dict[str, str]) -> Path:
    """Write what a process sees of its control groups below `root`; return its folder in /proc."""
    process = root / "proc" / "self"
    process.mkdir(parents=True)
    for name, text in (("cgroup", groups), ("mountinfo", mounts)):
        if text is not None:
            (process / name).write_text(text)
    for name, text in files.items():
        file = root / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n", encoding="latin-1")
    return process


@pytest.mark.parametrize("tree", TREES)
def test_the_limits_are_read_from(tree: str, tmp_path: Path) -> None:
    groups, mounts, files, expected = TREES[tree]
    assert limits.read(plant(tmp_path, groups, mounts, files), tmp_path) == expected


@pytest.mark.parametrize(
    ("groups", "mounts", "files", "used"),
    [
        (
            "0::/",
            V2,
            {"memory.current": "900", "memory.stat": "anon 500\ninactive_file 300\nshmem 9"},
            600,
        ),
        (
            V1_GROUPS.format("/docker/x"),
            V1.format("/docker/x"),
            {
                "memory/memory.usage_in_bytes": "900",
                "memory/memory.stat": "inactive_file 1\ntotal_inactive_file 300",
            },
            600,
        ),
        ("0::/", V2, {"memory.current": "900"}, 900),
        ("0::/", V2, {"memory.max": "900"}, None),
        (None, None, {}, None),
    ],
)
def test_the_memory_in_use_is_what_the_kernel_can_t_drop(
    groups: str | None, mounts: str | None, files: dict[str, str], used: int | None, tmp_path: Path
) -> None:
    assert limits.memory_used(plant(tmp_path, groups, mounts, files), tmp_path) == used


def test_the_limits_are_read_here_as_well() -> None:
    assert limits.read().affinity == CPUS


@pytest.mark.parametrize(
    ("found", "workers"),
    [
        (Limits(affinity=8), 8),
        (Limits(affinity=1, quota=4), 1),
        (Limits(affinity=8, quota=0.01), 1),
        (Limits(affinity=8, quota=0.5), 1),
        (Limits(affinity=8, quota=1.0), 1),
        (Limits(affinity=8, quota=1.49), 1),
        (Limits(affinity=8, quota=1.5), 2),
        (Limits(affinity=8, quota=2.0), 2),
        (Limits(affinity=8, quota=2.5), 3),  # where Python's round() says 2
        (Limits(affinity=256), 64),
        (Limits(affinity=8, memory=MIB), 1),
        (Limits(affinity=8, memory=96 * MIB), 1),
        (Limits(affinity=8, memory=139 * MIB), 1),
        (Limits(affinity=8, memory=140 * MIB), 1),
        (Limits(affinity=8, memory=188 * MIB), 2),
        (Limits(affinity=8, memory=256 * MIB), 3),
        (Limits(affinity=8, memory=1024 * MIB), 8),
        (Limits(affinity=64, tasks=64), 7),
        (Limits(affinity=64, tasks=1), 1),
    ],
)
def test_as_many_workers_as_fit(found: Limits, workers: int) -> None:
    assert limits.plan(found, threads=4).workers == workers


def test_more_threads_leave_room_for_fewer_workers() -> None:
    assert limits.plan(Limits(affinity=64, tasks=64), threads=16).workers == 1


def test_what_is_set_overrides_all_limits() -> None:
    found = Limits(affinity=2, quota=0.5, memory=64 * MIB, tasks=16)
    assert limits.plan(found, threads=4, configured=7).workers == 7


@pytest.mark.parametrize(
    ("memory", "given", "spare"),
    [(None, None, True), (140, None, True), (139, None, False), (188, 2, True), (187, 2, False)],
)
def test_there_is_room_for_the_successor_of_a_worker_or_not(
    memory: int | None, given: int | None, spare: bool
) -> None:
    found = Limits(affinity=1, memory=memory and memory * MIB)
    assert limits.plan(found, threads=4, configured=given).spare == spare


@pytest.mark.parametrize(
    ("memory", "buffer"), [(None, 16), (1024, 16), (128, 16), (140, 1), (112, 10), (96, 2), (80, 1)]
)
def test_what_a_worker_keeps_for_slow_clients_fits_as_well(memory: int | None, buffer: int) -> None:
    found = Limits(affinity=1, memory=memory and memory * MIB)
    chosen = limits.plan(found, threads=4)
    assert chosen.buffer == buffer * MIB
    assert chosen.connections == min(10_000, max(1, buffer) * 512) or memory is None or buffer == 16


@pytest.mark.parametrize(
    ("found", "given", "line"),
    [
        (
            Limits(affinity=2, quota=1.5, memory=256 * MIB, tasks=64),
            None,
            "2 workers of 4 threads: 1.5 CPUs of quota, 2 of affinity, 256 MiB of memory,"
            " 64 processes and threads",
        ),
        (
            Limits(affinity=1),
            None,
            "1 worker of 4 threads: no CPU quota, 1 of affinity, no memory limit",
        ),
        (
            Limits(affinity=2),
            3,
            "3 workers of 4 threads by WEB_CONCURRENCY: no CPU quota, 2 of affinity,"
            " no memory limit",
        ),
    ],
)
def test_what_was_found_and_chosen_is_one_line(
    caplog: pytest.LogCaptureFixture, found: Limits, given: int | None, line: str
) -> None:
    caplog.set_level(logging.INFO)
    limits.report(limits.plan(found, threads=4, configured=given))
    assert [record.getMessage() for record in caplog.records] == [line]


@pytest.mark.parametrize(
    ("found", "given", "warning"),
    [
        (Limits(affinity=2, memory=64 * MIB), None, "64 MiB of memory are too few: .*Allow 92, "),
        (Limits(affinity=2, memory=96 * MIB), 2, "96 MiB of memory are too few: .*Allow 140, "),
        (Limits(affinity=2, tasks=10), None, "10 processes and threads are too few: .*Allow 15, "),
    ],
)
def test_a_limit_that_is_too_low_is_a_warning(
    caplog: pytest.LogCaptureFixture, found: Limits, given: int | None, warning: str
) -> None:
    limits.report(limits.plan(found, threads=4, configured=given))
    (record,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert re.match(warning, record.getMessage())
