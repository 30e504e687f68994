"""One stack with three replicas and its monitoring: `make observe` in a copy of this checkout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import alerts
from checkouts import copy
from containers import eventually, free_port, unique
from stacks import add_services, remove
from watched import Watched, often

if TYPE_CHECKING:
    from collections.abc import Iterator

FACTOR = 15  # by which windows and waits are shorter where a fault is made


@pytest.fixture(scope="session")
def watched(probe: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """With the real rules; looked at more often than in production, so that no alert is missed.

    Its replicas drain for three seconds when they are stopped.
    """
    checkout = copy(tmp_path_factory.mktemp("alerts") / "checkout")
    add_services(checkout)
    (checkout / ".env").write_text("DRAIN_SECONDS=3\n")
    ports = ("PORT", "PROMETHEUS_PORT", "ALERTMANAGER_PORT", "GRAFANA_PORT")
    found = Watched(
        checkout,
        {
            "COMPOSE_PROJECT_NAME": unique("alerts"),
            **{name: str(free_port()) for name in ports},
            "IMAGE": probe,
            "IMAGE_AS_IS": "1",
            "COMPOSE_PROFILES": "*",
            "GATEWAY_RATE": "100000",
            "GATEWAY_BURST": "1000",
        },
    )
    found.rewrite("prometheus.yaml", lambda text: often(text, 2))
    try:
        started = found.make("observe")
        assert started.returncode == 0, started.stderr
        found.printed = started.stdout + started.stderr
        found.scale(3)
        eventually(lambda: found.value('count(up{job="app"} == 1)') == 3, 30, "three replicas")
        yield found
    finally:
        remove(found.project)


@pytest.fixture(scope="session")
def hastened(watched: Watched) -> Watched:
    """The same, with rules whose minutes are seconds; for the tests that break something."""
    watched.rewrite("prometheus.yaml", lambda text: often(text, 1))
    watched.rewrite("rules.yaml", lambda text: alerts.hastened(text, FACTOR))
    eventually(lambda: not watched.firing(), 90, "no alert fires")
    return watched
