"""The server as processes: how a worker ends, and what becomes of its log."""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from drydock import healthcheck

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FILE = next(
    file
    for file in (Path("gunicorn.conf.py"), Path(__file__).parents[3] / "gunicorn.conf.py")
    if file.exists()
).absolute()

# The service's own configuration, with an application and a hook of the test's.
CONFIGURATION = """
import runpy
globals().update(runpy.run_path(%r))
wsgi_app = "served:application"
def worker_exit(server, worker):
    import os
    with open("ends", "a") as file:
        file.write(f"worker_exit {server.pid == os.getppid()} {worker.pid == os.getpid()}\\n")
"""
APPLICATION = """
import atexit, os, threading, time
arbiter = os.getpid()
def note(what):
    with open("ends", "a") as file:
        file.write(f"{what}\\n")
def last():
    if os.getpid() != arbiter:
        note("atexit of a worker")
        time.sleep(float(os.environ.get("HANG", "0")))
atexit.register(last)
def respond(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    if environ["PATH_INFO"] == "/broken":
        atexit.register(lambda: 1 / 0)
    if environ["PATH_INFO"] == "/slow":
        note("slow")
        time.sleep(30)
    return [b"ok"]
from drydock.metrics import MetricsPort
application = MetricsPort(respond, int(os.environ["METRICS_PORT"]))
"""


