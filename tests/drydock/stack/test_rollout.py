"""What clients of the gateway see when the service is replaced: `make rollout`, and `make up`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from traffic import Load

if TYPE_CHECKING:
    from stacks import Stack


def test_a_rollout_of_three_replicas_costs_no_request(three: Stack) -> None:
    before = set(three.containers("app"))
    (worker,) = three.containers("background")
    with Load(three.address, "/api/notes", clients=8) as load:
        rollout = three.make("rollout")
    assert rollout.returncode == 0, rollout.stderr
    after = set(three.containers("app"))
    assert len(after) == 3
    assert not before & after
    for word in ("replaced 3 of 3 of app", "replaced 1 of 1 of background"):
        assert word in rollout.stderr
    assert worker not in three.containers("background")
    assert len(load.outcomes) > 100
    assert not load.failures(), load.failures()[:3]


def test_a_rollout_of_what_does_not_start_leaves_the_old_replicas(stack: Stack) -> None:
    before = set(stack.containers("app"))
    settings = stack.checkout / ".env"
    # Of no interest to the migration, which comes first.
    settings.write_text("GUNICORN_CMD_ARGS=--bind=nowhere.invalid:1\n")
    try:
        with Load(stack.address, "/api/notes", clients=4) as load:
            rollout = stack.make("rollout")
    finally:
        settings.unlink()
    assert rollout.returncode != 0
    assert "the new replica of app did not become healthy" in rollout.stderr
    assert "nowhere.invalid" in rollout.stdout + rollout.stderr
    assert set(stack.containers("app")) == before
    assert not load.failures(), load.failures()[:3]


@pytest.mark.slow
def test_up_keeps_the_replicas_that_there_are_and_starts_those_that_are_wanted(
    stack: Stack,
) -> None:
    stack.scale(2)
    file = stack.checkout / "compose.yaml"
    before = file.read_text()
    wanted = "  background:\n    deploy: { replicas: 2 }\n"
    try:
        file.write_text(before.replace("  background:\n", wanted))
        assert stack.make("up").returncode == 0
    finally:
        file.write_text(before)
    assert len(stack.containers("app")) == len(stack.containers("background")) == 2
    stack.scale(1, background=1)


@pytest.mark.slow
def test_a_service_that_is_new_is_started_by_a_rollout(stack: Stack) -> None:
    stack.compose("rm", "--force", "--stop", "background")
    rollout = stack.make("rollout")
    assert rollout.returncode == 0, rollout.stderr
    assert "started background" in rollout.stderr
    assert len(stack.containers("background")) == 1


@pytest.mark.database
def test_a_rollout_whose_migration_fails_replaces_nothing(stack: Stack) -> None:
    before = set(stack.containers("app"))
    settings = stack.checkout / ".env"
    settings.write_text("WEB_THREADS=none\n")
    try:
        rollout = stack.make("rollout")
    finally:
        settings.unlink()
    assert rollout.returncode != 0
    assert "the migration failed, and nothing was replaced" in rollout.stderr
    assert "WEB_THREADS='none'" in rollout.stderr
    assert set(stack.containers("app")) == before
