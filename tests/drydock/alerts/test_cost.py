"""What the monitoring costs: throughput beside it and without it in turns, and its memory."""

from __future__ import annotations

import contextlib
import statistics
import time
from typing import TYPE_CHECKING

import pytest

import stand_ins
from containers import docker, paused
from traffic import Load

if TYPE_CHECKING:
    from watched import Watched

ROUNDS, SECONDS = 5, 6.0


def rate(watched: Watched) -> float:
    """Requests a second through the gateway, by 16 clients that do not wait."""
    with Load(watched.address, "/api/notes", clients=16) as load:
        time.sleep(SECONDS)
    assert not load.failures()
    return len(load.outcomes) / SECONDS


@pytest.mark.long
@pytest.mark.alone
def test_the_cost_is_told(watched: Watched, capsys: pytest.CaptureFixture[str]) -> None:
    """It asks every 2 s here, and not every 15: the figures are the worst."""
    parts = stand_ins.monitoring()
    with_it, without_it = [], []
    rate(watched)  # to warm up
    for _ in range(ROUNDS):
        with_it.append(rate(watched))
        with contextlib.ExitStack() as stack:
            for part in parts:
                stack.enter_context(paused(watched.containers(part)[0]))
            without_it.append(rate(watched))
    ratios = sorted(a / b for a, b in zip(with_it, without_it, strict=True))
    used = {
        part: docker("stats", "--no-stream", "--format={{.MemUsage}}", *watched.containers(part))
        for part in parts
    }
    with capsys.disabled():
        print(f"\n    {statistics.median(without_it):.0f} requests/s without, ratio of those with")
        print(f"    median {statistics.median(ratios):.2f}, {ratios[0]:.2f} to {ratios[-1]:.2f}")
        for part, stats in used.items():
            print(f"    {part}: {stats.stdout.split(' ')[0]}")
    assert all(with_it)
    assert all("iB" in stats.stdout for stats in used.values())
