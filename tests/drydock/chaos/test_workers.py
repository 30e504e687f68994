"""Workers come and go; the service stays."""

from __future__ import annotations

import collections
import contextlib
import os
import re
import signal
import socket
import time
from pathlib import Path

import pytest

from chaos.harness import (
    exit_status,
    load,
    memory,
    replaced,
    report,
    server,
    workers,
)
from containers import docker, eventually, paused
from depth import FULL, rounds


def test_no_request_is_lost_by_reloads(image: str) -> None:
    with server(image) as container:
        for kind in ((), ("--keep-alive",)):
            with load(container, "--clients", 64, *kind) as clients:
                for _ in rounds(full=10, short=2):
                    old = workers(container)
                    docker("kill", "--signal", "SIGHUP", container.name)
                    replaced(container, old)
                result = clients.result(finish=True)
                report(f"{kind}: {result}")
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
                report(f"{kind}: {result}")
                assert result.all_served(), result
                assert result.refused == 0


def inside(pid: int) -> str:
    """The process id that the process has in its container."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^NSpid:.*\s(\d+)$", status, re.MULTILINE)
    assert found
    return found[1]


@pytest.mark.alone
def test_a_killed_worker_loses_only_its_own_requests(image: str) -> None:
    """Those that clients had sent it, one each; and it has a successor at once."""
    asked = ("--clients", 32, "--path", "/chaos/worker")
    with server(image) as container:
        for number in rounds(full=20, short=4):
            kept = number % 2 == 0
            with load(container, *asked, *(["--keep-alive"] if kept else [])) as clients:
                time.sleep(0.5)
                killed = workers(container)[0]
                name = inside(killed)
                os.kill(killed, signal.SIGKILL)

                def succeeded(killed: int = killed) -> bool:
                    now = workers(container)
                    return killed not in now and len(now) == 2

                eventually(succeeded, 5, "a successor")
                time.sleep(0.5)
                result = clients.result(finish=True)
            gap = result.longest_gap()
            report(f"{'kept' if kept else 'one each'}: {result}, longest gap {gap:.2f} s")
            assert set(result.statuses) == {"200"}
            assert result.refused == result.timed_out == 0, result
            assert gap < 1
            if kept:  # each connection's worker is known: who had the other one lost nothing
                assert set(result.by_worker) <= {name}, (name, result.by_worker)
            # The other worker had its share of the clients.
            assert result.lost + result.truncated < 28, result


@pytest.mark.alone
def test_workers_share_the_connections(image: str) -> None:
    """Also those that are kept, few and come together: each worker has a core of its own."""
    with server(image) as container:
        for _ in range(3):  # a worker that gets no processor in time misses some
            shares: collections.Counter[bytes] = collections.Counter()
            with contextlib.ExitStack() as stack:
                address = ("127.0.0.1", container.port)
                kept = [
                    stack.enter_context(socket.create_connection(address, 10)) for _ in range(16)
                ]
                for connection in kept:
                    connection.sendall(b"GET /chaos/worker HTTP/1.1\r\nHost: x\r\n\r\n")
                    shares[connection.recv(65536)[-10:]] += 1
            report(f"16 connections: {sorted(shares.values())}")
            if len(shares) == 2 and min(shares.values()) >= 4:
                return
            time.sleep(0.5)
    pytest.fail(f"{shares}")


@pytest.mark.slow
def test_the_memory_of_a_worker_stays(image: str) -> None:
    requests = 200_000 if FULL else 10_000
    clients = ("--clients", 16, "--keep-alive", "--seconds")
    with server(image) as container:

        def serve(count: int, seconds: float) -> int:
            """So many, and some more."""
            served = 0
            while served < count:
                with load(container, *clients, seconds) as running:
                    served += len(running.result().seconds)
            return served

        def stats() -> str:
            shown = docker("stats", "--no-stream", "--format", "{{.MemUsage}}", container.name)
            return shown.stdout.partition(" ")[0]

        first, before, whole = serve(1000, 0.1), memory(container), stats()
        more, after = serve(requests, 3), memory(container)
        report(f"after {first} requests: {before} MB, docker stats {whole}")
        report(f"after {first + more} requests: {after} MB, docker stats {stats()}")
        for early, late in zip(before, after, strict=True):
            assert late < early * 1.05


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
        docker("wait", container.name)
        assert exit_status(container) == 1
        assert container.logs().count("5 workers in a row died before their first response") == 1


@pytest.mark.alone
def test_no_request_is_lost_by_a_pause(image: str) -> None:
    """Longer than a worker's main loop may stand still, and than anything may take."""
    limits = (f"WEB_{name}_TIMEOUT=2" for name in ("HANG", "HEAD", "BODY", "SEND", "QUEUE"))
    options = ("WEB_KEEPALIVE=2", *limits)
    with server(image, *(word for option in options for word in ("--env", option))) as container:
        asked = ("--clients", 32, "--patience", 30)
        with load(container, *asked) as each, load(container, *asked, "--keep-alive") as kept:
            before = workers(container)
            for _ in rounds(full=10, short=1):
                time.sleep(1)
                with paused(container.name):
                    time.sleep(4)
            time.sleep(2)
            for clients in (each, kept):
                result = clients.result(finish=True)
                report(f"{'kept' if clients is kept else 'one each'}: {result}")
                # Those that had waited for a thread for too long got a 503.
                assert result.lost == result.truncated == result.refused == 0, result
                assert set(result.statuses) <= {"200", "503"}
        assert workers(container) == before


@pytest.mark.slow
def test_a_hung_worker_is_killed_and_a_slow_request_is_not(image: str) -> None:
    heartbeat = ("--env", "WEB_HANG_TIMEOUT=2")
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
