"""More requests than can be served: some are rejected in time, none gets a wrong response."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chaos.harness import Result, load, memory, report, server
from containers import eventually
from depth import FULL

if TYPE_CHECKING:
    from containers import Container

SECONDS = 5 if FULL else 3
# 10 ms of the processor each: what can be served depends on it, and not on the clients.
BUSY = ("--path", "/chaos/busy?0.01", "--keep-alive")


def served(container: Container, clients: int, *options: object) -> Result:
    with load(container, "--clients", clients, "--seconds", SECONDS, *BUSY, *options) as running:
        return running.result()


@pytest.mark.alone
def test_four_times_too_many_clients(image: str) -> None:
    """With a queue of a second, so many clients that it would be one of four."""
    # The clients have what is left of two cores: without, they would wait for the processor, up to
    # a second at a time, and that would be measured.
    with server(image, "--cpus", "1.5", "--env", "WEB_QUEUE_TIMEOUT=1") as container:
        peak = served(container, 16)
        assert peak.all_served(), peak
        rate = len(peak.seconds) / SECONDS
        before = max(memory(container))
        over = served(container, int(rate * 4))
        report(
            f"{rate:.0f}/s at the peak; four times too many: {over},"
            f" {max(memory(container)):.0f} MB, longest {max(over.seconds):.1f} s"
        )
        assert over.lost == over.truncated == over.timed_out == 0, over
        assert set(over.statuses) == {"200", "503"}, over
        # Of what is served, no less than before.
        assert over.statuses["200"] / SECONDS > 0.8 * rate, (rate, over)
        # A queue of a second, and clients that all come at once.
        assert max(over.seconds) < 3
        assert max(memory(container)) < before + 20
        assert "connections dropped: overload" in container.logs()


def test_it_says_to_retry_later_and_that_it_is_alive(image: str) -> None:
    one = ("--env", "WEB_QUEUE_TIMEOUT=1", "--env", "WEB_CONCURRENCY=1", "--env", "WEB_THREADS=1")
    with (
        server(image, *one) as container,
        load(container, "--clients", 4, "--path", "/chaos/slow?8"),
    ):
        eventually(lambda: container.get("/hello/x").status == 503, 5, "its thread is busy")
        for _ in range(3):
            rejected = container.get("/hello/x")
            assert rejected.status == 503
            assert rejected.headers["Retry-After"] == "5"
            assert rejected.headers["Content-Type"] == "application/problem+json"
            assert rejected.json()["status"] == 503
            alive = container.get("/livez", timeout=5)
            assert alive.status == 200
            assert alive.json() == {"status": "ok"}
