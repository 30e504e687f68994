"""Workers come and go; the service stays."""

from __future__ import annotations

import os
import signal
import time

from chaos.harness import exit_status, load, replaced, rounds, server, tell, workers
from containers import docker, eventually


def test_no_request_is_lost_by_reloads(image: str) -> None:
    with server(image) as container:
        for kind in ((), ("--keep-alive",)):
            with load(container, "--clients", 64, *kind) as clients:
                for _ in rounds(full=10, short=2):
                    old = workers(container)
                    docker("kill", "--signal", "SIGHUP", container.name)
                    replaced(container, old)
                result = clients.result(finish=True)
                tell(f"{kind}: {result}")
                assert result.all_served(), result
                assert result.refused == 0


def test_no_request_is_lost_by_recycling(image: str) -> None:
    with server(image, "--env", "WEB_MAX_REQUESTS=1000") as container:
        for kind in ((), ("--keep-alive",)):
            with load(container, "--clients", 64, *kind) as clients:
                seen = set(workers(container))
                wanted = len(seen) + len(rounds(full=10, short=2))

                def enough(seen: set[int] = seen, wanted: int = wanted) -> bool:
                    seen.update(workers(container))
                    return len(seen) >= wanted

                eventually(enough, 60, "workers are recycled")
                result = clients.result(finish=True)
                tell(f"{kind}: {result}")
                assert result.all_served(), result
                assert result.refused == 0


def test_a_killed_worker_takes_no_more_than_its_own_requests_with_it(image: str) -> None:
    """Those that clients had sent it, one each; and it has a successor at once."""
    with server(image) as container:
        for _ in rounds(full=20, short=3):
            with load(container, "--clients", 32) as clients:
                time.sleep(0.5)
                os.kill(workers(container)[0], signal.SIGKILL)
                eventually(lambda: len(workers(container)) == 2, 5, "a successor")
                time.sleep(0.5)
                result = clients.result(finish=True)
            tell(f"{result}, longest gap {result.longest_gap():.2f} s")
            assert set(result.statuses) == {"200"}
            assert result.refused == result.unanswered == 0, result
            assert result.lost + result.truncated <= 32, result
            assert result.longest_gap() < 1


def test_an_application_that_can_t_be_loaded_ends_it_with_the_reason(image: str) -> None:
    with server(image, "--env", "CHAOS_FAIL=import", wait=False) as container:
        docker("wait", container.name)
        assert exit_status(container) != 0
        assert "this application can't be imported" in container.logs()


def test_workers_that_die_at_every_first_request_end_it(image: str) -> None:
    """The health check's request is enough."""
    with (
        server(image, "--env", "CHAOS_FAIL=requests", wait=False) as container,
        load(container, "--clients", 4, "--pause", 0.05),
    ):
        eventually(lambda: not workers(container), 30, "it ends")
        docker("wait", container.name)
        assert exit_status(container) == 1
        assert container.logs().count("5 workers in a row died before their first answer") == 1


def test_a_hung_worker_is_killed_and_a_slow_request_is_not(image: str) -> None:
    heartbeat = ("--env", "GUNICORN_CMD_ARGS=--timeout 2")
    with (
        server(image, *heartbeat) as container,
        load(container, "--clients", 2, "--path", "/chaos/slow?5") as slow,
    ):
        time.sleep(5.5)
        old = workers(container)
        os.kill(old[0], signal.SIGSTOP)
        eventually(lambda: old[0] not in workers(container), 10, "killed")
        eventually(lambda: len(workers(container)) == len(old), 5, "a successor")
        result = slow.result(finish=True)
        assert result.statuses["200"] >= 2
        assert "WORKER TIMEOUT" in container.logs()
