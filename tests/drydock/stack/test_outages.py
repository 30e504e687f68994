"""What clients of the gateway see when a part of the stack dies."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from containers import docker, eventually, inspect
from traffic import Load

if TYPE_CHECKING:
    from collections.abc import Callable

    from stacks import Stack

# The gateway's own bound: 20 s for a response; after that no other replica is tried.
PATIENCE = 26  # seconds


def kill(stack: Stack, container: str) -> None:
    """Kill the container's first process from outside, so that Docker starts it anew."""
    stack.outside(f"import os; os.kill({inspect(container)['State']['Pid']}, 9)")


@pytest.mark.database
def test_without_its_database_it_says_so_and_recovers_by_itself(
    stack: Stack, show: Callable[[str], None]
) -> None:
    stack.add("before the outage")
    (db,) = stack.containers("db")
    with Load(stack.address, "/api/notes", clients=8, pause=0.02) as load:
        time.sleep(1)
        killed = time.monotonic()
        docker("kill", db)  # which Docker takes for a stop by hand: it stays dead
        time.sleep(6)
        docker("start", db)
        eventually(lambda: stack.get("/api/notes").status == 200, 60, "recovery")
        recovered = time.monotonic()
        time.sleep(2)
    during = [each for each in load.outcomes if each.failed]
    assert during
    for outcome in during:
        assert outcome.status == 503, outcome
        assert '"status": 503' in outcome.text or '"status":503' in outcome.text
    assert max(each.seconds for each in load.outcomes) < PATIENCE
    assert not [each for each in load.outcomes if each.failed and each.began < killed - 1]
    assert not [each for each in load.outcomes if each.failed and each.began > recovered + 1]
    show(f"recovered {recovered - killed - 6:.1f} s after the database was started")
    assert "before the outage" in stack.titles()
    stack.ready()


def test_a_replica_s_violent_end_costs_no_request(three: Stack) -> None:
    before = three.containers("app")
    with Load(three.address, "/api/notes", clients=8) as load:
        time.sleep(2)
        kill(three, before[1])
        time.sleep(4)
    assert len(load.outcomes) > 100
    assert not load.failures(), load.failures()[:3]
    eventually(lambda: len(three.containers("app")) == 3, 30, "it is started anew")
    three.ready()


def test_no_replica_at_all_is_a_503_and_then_it_comes_back(stack: Stack) -> None:
    stack.compose("stop", "app")
    began = time.monotonic()
    response = stack.get("/api/notes")
    assert time.monotonic() - began < PATIENCE
    assert response.status == 503
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["Retry-After"] == "1"
    assert response.json()["request_id"] == response.headers["X-Request-ID"]
    assert stack.get("/").status == 200
    stack.compose("start", "app")
    stack.ready()


def test_the_background_process_works_and_ends_its_step_before_it_stops(stack: Stack) -> None:
    (worker,) = stack.containers("background")
    eventually(lambda: "step 1 ends" in docker("logs", worker).stdout, 30, "it has worked")
    assert inspect(worker)["State"]["Health"]["Status"] == "healthy"
    stack.compose("stop", "background")
    state = inspect(worker)["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 0)
    assert json.loads(docker("logs", worker).stdout.splitlines()[-1])["message"] == "stopped"
    stack.compose("start", "background")
    stack.ready()
