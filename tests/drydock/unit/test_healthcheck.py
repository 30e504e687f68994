"""The image's health check: what it takes for healthy, and what it costs."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from drydock import healthcheck

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def server(behave: Callable[[socket.socket], None], host: str = "127.0.0.1") -> Iterator[int]:
    """A server on a free port that accepts one connection and calls `behave` with it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family, dualstack_ipv6=host == "::") as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    behave(connection)

        listener.settimeout(10)  # where nobody comes
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def respond(*parts: bytes) -> Callable[[socket.socket], None]:
    def behave(connection: socket.socket) -> None:
        connection.recv(1024)
        for part in parts:
            connection.sendall(part)
            time.sleep(0.05)

    return behave


@pytest.mark.parametrize(
    "parts", [[b"HTTP/1.1 200 OK\r\n\r\n"], [b"HT", b"TP/1.1 2", b"00 OK\r", b"\n\r\n"]]
)
def test_a_200_is_healthy(parts: list[bytes]) -> None:
    with server(respond(*parts)) as port:
        assert healthcheck.check(port) is None


@pytest.mark.parametrize(
    "line",
    [
        b"HTTP/1.1 500 Internal Server Error\r\n",
        b"HTTP/1.1 503 Service Unavailable\r\n",
        b"HTTP/1.1 301 Moved Permanently\r\n",
        b"HTTP/1.1 204 No Content\r\n",
        b"HTTP/1.1 2000 OK\r\n",
        b"SSH-2.0-OpenSSH 200\r\n",
        b"HTTP/1.1 404 200\r\n",
        b"\r\n",
        b"",
    ],
)
def test_anything_else_is_not(line: bytes) -> None:
    with server(respond(line)) as port:
        assert "not a 200" in (healthcheck.check(port) or "")


def test_a_closed_port_is_not() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert "refused" in (healthcheck.check(unused.getsockname()[1]) or "")


def test_a_server_that_never_responds_is_not() -> None:
    def listen(connection: socket.socket) -> None:
        while connection.recv(1024):
            pass

    with server(listen) as port:
        assert "timed out" in (healthcheck.check(port, timeout=0.2) or "")


def test_a_server_that_trickles_is_not() -> None:
    """The deadline is for the whole exchange; one for each byte would never run out."""
    with server(respond(*[b"x"] * 40)) as port:
        start = time.monotonic()
        assert "timed out" in (healthcheck.check(port, timeout=0.3) or "")
        assert time.monotonic() - start < 1.5


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_as_the_image_runs_it(status: int, code: int) -> None:
    with server(respond(f"HTTP/1.1 {status} X\r\n\r\n".encode())) as port:
        done = subprocess.run(
            [sys.executable, "-IS", healthcheck.__file__],
            env={"APP_PORT": str(port)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == code
    assert bool(done.stderr) == bool(code)


@pytest.mark.parametrize(
    ("host", "set_to"),
    [
        *(("127.0.0.1", ""), ("127.0.0.1", "0.0.0.0"), ("127.0.0.1", "127.0.0.1")),
        *(("0.0.0.0", "0.0.0.0"), ("127.0.0.2", "127.0.0.2"), ("::1", "::1")),
        *(("::", "::"), ("::", "0:0:0:0:0:0:0:0"), ("127.0.0.1", "::"), ("::1", "::")),
    ],
)
def test_it_asks_where_the_service_listens(host: str, set_to: str) -> None:
    with server(respond(b"HTTP/1.1 200 OK\r\n\r\n"), host) as port:
        done = subprocess.run(
            [sys.executable, "-IS", healthcheck.__file__],
            env={"APP_PORT": str(port), "APP_HOST": set_to},
            capture_output=True,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, "")


def test_it_imports_little() -> None:
    script = "import runpy, sys; runpy.run_path(sys.argv[1]); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-IS", "-c", script, healthcheck.__file__],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not {"flask", "app", "drydock", "http", "email", "ssl"} & set(done.stdout.split())
