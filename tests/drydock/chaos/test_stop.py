"""A stop loses nothing: every client that has a connection gets a complete response."""

from __future__ import annotations

import socket
import time

import pytest

from chaos.harness import exit_status, load, report, server
from containers import Container, docker, eventually
from depth import rounds

KINDS = {
    "fast": ("--clients", 64),
    "fast, kept alive": ("--clients", 64, "--keep-alive"),
    "slow": ("--clients", 16, "--path", "/chaos/slow?0.3"),
    "mixed, kept alive": (
        *("--clients", 32, "--keep-alive", "--path", "/hello/x"),
        *("--path", "/chaos/slow?0.2", "--path", "/chaos/large?200000"),
    ),
}


def stop(container: Container) -> float:
    began = time.monotonic()
    docker("stop", container.name)
    return time.monotonic() - began


@pytest.mark.parametrize("kind", KINDS)
def test_no_request_is_lost_by_a_stop(image: str, kind: str) -> None:
    for number in rounds(full=13, short=1):
        signal_name = ("SIGTERM", "SIGINT")[(number + list(KINDS).index(kind)) % 2]
        with (
            server(image, "--stop-signal", signal_name) as container,
            load(container, *KINDS[kind], "--until-refused") as clients,
        ):
            time.sleep(1)
            took = stop(container)
            result = clients.result()
            report(f"{kind}, {signal_name}: {took:.1f} s, {result}")
            assert result.all_served(), f"{result}\n{container.logs()}"
            assert result.refused
            assert len(result.seconds) > 10
            assert exit_status(container) == 0
            assert took < 9
            assert container.logs() == ""


def test_stock_settings_do_lose_some(image: str) -> None:
    """So that it is known that this harness notices."""
    with (
        server(image, stock=True) as container,
        load(container, *KINDS["fast"], "--until-refused") as clients,
    ):
        time.sleep(1)
        stop(container)
        result = clients.result()
        report(f"stock: {result}")
        assert result.lost > 0


def test_idle_connections_do_not_delay_it(image: str) -> None:
    with server(image) as container:
        silent = [socket.create_connection(("127.0.0.1", container.port)) for _ in range(2)]
        container.get("/livez")
        took = stop(container)
        for connection in silent:
            connection.close()
        assert took < 4
        assert exit_status(container) == 0


@pytest.mark.parametrize("signal_name", ["SIGTERM", "SIGINT"])
def test_a_second_signal_ends_it_at_once(image: str, signal_name: str) -> None:
    with (
        server(image, "--env", "DRAIN_SECONDS=30") as container,
        load(container, "--clients", 4, "--path", "/chaos/slow?5"),
    ):
        time.sleep(0.5)
        docker("kill", "--signal", signal_name, container.name)
        eventually(lambda: container.get("/readyz").status == 503, 3, "draining")
        began = time.monotonic()
        docker("kill", "--signal", signal_name, container.name)
        docker("wait", container.name)
        assert time.monotonic() - began < 2
        assert exit_status(container) in (128 + 15, 128 + 2)


def test_it_drains_first_if_set_to(image: str) -> None:
    with server(image, "--env", "DRAIN_SECONDS=2", "--env", "WEB_CONCURRENCY=1") as container:
        kept = socket.create_connection(("127.0.0.1", container.port), 10)
        began = time.monotonic()
        docker("kill", "--signal", "SIGTERM", container.name)
        eventually(lambda: container.get("/readyz").status == 503, 1, "not ready")
        response = container.get("/hello/x")
        assert response.status == 200
        assert response.headers["Connection"] == "close"
        assert container.get("/livez").status == 200
        kept.sendall(b"GET /hello/kept HTTP/1.1\r\nHost: x\r\n\r\n")
        received = b"".join(iter(lambda: kept.recv(65536), b""))
        kept.close()
        assert b" 200 OK" in received
        assert b"Connection: close" in received
        docker("wait", container.name)
        assert 2 <= time.monotonic() - began < 6
        assert exit_status(container) == 0


def test_a_request_that_takes_longer_is_cut_off_and_that_is_logged(image: str) -> None:
    with (
        server(image, "--env", "GRACEFUL_TIMEOUT=2") as container,
        load(container, "--clients", 2, "--path", "/chaos/slow?9", "--until-refused") as clients,
    ):
        time.sleep(1)
        took = stop(container)
        assert 2 <= took < 5
        assert exit_status(container) == 0
        assert clients.result().lost == 2
        assert "cut off by GRACEFUL_TIMEOUT" in container.logs()


def test_a_stop_during_a_reload_is_not_put_off(image: str) -> None:
    """gunicorn's own reload waits for the old workers, and handles no signal meanwhile."""
    with (
        server(image) as container,
        load(container, "--clients", 2, "--path", "/chaos/slow?4", "--until-refused") as clients,
    ):
        time.sleep(1)
        docker("kill", "--signal", "SIGHUP", container.name)
        time.sleep(0.5)
        took = stop(container)
        result = clients.result()
        assert result.all_served(), result
        assert took < 7


@pytest.mark.alone
@pytest.mark.parametrize("delay", [0, 0.1, 0.2, 0.4])
def test_a_stop_while_it_starts_is_handled(image: str, delay: float) -> None:
    """The kernel keeps from process 1 all signals that it has no handler for."""
    # A stop before Python has begun has no handler: only that one may have no effect.
    for _ in range(1 if delay else 3):
        with server(image, wait=False) as container:
            time.sleep(delay)
            took = stop(container)
            if took < 4:
                assert exit_status(container) == 0
                return
    pytest.fail(f"it took {took:.1f} s")
