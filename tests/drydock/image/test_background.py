"""The background process in a container: its health, its log, its stop, its restart."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from containers import HARDENED, docker, eventually, inspect, unique

if TYPE_CHECKING:
    from collections.abc import Callable

    from containers import Container

    Run = Callable[..., Container]

WORK = ("app", "work")


@pytest.fixture(scope="module")
def image(probe: str) -> str:
    return probe


def lines(container: Container) -> list[dict[str, Any]]:
    """What it printed: each line is one object."""
    return [json.loads(line) for line in container.logs().splitlines()]


def test_it_is_healthy_and_a_stop_lets_its_step_end(run: Run) -> None:
    """All that the engine does is as with the server: the health check, the signal."""
    container = run("--env=STEP=slow", "--env=WORK_INTERVAL=1", command=WORK).wait_until_healthy()
    uid = container.python("import os; print(os.stat('/proc/1').st_uid)")
    assert uid == "65532\n"
    # In the middle of a step, so that there is something to wait for.
    eventually(lambda: lines(container)[-1]["message"].endswith("begins"), 60, "a step begins")
    docker("stop", container.name)
    assert inspect(container.name)["State"]["ExitCode"] == 0
    stopping, ends, stopped = lines(container)[-3:]
    assert stopping["message"] == "stopping: the step has up to 7 s to end"
    assert ends["message"].endswith("stopping: True")
    assert stopped["message"] == "stopped"


@pytest.mark.slow
def test_it_is_started_again_after_a_step_that_hangs(run: Run) -> None:
    container = run("--restart=on-failure", "--env=STEP=slow", "--env=WORK_TIMEOUT=1", command=WORK)
    eventually(lambda: inspect(container.name)["RestartCount"] > 0, 60, "it is started again")
    (cut, *_) = (line for line in lines(container) if "cut off" in line["message"])
    assert "time.sleep(4)" in cut["exc_info"]


def test_the_service_s_own_runs_or_says_that_there_is_none(named_image: str) -> None:
    name = unique("work")
    try:
        docker("run", "--detach", "--name", name, *HARDENED, named_image, *WORK)

        def settled() -> str:
            state = inspect(name)["State"]
            running = "healthy" if state["Health"]["Status"] == "healthy" else ""
            return running if state["Running"] else "ended"

        if eventually(settled, 60, "it is healthy, or has ended") == "healthy":
            docker("stop", name)
            assert inspect(name)["State"]["ExitCode"] == 0
        else:
            assert "has no background process" in docker("logs", name).stderr
    finally:
        docker("rm", "--force", "--volumes", name, check=False)
