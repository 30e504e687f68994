"""A worker of the server, run in a thread of the tests' process, on real sockets."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
import types
from typing import TYPE_CHECKING, Any, cast

import pytest
from gunicorn.config import Config

from drydock.server import hooks, lifecycle, linger, logger, loop, state, strict
from drydock.server.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GET = b"GET /%s HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /%s HTTP/1.1\r\nHost: x\r\n"


class Application:
    """What is asked for in the path; a number of bytes, in pieces if the query says so."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.closing = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, environ: Any, start_response: Any) -> Any:
        path = environ["PATH_INFO"].strip("/")
        self.entered.set()
        if path == "wait":
            self.go_on.wait(10)
        elif path == "exit":
            raise SystemExit("the application has had enough")
        elif path == "error":
            raise RuntimeError("not even a response")
        elif path == "fail":
            start_response("200 OK", [("Content-Length", "9")])
            return self.broken()
        elif path == "stream":  # the client has to see for itself whether it is whole
            start_response("200 OK", [])
            return self.endless()
        elif path.startswith("short"):
            start_response(
                environ["QUERY_STRING"].replace("%20", " ") or "200 OK", [("Content-Length", "9")]
            )
            environ |= {"app.route": f"/{path}", "app.request_id": "find-me"}
            return iter(path.removeprefix("short").encode().split(b"/"))
        size = int(path) if path.isdigit() else 1
        body = environ["wsgi.input"].read() if path == "echo" else b"x" * size
        start_response("200 OK", [("Content-Length", str(len(body)))])
        piece = 100_000 if environ["QUERY_STRING"] == "pieces" else len(body)
        return [body[at : at + piece] for at in range(0, len(body), piece)]

    def broken(self) -> Iterator[bytes]:
        yield b"x"
        raise RuntimeError("broken")

    def endless(self) -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 100_000
        finally:
            self.closing.set()
            self.go_on.wait(10)


class Running:
    """A worker at work in a thread."""

    def __init__(self, **variables: str) -> None:
        hooks.settings.cache_clear()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        config = Config()
        config.set("threads", int(variables.get("WEB_THREADS", "2")))
        config.set("keepalive", int(variables.get("WEB_KEEPALIVE", "75")))
        config.set("worker_tmp_dir", "/tmp")
        config.set("http_parser", "python")
        config.set("pre_request", strict.pre_request)
        config.set("post_request", hooks.post_request)
        self.lines: list[str] = []
        log = types.SimpleNamespace(
            **dict.fromkeys(("debug", "info", "warning", "exception", "error"), self.note),
            access=lambda *_: None,
        )
        self.application = Application()
        arguments: Any = (1, os.getppid(), [self.listener], None, 30, config, log)
        self.worker = Worker(*arguments)
        self.worker.slot = 0
        self.worker.wsgi = cast("Any", self.application)
        self.worker.build(int(variables.get("LIMIT", "100")))
        self.closing = threading.Lock()
        self.closed = False
        self.worker.pool._wake = self.wake
        self.thread = threading.Thread(target=self.run)

    def run(self) -> None:
        with contextlib.suppress(SystemExit):
            self.worker.run()

    def wake(self) -> None:
        """Wake the loop, if it is there: in a test its threads may outlive it."""
        with self.closing:
            if not self.closed:
                self.worker.loop.poller.wake()

    def close(self) -> None:
        with self.closing:
            self.closed = True
            self.worker.loop.poller.close()
        self.worker.tmp.close()
        self.listener.close()

    def note(self, message: str, *arguments: Any) -> None:
        self.lines.append(message % arguments if arguments else message)

    def end(self) -> None:
        self.worker.handle_exit(signal.SIGTERM, None)
        self.thread.join(5)
        late = self.thread.is_alive()
        # In any case it ends now, and does not go on in the next tests.
        self.worker.shutdown.arbiter_pid = -1
        self.worker.loop.wake()
        self.thread.join(5)
        assert not late

    def connect(self, sent: bytes = b"") -> socket.socket:
        with contextlib.ExitStack() as stack:
            connection = socket.create_connection(("127.0.0.1", self.port), 5)
            stack.enter_context(connection)
            connection.sendall(sent)
            stack.pop_all()
            return connection

    def ask(self, request: bytes) -> bytes:
        """All that comes until the worker closes."""
        with self.connect(request) as connection:
            return b"".join(iter(lambda: connection.recv(65536), b""))


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def closing(request: bytes) -> bytes:
    return request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Running]]:
    monkeypatch.setattr(loop, "TICK", 0.02)
    monkeypatch.setattr(linger, "LINGER", 0.3)
    monkeypatch.setattr(lifecycle, "MIN_IDLE", 0.2)
    monkeypatch.setattr("gunicorn.util.write_error", logger.write_error)
    monkeypatch.setattr(os, "_exit", sys.exit)  # or else a worker would end all tests, as passed
    monkeypatch.setenv("METRICS_PORT", "0")
    running: list[Running] = []

    def start(**variables: str) -> Running:
        for name, value in variables.items():
            if name != "LIMIT":
                monkeypatch.setenv(name, value)
        running.append(Running(**variables))
        running[-1].thread.start()
        return running[-1]

    yield start
    try:
        for each in running:
            each.application.go_on.set()
            if each.thread.is_alive():
                state.begin_end(0)
                each.end()
            each.close()
    finally:
        state.begin_end(0)
        state._page[0] = state.SERVING
        for slot in range(state.SLOTS):
            state.clear_slot(slot)
        hooks.settings.cache_clear()