class Server:
    def __init__(self, folder: Path, host: str = "127.0.0.1", **variables: str) -> None:
        self.folder = folder
        self.host = host  # where it is asked
        (folder / "conf.py").write_text(CONFIGURATION % str(FILE))
        (folder / "served.py").write_text(APPLICATION)
        with contextlib.ExitStack() as stack:
            free = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in "ab"]
            self.port, self.metrics_port = (each.getsockname()[1] for each in free)
        settings = {
            "APP_HOST": "127.0.0.1",
            "APP_PORT": str(self.port),
            "METRICS_PORT": str(self.metrics_port),
            "WEB_CONCURRENCY": "1",
            "LOG_FORMAT": "json",
            "DATA_DIR": str(folder),
        }
        environ = os.environ | settings | variables
        environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-c", "conf.py"],
            cwd=folder,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(ConnectionError):
                self.get("/")
                return
            assert time.monotonic() < deadline
            assert self.process.poll() is None, self.output()
            time.sleep(0.05)

    def get(self, path: str, port: int | None = None, **fields: str) -> str:
        connection = http.client.HTTPConnection(self.host, port or self.port, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", path, headers=fields)
            return connection.getresponse().read().decode()

    def output(self) -> str:
        """All that it has printed, once it has ended."""
        assert self.process.stdout is not None
        return self.process.stdout.read().decode(errors="strict")

    def ends(self) -> list[str]:
        with contextlib.suppress(FileNotFoundError):
            return (self.folder / "ends").read_text().splitlines()
        return []

    def stop(self) -> float:
        """Stop it; the seconds that this took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(20) == 0
        return time.monotonic() - began


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(**variables: str) -> Server:
        servers.append(Server(tmp_path, **variables))
        return servers[-1]

    yield start
    for server in servers:
        server.process.kill()
        server.process.wait()
        assert server.process.stdout is not None
        server.process.stdout.close()


def healthy(server: Server, host: str) -> str:
    """What the image's health check says of it, as the image runs it."""
    variables = {"APP_HOST": host, "APP_PORT": str(server.port)}
    command = [sys.executable, "-IS", healthcheck.__file__]
    return subprocess.run(
        command, env=variables, capture_output=True, check=False, text=True
    ).stderr


def test_all_interfaces_are_those_of_both_families(start: Callable[..., Server]) -> None:
    server = start(APP_HOST="::", TRUSTED_PROXIES="127.0.0.0/8")
    for host in ("127.0.0.1", "::1", "127.0.0.2"):
        server.host = host
        assert server.get(f"/from-{host}") == "ok"
        assert "app_workers 1.0" in server.get("/metrics", server.metrics_port)
    assert healthy(server, "::") == ""
    assert server.stop() < 3
    clients = {
        line["path"]: line["client"]
        for line in map(json.loads, server.output().splitlines())
        if line["logger"] == "app.access"
    }
    # The application's own middleware is not here: this is what the server hands to it.
    assert clients["/from-127.0.0.1"] == clients["/from-127.0.0.2"] == "127.0.0.1"
    assert clients["/from-::1"] == "::1"


@pytest.mark.parametrize(
    ("host", "other"), [("::1", "127.0.0.1"), ("127.0.0.1", "::1"), ("127.0.0.2", "127.0.0.1")]
)
def test_one_address_is_that_one_alone(start: Callable[..., Server], host: str, other: str) -> None:
    server = start(host=host, APP_HOST=host)
    assert server.get("/") == "ok"
    assert "app_workers 1.0" in server.get("/metrics", server.metrics_port)
    for port in (server.port, server.metrics_port):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((other, port))
    assert healthy(server, host) == ""
    assert "refused" in healthy(server, other)
    assert server.stop() < 3


def test_flask_s_own_server_is_reached_from_this_machine_alone(tmp_path: Path) -> None:
    """With --debug it runs what it is sent."""
    shutil.copy(FILE.with_name(".flaskenv"), tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environ = {k: v for k, v in os.environ.items() if k != "APP_HOST"}
    process = subprocess.Popen(
        [sys.executable, "-m", "flask", "run", "--debug", "--no-reload"],
        cwd=tmp_path,
        env=environ | {"APP_PORT": str(port), "DATA_DIR": str(tmp_path), "APP_ENV": "development"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 20
        while True:
            with contextlib.suppress(ConnectionError):
                socket.create_connection(("127.0.0.1", port)).close()
                break
            assert time.monotonic() < deadline
            time.sleep(0.05)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", port))
    finally:
        process.kill()
        process.wait()


ENDS = ["worker_exit True True", "atexit of a worker"]


def test_a_worker_runs_its_exit_handlers_also_after_one_that_fails(
    start: Callable[..., Server],
) -> None:
    server = start()
    server.get("/broken")
    assert server.stop() < 3
    assert server.ends() == ENDS
    assert "ZeroDivisionError" in server.output()


def test_a_worker_that_is_replaced_runs_its_exit_handlers(start: Callable[..., Server]) -> None:
    server = start()
    server.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 10
    while server.ends() != ENDS:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    server.stop()
    assert server.ends() == ENDS * 2


EARLY = """
import os, signal
from drydock.server.worker import Worker

worker = Worker.__new__(Worker)
worker.PIPE = os.pipe()
os.set_blocking(worker.PIPE[1], False)
worker.handle_exit = lambda *_: print("it stops")
set_handler = signal.signal

def interrupted(number, handler):
    set_handler(number, handler)
    if handler == signal.SIG_DFL and number in (signal.SIGTERM, signal.SIGINT):
        os.kill(os.getpid(), number)

signal.signal = interrupted
worker.init_signals()
"""


def test_a_signal_that_comes_while_a_worker_sets_its_handlers_does_not_kill_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", EARLY], stdout=subprocess.PIPE, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "it stops\n")


def test_an_exit_handler_that_hangs_does_not_hold_the_worker(start: Callable[..., Server]) -> None:
    server = start(HANG="60", GRACEFUL_TIMEOUT="2")
    assert server.stop() < 4
    assert server.ends() == ENDS
    assert "exit handlers were cut off" in server.output()


def test_exit_handlers_run_when_a_request_has_been_cut_off(start: Callable[..., Server]) -> None:
    server = start(HANG="60", GRACEFUL_TIMEOUT="1")
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        while server.ends() != ["slow"]:
            time.sleep(0.05)
        assert server.stop() < 4
    assert server.ends() == ["slow", *ENDS]
    assert "1 requests were cut off by GRACEFUL_TIMEOUT" in server.output()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGABRT])
def test_no_end_but_a_kill_loses_a_line(start: Callable[..., Server], number: int) -> None:
    """With a request in flight the line of another one waits for its own."""
    server = start(GRACEFUL_TIMEOUT="1")
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        while server.ends() != ["slow"]:
            time.sleep(0.05)
        server.get("/another")
        if number == signal.SIGABRT:  # which the arbiter sends to one that hangs
            (worker,) = (
                Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
                .read_text()
                .split()
            )
            os.kill(int(worker), number)
            time.sleep(0.5)
            number = signal.SIGTERM
        server.process.send_signal(number)
        server.process.wait(20)
    assert '"message": "GET /another 200"' in server.output()


def test_a_stalled_reader_of_the_log_stops_nothing(start: Callable[..., Server]) -> None:
    """With two processes that fill the pipe, from threads and from their main loops."""
    server = start(WEB_CONCURRENCY="2", LOG_FORMAT="json")
    request = b"GET /%s HTTP/1.1\r\nHost: x\r\nUser-Agent: %s\r\n" % (b"y" * 255, b"z" * 128)
    asked = 0
    with contextlib.ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 5))
            for _ in range(8)
        ]
        for number in range(40):
            last = number == 39
            for client in clients:
                client.sendall((request + b"\r\n") * 9)
                client.sendall(request + b"Connection: close\r\n\r\n" * last + b"\r\n" * (not last))
                asked += 10
            for client in clients:
                received = b""
                while received.count(b"\r\n\r\nok") < 10:
                    received += (data := client.recv(2**16))
                    assert data
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", server.port), 5) as client:
            client.sendall(b"x" * 70_000)
            assert client.recv(100).startswith(b"HTTP/1.1 414 ")
    time.sleep(0.3)  # for a tick

    def dropped() -> int:
        metrics = server.get("/metrics", server.metrics_port)
        return int(float(metrics.split("\nlog_lines_dropped_total ")[1].partition("\n")[0]))

    lost = dropped()
    assert lost > 500
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        printed = pool.submit(server.output)
        time.sleep(0.6)  # for another tick
        assert server.get("/") == "ok"
        assert dropped() == lost
        assert server.stop() < 3
        lines = [json.loads(line) for line in printed.result().splitlines()]
    reports = [re.match("([0-9]+) log lines were dropped", line["message"]) for line in lines]
    assert sum(int(report[1]) for report in reports if report) == lost
    shown = [line for line in lines if line["logger"] == "app.access" and "yyy" in line["path"]]
    rejected = [line for line in lines if line["message"].startswith("rejected ")]
    more = [re.match("([0-9]+) more requests rejected with 414", line["message"]) for line in lines]
    counted = sum(int(found[1]) for found in more if found)
    assert counted >= 1  # of three, by two workers
    assert len(shown) + len(rejected) + counted + lost == asked + 3
