"""A fault is made, its alert fires and reaches Alertmanager; the fault ends, and so does the alert.

With rules whose minutes are seconds (tests/alerts.py, `hastened`). One test after the other: each
waits until nothing fires.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from checkouts import environment
from containers import docker, eventually, inspect
from traffic import Load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from watched import Watched

PATIENCE = 90  # seconds


@pytest.fixture
def calm(hastened: Watched) -> Iterator[Watched]:
    """Nothing fires before the fault, nor some time after it."""
    calm = "no alert fires"
    eventually(lambda: not hastened.firing(), PATIENCE, calm)
    yield hastened
    hastened.ready()
    eventually(lambda: not hastened.firing(), PATIENCE * 3, calm, every=1)
    eventually(lambda: not hastened.told(), PATIENCE, "Alertmanager knows that it is over", every=1)


def fires(watched: Watched, *names: str) -> None:
    """Wait until each has fired, and Alertmanager has been told."""
    wanted = set(names)
    seen: set[str] = set()

    def all_seen() -> bool:
        seen.update(watched.firing() & watched.told())
        return wanted <= seen

    try:
        eventually(all_seen, PATIENCE, f"{wanted} fire", every=0.5)
    except AssertionError:
        raise AssertionError(f"of {sorted(wanted)} only {sorted(seen)} fired") from None


@contextlib.contextmanager
def psql(watched: Watched, sql: str, application: str = "app") -> Iterator[None]:
    """A session of the database's owner that runs `sql`, until the end of the block."""
    (db,) = watched.containers("db")
    name = f"--env=PGAPPNAME={application}"
    command = ["docker", "exec", name, db, "psql", "--username=app_owner", "app", "-c", sql]
    with subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE) as process:
        try:
            yield
        finally:
            ask = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename='app_owner'"
            docker("exec", db, "psql", "app", "-c", ask)
            process.communicate(timeout=30)


def kill(watched: Watched, pid: int) -> None:
    """Kill a process of a container, so that the engine, or the service, starts it anew."""
    watched.outside(f"import os; os.kill({pid}, 9)")


@pytest.mark.database
def test_a_database_that_is_stopped_pages_and_is_over_when_it_is_back(calm: Watched) -> None:
    (db,) = calm.containers("db")
    with Load(calm.address, "/api/notes", clients=8, pause=0.05):
        docker("kill", db)
        try:
            fires(calm, "DatabaseDown", "DatabaseUnreachable", "ErrorBudgetBurnsFast")
        finally:
            docker("start", db)
        eventually(lambda: calm.get("/api/notes").status == 200, PATIENCE, "recovery")
        eventually(lambda: "ErrorBudgetBurnsFast" not in calm.firing(), PATIENCE, "it is over")


def test_a_replica_that_is_killed_again_and_again_pages(calm: Watched) -> None:
    container = calm.containers("app")[0]
    start = f'max(app_start_time_seconds{{container="{container[:12]}"}})'
    for number in range(8):  # three are enough, where they are quick
        before = calm.value(start)
        kill(calm, inspect(container)["State"]["Pid"])

        def started_anew(before: float = before) -> bool:
            return calm.value(start) > before

        eventually(started_anew, PATIENCE, "started anew, and seen by Prometheus")
        if number == 0:
            fires(calm, "Restarted")
        if "CrashLoop" in calm.firing():
            break
    fires(calm, "CrashLoop")


def test_workers_that_are_killed_page(calm: Watched) -> None:
    """One alone does not: the service goes on with its successor."""
    container = calm.containers("app")[0]
    for _ in range(4):
        top = docker("top", container, "-eo", "pid,ppid").stdout.splitlines()[1:]
        processes = [tuple(map(int, line.split())) for line in top]
        first = inspect(container)["State"]["Pid"]
        kill(calm, next(pid for pid, parent in processes if parent == first))
        time.sleep(2)
    fires(calm, "WorkersCrash")


def test_no_replica_at_all_pages(calm: Watched) -> None:
    containers = calm.containers("app")
    docker("kill", *containers)
    try:
        fires(calm, "NoReplica", "GatewayDown")
    finally:
        docker("start", *containers)


def test_a_replica_that_is_gone_is_missed(calm: Watched) -> None:
    """It is compared with a quarter of an hour ago, which here is a minute."""
    lately = 'min_over_time(count(up{job="app"} == 1)[60s:1s])'
    eventually(lambda: calm.value(lately) == 3, PATIENCE, "a minute with three replicas", every=1)
    container = calm.containers("app")[0]
    docker("kill", container)
    try:
        fires(calm, "FewerReplicas")
    finally:
        docker("start", container)


@pytest.mark.database
def test_load_beyond_capacity_pages(calm: Watched) -> None:
    """First requests wait longer than they should; then they wait too long, and get a 503."""
    lock = "BEGIN; LOCK TABLE notes IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(60)"
    with (
        Load(calm.address, "/api/notes", clients=64) as load,
        psql(calm, lock),
    ):
        fires(calm, "RequestsWait", "RequestsShed")
    assert 503 in {each.status for each in load.outcomes}


@pytest.mark.database
def test_a_migration_that_hangs_is_seen(calm: Watched) -> None:
    """As long as it runs; that it pages after ten minutes is a case of the rules' own tests."""
    with psql(calm, "SELECT pg_sleep(60)"):
        query = 'max(pg_stat_activity_max_tx_duration{usename="app_owner",application_name="app"})'
        eventually(lambda: calm.value(query) > 3, PATIENCE, "its seconds are counted")
