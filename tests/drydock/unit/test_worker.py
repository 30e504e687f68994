"""The worker, run in a thread of this process, on real sockets."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import datetime
import email.utils
import errno
import gc
import math
import os
import re
import resource
import select
import signal
import socket
import struct
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, cast

import pytest
from gunicorn.config import Config
from gunicorn.http.message import Request
from gunicorn.http.parser import RequestParser

from drydock import metrics
from drydock.server import (
    acceptor,
    hooks,
    lifecycle,
    linger,
    listener,
    loop,
    rejections,
    shutdown,
    state,
    strict,
)
from drydock.server.connection import CLOSING, Connection
from drydock.server.exchange import Exchange
from drydock.server.worker import Worker, capacity
from workers import GET, POST, Running, closing, eventually
from workers import run as run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from applications import Build


@contextlib.contextmanager
def standing(running: Running, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the worker's main loop stand still, just before it looks for what has had its time."""
    entered, go_on = threading.Event(), threading.Event()

    def stand() -> None:
        entered.set()
        go_on.wait(10)

    with monkeypatch.context() as patch:
        patch.setattr(running.worker.loop, "on_tick", stand)
        assert entered.wait(20)
        try:
            yield
        finally:
            go_on.set()


def whole(connection: socket.socket) -> bytes:
    """A response whose body is `x`."""
    response = b""
    while not response.endswith(b"\r\n\r\nx"):
        received = connection.recv(65536)
        assert received, "closed too early"
        response += received
    return response


def finish(running: Running) -> None:
    """Wait for the one thread that still has a request when the main loop has ended."""
    running.application.go_on.set()
    assert select.select([running.worker.loop.poller.wake_descriptor], [], [], 5)[0]
    for connection in running.worker.lifecycle.connections.values():
        connection.socket.close()


def test_requests_one_after_the_other_and_all_at_once(run: Callable[..., Running]) -> None:
    running = run()
    with running.connect(GET % b"1") as connection:
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK")
        connection.sendall((GET % b"1") * 3 + POST % b"echo" + b"Content-Length: 2\r\n\r\nab")
        responses = b""
        while not responses.endswith(b"ab"):
            responses += connection.recv(65536)
    assert running.ask(closing(GET % b"5")).endswith(b"\r\n\r\nxxxxx")
    eventually(lambda: not running.worker.lifecycle.connections)
    assert running.worker.ledger.held == 0
    assert state.has_flag(0, state.RESPONDED)


@pytest.mark.parametrize("size", [1, 2, 3, 99])
def test_empty_lines_before_a_request_are_ignored(run: Callable[..., Running], size: int) -> None:
    """RFC 9112, 2.2. However they arrive, and on kept connections too."""
    running = run()
    sent = b"\r\n" * 3 + GET % b"1"
    with running.connect() as client:
        for _ in range(2):
            for at in range(0, len(sent), size):
                client.sendall(sent[at : at + size])
                time.sleep(0.01 * (at < 8))
            assert whole(client).startswith(b"HTTP/1.1 200 ")
        client.sendall(sent + b"\r\n" * 2 + closing(GET % b"1"))
        assert whole(client).startswith(b"HTTP/1.1 200 ")
    assert running.ask(b"\r\n" * 4 + GET % b"1").startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("sent", [[b"\r\n"], [b"\r\n\r\n"], [b"\r", b"\n", b"\r"]])
@pytest.mark.parametrize("first", [b"", GET % b"1"])
def test_empty_lines_do_not_keep_a_connection(
    run: Callable[..., Running], first: bytes, sent: list[bytes]
) -> None:
    """It is closed as idle when it would have been without them, and gets no 408."""
    running = run(WEB_KEEPALIVE="1", WEB_HEAD_TIMEOUT="1" if not first else "60")
    began = time.monotonic()
    with running.connect(first) as client:
        if first:
            whole(client)
            began = time.monotonic()
        for part in sent:
            time.sleep(0.7 / len(sent))
            client.sendall(part)
        assert client.recv(100) == b""
        assert 0.9 < time.monotonic() - began < 4


@pytest.mark.parametrize("path", [b"5000000", b"5000000?pieces"])
def test_a_response_that_is_not_taken_at_once_holds_no_thread_without_need(
    run: Callable[..., Running], path: bytes
) -> None:
    running = run(WEB_THREADS="1")
    with running.connect(closing(GET % path)) as slow:
        time.sleep(0.2)
        response = b"".join(iter(lambda: slow.recv(65536), b""))
    assert len(response.partition(b"\r\n\r\n")[2]) == 5_000_000


@pytest.mark.parametrize("path", [b"8000000", b"8000000?pieces"])
def test_a_client_that_takes_nothing_is_dropped(run: Callable[..., Running], path: bytes) -> None:
    running = run(WEB_SEND_TIMEOUT="1")
    with running.connect(GET % path):
        eventually(lambda: any("dropped: send" in line for line in running.lines))
    eventually(lambda: not running.worker.lifecycle.connections)


def test_what_was_taken_of_one_response_gives_no_time_for_the_next(
    run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The first response would be worth half a minute; what the kernel's buffers take late where the
    # machine is busy, 256 kB at the most, is worth a second.
    for module in ("connection", "exchange"):
        monkeypatch.setattr(f"drydock.server.{module}.MIN_RATE", 2**18)
    running = run(WEB_SEND_TIMEOUT="1")
    with running.connect() as client:
        # What a growing buffer of the kernel's takes counts as taken, too.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
        client.sendall(GET % b"8000000")
        left = 8_000_000
        while left > 0:
            left -= len(client.recv(2**20))
        client.sendall(GET % b"stream")
        assert running.application.closing.wait(10)
        running.application.go_on.set()


def test_lines_of_the_log_are_written_in_time_though_a_request_is_in_flight(
    run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "TICK", 60)
    running = run()
    asked: list[int] = []

    def send(_now: float, *, in_flight: int) -> float:
        """As if one waited."""
        asked.append(in_flight)
        return 0.01

    monkeypatch.setattr(running.worker.loop.log, "send", send)
    with running.connect(GET % b"wait") as client:
        assert running.application.entered.wait(20)
        del asked[:]
        eventually(lambda: len(asked) > 3)
        assert set(asked) == {1}
        running.application.go_on.set()
        assert client.recv(1000)
    eventually(lambda: asked[-1] == 0)


def test_a_truncated_response_never_looks_complete(run: Callable[..., Running]) -> None:
    running = run(WEB_SEND_TIMEOUT="1", WEB_QUEUE_TIMEOUT="1", WEB_THREADS="1")
    with running.connect((GET % b"stream").replace(b"1.1", b"1.0")) as slow:
        assert running.application.closing.wait(20)
        time.sleep(0.2)  # it is past all its deadlines, and the thread still has it
        assert len(running.worker.lifecycle.connections) == 1
        running.application.go_on.set()
        eventually(lambda: not running.worker.lifecycle.connections)
        with pytest.raises(ConnectionResetError):
            collections.deque(iter(lambda: slow.recv(65536), b""), 0)
    assert b" 200 " in running.ask(closing(GET % b"1"))  # the thread is free again
    assert running.worker.ledger.held == 0


@pytest.mark.parametrize(
    ("sent", "response"),
    [
        (b"", b""),
        (b"GET", b"HTTP/1.1 408 "),
        (POST % b"echo" + b"Content-Length: 2\r\n\r\nx", b"HTTP/1.1 408 "),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000, b"HTTP/1.1 431 "),
        (b"nonsense\r\n\r\n", b"HTTP/1.1 400 "),
    ],
)
def test_each_part_of_a_request_has_a_deadline(
    run: Callable[..., Running], sent: bytes, response: bytes
) -> None:
    running = run(WEB_HEAD_TIMEOUT="1", WEB_BODY_TIMEOUT="1")
    assert running.ask(sent)[:13] == response


LENGTH = b"Content-Length: 5\r\n"
CODING = b"Transfer-Encoding: chunked\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        POST % b"echo" + LENGTH + b"Host: x\r\n\r\n",
        POST % b"echo" + LENGTH + b"Foo : 1\r\n\r\nab",
        POST % b"echo" + CODING + b"Foo : 1\r\n\r\n",
        (POST % b"echo").replace(b": x", b": x y") + LENGTH + b"\r\n",
        (POST % b"echo").replace(b": x", b": x y") + LENGTH + b"Expect: 100-continue\r\n\r\n",
        (POST % b"echo").replace(b"Host: x\r\n", b"") + LENGTH + b"\r\n",
        POST % b"echo#x" + LENGTH + b"\r\n",
        (POST % b"echo").replace(b"POST", b"GET") + LENGTH + b"Foo : 1\r\n\r\n",
        POST % b"echo" + b"Transfer-Encoding: gzip, chunked\r\n\r\n1\r\n",
        *(POST % b"echo" + CODING + b"\r\n%s\r\nab" % s for s in (b"0x20", b"+5", b"5_0", b"-5")),
    ],
)
def test_what_is_not_valid_is_rejected_as_soon_as_that_shows(
    run: Callable[..., Running], sent: bytes
) -> None:
    running = run(WEB_BODY_TIMEOUT="60")
    with running.connect(sent) as client:  # which gives up after 5 seconds
        assert client.recv(65536).startswith(b"HTTP/1.1 400 ")


def test_a_valid_head_is_parsed_in_the_main_loop_only_if_its_body_is_late(
    run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[bytes] = []

    def parse_head(cfg: Config, head: bytes, client: Any) -> Any:
        parsed.append(head)
        return real(cfg, head, client)

    real = strict.parse_head
    monkeypatch.setattr(strict, "parse_head", parse_head)
    head = closing(POST % b"echo" + LENGTH + b"\r\n")
    for tick, expected in ((60, []), (0.02, [head])):
        monkeypatch.setattr(loop, "TICK", tick)
        running = run()
        assert running.ask(closing(GET % b"1")).endswith(b"\r\n\r\nx")
        assert running.ask(head + b"abcde").endswith(b"\r\n\r\nabcde")
        assert not parsed
        with running.connect(head) as client:
            for piece in (b"abc", b"d", b"e"):
                time.sleep(0.1)
                client.sendall(piece)
            assert client.recv(65536).endswith(b"\r\n\r\nabcde")
        assert parsed == expected


def test_a_body_too_large_to_keep_is_read_by_the_thread(run: Callable[..., Running]) -> None:
    running = run(WEB_BUFFER_BYTES=str(2**20), WEB_BODY_TIMEOUT="1")
    length = b"Content-Length: 800000\r\n\r\n"
    body = b"y" * 800_000
    assert running.ask(POST % b"echo" + length + body).endswith(b"y" * 1000)
    # The thread waits in vain for the rest of this one, and makes no response.
    assert b" 200 " not in running.ask(POST % b"echo" + length + b"y")
    eventually(lambda: running.lines[-1] == "1 connections dropped: body")


@pytest.mark.parametrize("threads", [2, 1])
def test_bodies_too_large_to_keep_leave_a_thread_to_others(
    run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    running = run(
        WEB_BUFFER_BYTES=str(2**20),
        WEB_THREADS=str(threads),
        WEB_QUEUE_TIMEOUT="1",
        WEB_BODY_TIMEOUT="5",
    )
    head = POST % b"echo" + b"Content-Length: 800000\r\n\r\n"
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(running.connect(head + b"y"))
        assert running.application.entered.wait(20)
        second = stack.enter_context(running.connect(head + b"y"))
        eventually(lambda: running.worker.pool.large_queued)
        assert running.worker.pool.large_in_flight == 1
        response = running.ask(closing(GET % b"1"))
        assert (b" 200 " in response) == (threads == 2), response
        # One that has waited too long gets a 503; one that comes later gets its turn.
        assert b" 503 " in second.recv(65536)
        assert not running.worker.pool.large_queued
        patience = dataclasses.replace(running.worker.settings, web_queue_timeout=60)
        monkeypatch.setattr(running.worker.lifecycle, "settings", patience)
        with running.connect(head + b"y" * 800_000) as third:
            eventually(lambda: running.worker.pool.large_queued)
            first.sendall(b"y" * 799_999)
            for each in (first, third):
                assert b" 200 " in each.recv(65536)
    eventually(lambda: running.worker.pool.in_flight == running.worker.pool.large_in_flight == 0)


def test_bodies_too_large_to_keep_wait_only_where_there_is_memory(
    run: Callable[..., Running],
) -> None:
    running = run(WEB_BUFFER_BYTES=str(2**20), WEB_QUEUE_TIMEOUT="60", WEB_BODY_TIMEOUT="60")
    head = POST % b"echo" + b"Content-Length: 800000\r\n\r\n"
    with contextlib.ExitStack() as stack:
        for _ in range(80):
            with contextlib.suppress(ConnectionError):
                stack.enter_context(running.connect(head + b"y" * 30_000))  # read as one
        eventually(lambda: any("dropped: overload" in line for line in running.lines))
        eventually(lambda: len(running.worker.lifecycle.connections) < 40)
        assert running.worker.ledger.held < 2**20 + 2**16


@pytest.mark.parametrize("size", [3, 800_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_client_that_waits_for_a_100_gets_one(
    run: Callable[..., Running],
    size: int,
    chunked: bool,
) -> None:
    running = run(WEB_BUFFER_BYTES=str(2**20), WEB_BODY_TIMEOUT="1")
    body = b"y" * size
    length = b"Content-Length: %d\r\n" % size
    if chunked:
        length = b"Transfer-Encoding: chunked\r\n"
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (size, body)
    expect = b"Expect: 100-continue\r\nConnection: close\r\n" + length + b"\r\n"
    with running.connect(POST % b"echo" + expect) as connection:
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        response = b"".join(iter(lambda: connection.recv(65536), b""))
    assert response.startswith(b"HTTP/1.1 200 OK")
    assert response.endswith(b"y" * size)


@pytest.mark.parametrize("size", [3, 200_000])
def test_http_1_0_knows_no_100(run: Callable[..., Running], size: int) -> None:
    running = run(WEB_BUFFER_BYTES=str(2**20))
    expect = b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % size
    with running.connect((POST % b"echo" + expect).replace(b"1.1", b"1.0", 1)) as connection:
        time.sleep(0.1)
        connection.sendall(b"y" * size)
        assert connection.recv(65536).startswith(b"HTTP/1.0 200 OK")


def test_what_a_client_sends_too_much_is_read_so_that_it_gets_its_response(
    run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    running = run(MAX_BODY_BYTES="1000")
    head = POST % b"1" + b"Content-Length: 3000000\r\n\r\n"
    assert running.ask(head + b"z" * 3_000_000).startswith(b"HTTP/1.1 413 ")
    monkeypatch.setattr(linger, "LINGER_BYTES", 1000)
    with contextlib.suppress(ConnectionError):
        running.ask(head + b"z" * 3_000_000)
    with running.connect(closing(GET % b"1") + b"and more") as connection:
        time.sleep(0.1)
        with contextlib.suppress(ConnectionError):
            connection.sendall(b"and still more")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK")


def slow_reader(running: Running, sent: bytes) -> socket.socket:
    """A client whose kernel takes little of a response before it is read."""
    client = socket.socket()
    client.settimeout(5)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    client.connect(("127.0.0.1", running.port))
    client.sendall(sent)
    return client


def read_slowly(client: socket.socket) -> bytes:
    """All that comes, in some tenths of a second at least."""
    received = b""
    while data := client.recv(2048):
        received += data
        time.sleep(0.01)
    return received


@pytest.mark.parametrize("pause", [0.1, 0.6])
@pytest.mark.parametrize("close", ["asked for", "of the worker"])
def test_what_arrives_after_the_close_does_not_cut_the_response_off(
    run: Callable[..., Running], close: str, pause: float
) -> None:
    """A client that sends its next request before it has read the response (RFC 9112, 9.6)."""
    running = run(GRACEFUL_TIMEOUT="5")
    request = GET % b"65536"
    with slow_reader(running, closing(request) if close == "asked for" else request) as client:
        if close == "of the worker":
            eventually(lambda: running.worker.nr and running.worker.lifecycle.idle)
            state.begin_end(0)
            running.worker.handle_exit(signal.SIGTERM, None)
        connections = running.worker.lifecycle.connections
        eventually(
            lambda: running.worker.nr and all(c.state == CLOSING for c in connections.values())
        )
        received = b""
        until = time.monotonic() + pause  # so that the client is slow, but does not stand still
        while time.monotonic() < until:
            received += client.recv(2048)
            time.sleep(0.05)
        client.sendall(GET % b"1")
        received += read_slowly(client)
    assert received.endswith(b"\r\n\r\n" + b"x" * 65536)
    assert received.count(b"HTTP/1.1 ") == 1
    eventually(lambda: not running.worker.lifecycle.connections)


def test_an_idle_client_that_is_gone_ends_no_worker(
    run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    running = run()
    with running.connect() as client:
        eventually(lambda: running.worker.lifecycle.idle)
        (connection,) = running.worker.lifecycle.idle
        with standing(running, monkeypatch):
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()  # by a reset, which comes after the last look
            time.sleep(0.1)
            running.worker.lifecycle.close_idle(connection)
            assert not running.worker.lifecycle.connections


def test_a_client_that_takes_nothing_of_the_end_is_not_waited_for_long(
    run: Callable[..., Running],
) -> None:
    running = run()
    with slow_reader(running, closing(GET % b"65536")):
        connections = running.worker.lifecycle.connections
        eventually(lambda: [c for c in connections.values() if c.state == CLOSING])
        time.sleep(0.1)
        assert connections
        eventually(lambda: not connections)


def test_a_client_that_takes_the_end_byte_by_byte_is_not_waited_for_without_end(
    run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    running = run(WEB_SEND_TIMEOUT="1")
    monkeypatch.setattr(linger, "LINGER", 60)
    with slow_reader(running, closing(GET % b"65536")) as client:
        connections = running.worker.lifecycle.connections
        eventually(lambda: [c for c in connections.values() if c.state == CLOSING])
        began = time.monotonic()
        while connections:
            client.recv(1024)
            time.sleep(0.1)
        assert 0.5 < time.monotonic() - began < 5


def test_a_client_that_has_taken_all_and_holds_its_side_open_is_not_waited_for(
    run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    running = run()
    monkeypatch.setattr(linger, "LINGER", 60)
    with running.connect(closing(GET % b"65536")) as client:
        assert read_slowly(client).endswith(b"x" * 65536)
        eventually(lambda: not running.worker.lifecycle.connections)


def test_a_request_waits_for_a_thread_no_longer_than_it_may(run: Callable[..., Running]) -> None:
    running = run(WEB_THREADS="1", WEB_QUEUE_TIMEOUT="1")
    with running.connect(GET % b"wait"):
        assert running.application.entered.wait(20)
        with running.connect(GET % b"1") as waiting:
            eventually(lambda: running.worker.pool.queued)
            assert running.ask(closing(GET % b"livez")).endswith(b'{"status":"ok"}\n')
            rejected = b"".join(iter(lambda: waiting.recv(65536), b""))
        assert rejected.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"Retry-After: 5\r\n" in rejected
        assert b"\r\nX-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n" in rejected
        check_date(rejected)
        rejected = running.ask(b"HEAD" + (GET % b"1").removeprefix(b"GET"))
        assert rejected.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert rejected.endswith(b"\r\n\r\n")  # RFC 9110, 9.3.2: without a body
        eventually(lambda: any("dropped: overload" in line for line in running.lines))
        running.application.go_on.set()


def test_a_probe_gets_a_response_for_as_long_as_threads_may_be_busy(
    run: Callable[..., Running],
) -> None:
    """However long the worker was idle before; but not when they hang."""
    running = run(WEB_THREADS="1", WEB_QUEUE_TIMEOUT="1")
    eventually(lambda: running.worker.pool.last_progress)
    long_ago = time.monotonic() - running.worker.cfg.timeout
    running.worker.pool.last_progress = long_ago
    with running.connect(GET % b"wait"):
        assert running.application.entered.wait(20)
        assert b" 200 " in running.ask(closing(GET % b"livez"))
        running.worker.pool.last_progress = long_ago
        assert b" 503 " in running.ask(GET % b"livez")
        running.application.go_on.set()


PROBE = b"GET /livez HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /livez GARBAGE\r\nHost: x\r\n\r\n",
        PROBE.replace(b"1.1", b"2.0") + b"\r\n",
        b"GET /livez HTTP/1.1\r\n\r\n",
        PROBE + b"Host: y\r\n\r\n",
        PROBE + b"Name : value\r\n\r\n",
        PROBE + b"Content-Length: 2\r\n\r\nab",
        PROBE + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        PROBE + b"Content-Length: 0\r\n\r\n",
        PROBE + b"Content-Length: +0\r\n\r\n",
        PROBE + b"Expect: something\r\n\r\n",
        PROBE + b"\xff: value\r\n\r\n",
        PROBE + b"Name: a\x00b\r\n\r\n",
        PROBE.replace(b"Host: x", b"Host: x y") + b"\r\n",
        PROBE + b"\r\n" + PROBE + b"\r\n",
    ],
)
def test_only_a_plain_probe_gets_a_response_without_a_thread(
    run: Callable[..., Running], request_: bytes
) -> None:
    running = run(WEB_THREADS="1", WEB_QUEUE_TIMEOUT="1")
    with running.connect(GET % b"wait"):
        assert running.application.entered.wait(20)
        fields = b"User-Agent: kube-probe/1.33\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        response = running.ask(PROBE + fields)
        assert response.startswith(b"HTTP/1.1 200 ")
        assert b"\r\nX-Request-ID: " in response
        assert running.ask(request_).startswith(b"HTTP/1.1 503 ")
        running.application.go_on.set()


DATE = re.compile(rb"\r\nDate: ([A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT)\r\n")
NEW_ID = re.compile(rb"\r\nX-Request-ID: [0-9a-f]{32}\r\n")


def check_date(response: bytes) -> None:
    """RFC 9110, 6.6.1: a server with a clock sends one."""
    (date,) = DATE.findall(response)
    then = email.utils.parsedate_to_datetime(date.decode())
    assert abs(datetime.datetime.now(datetime.UTC) - then) < datetime.timedelta(minutes=1)


@pytest.mark.parametrize(
    ("request_", "keeps"),
    [
        (PROBE + b"X-Request-ID: find-me\r\n\r\n", True),
        (PROBE + b"X-Request-ID: find-me\r\nConnection: close\r\n\r\n", False),
        (PROBE + b"X-Request-ID: find-me\r\nX-Request-ID: or-me\r\n\r\n", True),
        (PROBE + b"X-Request-ID: <script>\r\nUser-Agent: kube-probe/1.33\r\n\r\n", True),
        (PROBE.replace(b"1.1", b"1.0") + b"X-Request-ID: find-me\r\n\r\n", False),
        (PROBE.replace(b"1.1", b"1.0") + b"Connection: keep-alive\r\n\r\n", True),
        (PROBE.replace(b"1.1", b"1.2") + b"\r\n", True),
    ],
)
def test_the_server_s_response_to_a_probe_is_the_application_s_byte_for_byte(
    run: Callable[..., Running], build: Build, request_: bytes, keeps: bool
) -> None:
    running = run(WEB_THREADS="1", WEB_QUEUE_TIMEOUT="1")
    service = build()
    running.worker.wsgi = cast(
        "Any",
        lambda environ, start: (
            running.application if environ["PATH_INFO"] == "/wait" else service
        )(environ, start),
    )

    def ask() -> bytes:
        """The response; Date's value and an id that is new each time are left out."""
        with running.connect(request_) as client:
            response = client.recv(65536)
            check_date(response)
            if keeps:
                client.sendall(request_)
                assert client.recv(65536).startswith(b"HTTP/1.")
            else:
                assert client.recv(1) == b""
        return NEW_ID.sub(b"\r\nX-Request-ID: new\r\n", DATE.sub(b"\r\nDate: now\r\n", response))

    theirs = ask()
    with running.connect(GET % b"wait"):
        assert running.application.entered.wait(20)
        before = running.worker.nr
        assert ask() == theirs
        assert running.worker.nr == before  # no thread made it
        running.application.go_on.set()


def test_while_it_ends_no_connection_is_kept_for_a_probe(run: Callable[..., Running]) -> None:
    running = run(WEB_THREADS="1")
    with running.connect(GET % b"wait"):
        assert running.application.entered.wait(20)
        with running.connect(PROBE + b"\r\n") as client:
            assert b"\r\nConnection: keep-alive\r\n" in client.recv(65536)
        state.begin_drain()
        assert b"\r\nConnection: close\r\n" in running.ask(PROBE + b"\r\n")
        running.application.go_on.set()


def test_the_port_of_the_metrics_serves_these_and_no_probe_while_all_threads_are_busy(
    run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an overload Prometheus would else see nothing; and not of a hang either."""
    running = run(WEB_THREADS="1", WEB_QUEUE_TIMEOUT="1")
    with running.connect(GET % b"wait"):
        assert running.application.entered.wait(20)
        assert running.ask(GET % b"metrics").startswith(b"HTTP/1.1 503 ")  # not at this port
        monkeypatch.setattr(running.worker.probes, "metrics_port", running.port)
        assert running.ask(PROBE + b"\r\n").startswith(b"HTTP/1.1 503 ")
        running.worker.pool.last_progress = time.monotonic() - running.worker.cfg.timeout
        response = running.ask(closing(GET % b"metrics"))
        assert response.startswith(b"HTTP/1.1 200 ")
        assert b"\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n" in response
        head, _, body = response.partition(b"\r\n\r\n")
        assert f"\r\nContent-Length: {len(body)}\r\n".encode() in head
        assert b"\nhttp_requests_queued " in body
        assert running.ask(POST % b"metrics" + b"\r\n").startswith(b"HTTP/1.1 503 ")
        running.application.go_on.set()


def test_a_broken_chunk_that_nobody_reads_ends_the_connection_without_a_second_response(
    run: Callable[..., Running], caplog: pytest.LogCaptureFixture
) -> None:
    running = run()
    chunked = POST % b"1" + b"Transfer-Encoding: chunked\r\n\r\n%s\r\nx\r\n0\r\n\r\n"
    assert running.ask(chunked % b"+1").count(b"HTTP/1.1 ") == 1
    assert running.ask(chunked % b"1;").count(b"HTTP/1.1 ") == 1
    assert "closed the connection of ('127.0.0.1', " in caplog.text
    assert running.ask(chunked % b"1" + closing(GET % b"1")).count(b"HTTP/1.1 200 ") == 2


def test_an_application_that_breaks_takes_no_thread_with_it(run: Callable[..., Running]) -> None:
    running = run(WEB_THREADS="1")
    for path in (b"exit", b"fail"):
        for _ in range(2):
            assert b"x" * 9 not in running.ask(GET % path)
    assert b" 200 " in running.ask(closing(GET % b"1"))


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"HEAD /1 HTTP/1.1\r\n\r\n", 400),
        (b"HEAD /1 HTTP/1.1\r\nHost: x\r\nFoo : 1\r\n\r\n", 400),
        (b"HEAD /1 HTTP/9.9\r\n\r\n", 400),
        (b"HEAD nonsense\r\n\r\n", 400),
        (b"\r\n" * 3 + b"HEAD nonsense\r\n\r\n", 400),
        (b"HEAD /" + b"x" * 8190 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"HEAD /" + b"x" * 70_000, 414),
        (b"HEAD /1 HTTP/1.1\r\nHost: x\r\nExpect: x\r\n\r\n", 417),
        (b"HEAD /1 HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 9000 + b"\r\n\r\n", 431),
        (b"HEAD /1 HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 70_000, 431),
        (b"HEAD /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n", 413),
        (b"HEAD /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab", 408),
        (b"HEAD /1 HTTP/1.1\r\nHost: x\r\n", 408),
        (b"HEAD /error HTTP/1.1\r\nHost: x\r\n\r\n", 500),
    ],
)
def test_no_response_to_a_head_has_a_body(
    run: Callable[..., Running], request_: bytes, status: int
) -> None:
    """RFC 9110, 9.3.2: a proxy would take it for the response to its next request."""
    running = run(WEB_HEAD_TIMEOUT="1", WEB_BODY_TIMEOUT="1", MAX_BODY_BYTES="1000")
    response = running.ask(request_)
    check_date(response)
    assert response.startswith(b"HTTP/1.1 %d " % status)
    assert response.index(b"\r\n\r\n") == len(response) - 4
    assert b"\r\nContent-Length: " in response
    # The same, asked for by GET, has one.
    response = running.ask(request_.replace(b"HEAD", b"GET"))
    assert b'"status": %d' % status in response.partition(b"\r\n\r\n")[2]


def test_rejections_do_not_flood_the_log(
    run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The first of a status at once, then counts; the metrics have them all."""

    def counted(status: int) -> float:
        return float(metrics.rejected.labels(str(status))._value.get())

    def lines(level: str) -> list[str]:
        # Without the client's address and the reason.
        return [r.getMessage().partition(": ")[0] for r in caplog.records if r.levelname == level]

    monkeypatch.setattr(rejections, "INTERVAL", 60)
    caplog.set_level("DEBUG", "app.server")
    rejections.rejections.report(math.inf)
    before = {status: counted(status) for status in (400, 413, 414, 431)}
    running = run(MAX_BODY_BYTES="1000")
    asked = {
        400: b"nonsense\r\n\r\n",
        413: POST % b"1" + b"Content-Length: 1001\r\n\r\n",
        414: b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        431: b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000,
    }
    ids = set()
    for status, sent in asked.items():
        for _ in range(20):
            response = running.ask(sent)
            assert b" %d " % status in response.partition(b"\r\n")[0]
            ids.add(response.partition(b'"request_id": "')[2][:32])
    firsts = [f"rejected 127.0.0.1 with {status}" for status in asked]
    assert lines("WARNING") == firsts
    assert len(lines("DEBUG")) == 4 * 19
    assert len(ids) == 4 * 20
    assert {status: counted(status) - before[status] for status in asked} == dict.fromkeys(
        asked, 20
    )
    # Once their time is over there is a line for all of a status, and the next is a first again.
    monkeypatch.setattr(rejections.rejections, "_until", dict.fromkeys(asked, 0.0))
    sums = [f"19 more requests rejected with {status}" for status in asked]
    eventually(lambda: len(lines("WARNING")) == 8)
    assert sorted(lines("WARNING")) == sorted(firsts + sums)
    running.ask(asked[400])
    running.ask(asked[400])
    assert lines("WARNING")[8:] == firsts[:1]
    state.begin_end(0)
    running.end()  # what is left to say it says at its end
    assert lines("WARNING")[9:] == ["1 more requests rejected with 400"]


def test_failures_of_the_application_are_never_only_counted(
    run: Callable[..., Running], caplog: pytest.LogCaptureFixture
) -> None:
    running = run()
    for _ in range(3):
        assert b" 500 " in running.ask(GET % b"error")
    lines = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [line.partition(": ")[0] for line in lines] == ["rejected 127.0.0.1 with 500"] * 3


@pytest.mark.parametrize("path", [b"short", b"short/1234", b"short/1234/5678"])
def test_nothing_follows_a_response_that_is_shorter_than_its_length(
    run: Callable[..., Running], caplog: pytest.LogCaptureFixture, path: bytes
) -> None:
    """A client would take the next response for the rest of this one."""
    running = run(WEB_THREADS="1")
    hooks._short.clear()
    for _ in range(2):
        response = running.ask(GET % path + closing(GET % b"1"))
        head, _, body = response.partition(b"\r\n\r\n")
        assert b"\r\nContent-Length: 9" in head
        assert body == path.removeprefix(b"short").replace(b"/", b"")
    with running.connect(GET % path) as later:
        assert b"".join(iter(lambda: later.recv(65536), b"")).endswith(body)
        with contextlib.suppress(ConnectionError):
            later.sendall(GET % b"1")
            assert later.recv(65536) == b""
    (record,) = caplog.records  # of the application's faults, each is in the log once
    assert record.levelname == "ERROR"
    assert f"GET /{path.decode()} has {len(body)} bytes and" in record.getMessage()
    assert record.getMessage().startswith("the application's response")


def test_a_response_without_content_is_not_too_short(
    run: Callable[..., Running], caplog: pytest.LogCaptureFixture
) -> None:
    running = run()
    hooks._short.clear()
    requests = [
        b"HEAD /short HTTP/1.1\r\nHost: x\r\n\r\n",
        GET % b"short?304 Not Modified".replace(b" ", b"%20"),
        GET % b"short?204%20No%20Content",
        GET % b"short/12345/6789",
        GET % b"short/12345/6789/more-than-is-said",
    ]
    assert running.ask(b"".join(requests) + closing(GET % b"1")).count(b"HTTP/1.1 ") == 6
    # One that is closed for another reason is no fault of the application's.
    assert b" 200 " in running.ask(GET % b"fail")
    with running.connect(GET % b"stream") as gone:
        gone.recv(1)
    assert running.application.closing.wait(20)
    running.application.go_on.set()
    assert not caplog.records


def test_for_one_too_many_another_is_closed(run: Callable[..., Running]) -> None:
    running = run(LIMIT="2")
    with running.connect(b"GET") as partial, running.connect() as silent:
        eventually(
            lambda: (
                len(running.worker.lifecycle.receiving) == len(running.worker.lifecycle.idle) == 1
            )
        )
        time.sleep(0.3)  # until both have been there for long enough
        with running.connect() as third:
            assert silent.recv(1) == b""
            running.worker.acceptor.limit = 1
            eventually(lambda: running.worker.lifecycle.idle)
            time.sleep(0.3)
            with running.connect(GET % b"wait"):
                assert third.recv(1) == b""
                assert running.application.entered.wait(20)
                with running.connect(GET % b"1") as late:
                    assert partial.recv(1) == b""
                    assert whole(late).startswith(b"HTTP/1.1 200")
                    with running.connect(GET % b"1") as waiting:
                        assert late.recv(1) == b""
                        assert whole(waiting).startswith(b"HTTP/1.1 200")
                eventually(lambda: len(running.worker.lifecycle.connections) == 1)
                with running.connect(GET % b"1") as patient:
                    eventually(lambda: running.worker.acceptor.paused)
                    running.application.go_on.set()
                    running.worker.acceptor.limit = 2
                    assert patient.recv(65536).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("last", [True, False])
def test_of_more_clients_than_it_may_hold_none_loses_a_request(
    run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch, last: bool
) -> None:
    monkeypatch.setattr(lifecycle, "MIN_IDLE", 60)
    running = run(LIMIT="4")
    responses: list[bytes] = []

    def ask() -> None:
        connection = running.connect()
        for _ in range(20):
            connection.sendall(closing(GET % b"1") if last else GET % b"1")
            responses.append(whole(connection))
            if b"Connection: close" in responses[-1]:
                connection.close()
                connection = running.connect()
        connection.close()

    clients = [threading.Thread(target=ask) for _ in range(16)]
    for client in clients:
        client.start()
    for client in clients:
        client.join(5)
    assert len(responses) == 16 * 20


def test_it_looks_for_a_request_before_it_closes_an_idle_connection(
    run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    running = run()
    with running.connect() as silent:
        eventually(lambda: running.worker.lifecycle.idle)
        connection = next(iter(running.worker.lifecycle.idle))
        with standing(running, monkeypatch):
            silent.sendall(GET % b"1")
            time.sleep(0.3)
            assert not running.worker.acceptor.make_room()
            assert connection not in running.worker.lifecycle.idle
        assert whole(silent)


@pytest.mark.parametrize("sent", [b"", b"GET /1"])
def test_what_came_in_time_counts_when_the_loop_stood_still(
    run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    running = run()
    request = GET % b"1"
    with running.connect(sent) as client:
        eventually(
            lambda: running.worker.lifecycle.receiving if sent else running.worker.lifecycle.idle
        )
        (connection,) = running.worker.lifecycle.connections.values()
        with standing(running, monkeypatch):
            client.sendall(request[len(sent) :])
            time.sleep(0.1)
            connection.deadline = 0.0
        assert whole(client).startswith(b"HTTP/1.1 200")


def test_at_the_end_it_accepts_all_that_wait_but_no_more_than_it_may_hold(
    run: Callable[..., Running],
) -> None:
    running = run(LIMIT="2", WEB_THREADS="1")
    most = 0
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(running.connect(GET % b"wait")) for _ in range(10)]
        assert running.application.entered.wait(20)
        state.begin_end(0)
        running.worker.handle_exit(signal.SIGTERM, None)
        for _ in range(20):
            time.sleep(0.02)
            most = max(most, len(running.worker.lifecycle.connections))
        running.application.go_on.set()
        for client in clients:
            assert b"Connection: close" in whole(client)
    assert most == 2
    running.thread.join(5)
    assert not running.thread.is_alive()


def test_without_file_descriptors_it_makes_room_or_waits(
    run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "MIN_IDLE", 60)
    running = run()

    class Full:
        def __init__(self, number: int) -> None:
            self.number = number

        def accept(self) -> None:
            raise OSError(self.number, os.strerror(self.number))

    def accepts(number: int) -> bool:
        return running.worker.acceptor.accept(Full(number))  # type: ignore[arg-type]

    with running.connect() as silent:
        eventually(lambda: running.worker.lifecycle.idle)
        with standing(running, monkeypatch):
            assert not accepts(errno.EAGAIN)
            assert accepts(errno.ECONNABORTED)
            assert not accepts(errno.EMFILE)
            running.worker.lifecycle.min_idle = 0
            running.worker.acceptor.makes_room = False
            assert not accepts(errno.EMFILE)
            running.worker.acceptor.makes_room = True
            assert accepts(errno.EMFILE)
        assert silent.recv(1) == b""


@pytest.fixture
def beside(run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Running]:
    """Start a worker beside another, which has no connections."""

    def start(patience: float) -> Running:
        monkeypatch.setattr(acceptor, "YIELD", patience)
        monkeypatch.setattr(acceptor, "YIELD_PAUSE", 60)
        running = run()
        state.set_flag(1, state.ACCEPTING)
        return running

    return start


def test_a_connection_is_left_to_a_worker_with_fewer(beside: Callable[..., Running]) -> None:
    running = beside(60)
    with running.connect(), running.connect():
        eventually(lambda: state.has_flag(0, state.YIELDING))
        time.sleep(0.1)
        assert len(running.worker.lifecycle.connections) == 1
        state.set_connections(
            1, 1
        )  # the other one has taken another connection: now it is this one's turn
        eventually(lambda: len(running.worker.lifecycle.connections) == 2)
        assert not state.has_flag(0, state.YIELDING)


def test_a_connection_is_not_left_to_a_worker_that_hangs(beside: Callable[..., Running]) -> None:
    running = beside(0.2)
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(running.connect())
        eventually(lambda: len(running.worker.lifecycle.connections) == 20)
    assert 0.2 <= time.monotonic() - began < 2  # waited for once, not for each


def test_which_worker_has_fewer_connections() -> None:
    def count(own: int, other: int, *said: int) -> bool:
        state.set_connections(0, own)
        state.set_connections(5, other)
        for bit in said:
            state.set_flag(5, bit)
        fewer = state.another_has_fewer_connections(0)
        state.clear_slot(0)
        state.clear_slot(5)
        return fewer

    assert count(1, 0, state.ACCEPTING)
    assert not count(1, 0)  # it takes none
    assert not count(1, 1, state.ACCEPTING)
    assert not count(80, 70, state.ACCEPTING)
    assert count(80, 69, state.ACCEPTING)
    assert not count(3, 0, state.ACCEPTING, state.YIELDING)
    assert count(4, 0, state.ACCEPTING, state.YIELDING)
    assert not count(100_000, state.FULL, state.ACCEPTING)


def test_memory_is_bounded(run: Callable[..., Running]) -> None:
    running = run(WEB_BUFFER_BYTES=str(2**20), WEB_THREADS="4")
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(running.connect(GET % b"4000000"))
        eventually(lambda: any("dropped: memory" in line for line in running.lines))
    head = POST % b"echo" + b"Content-Length: 131072\r\n\r\n"
    with contextlib.ExitStack() as stack:
        for _ in range(40):
            with contextlib.suppress(ConnectionError):
                stack.enter_context(running.connect(head + b"x" * 130_000))
        eventually(lambda: running.worker.lifecycle.parked)
        assert running.worker.ledger.held < 2**20 + 40 * 2**16  # each may have read once more
        eventually(
            lambda: running.worker.ledger.held <= 2**20 and not running.worker.lifecycle.parked
        )


def test_a_parked_connection_that_is_served_is_no_longer_parked(
    run: Callable[..., Running],
) -> None:
    """Making room for another reads from it; what waits for memory must not be there twice."""
    running = run(WEB_BUFFER_BYTES=str(2**20))
    parts = running.worker.lifecycle
    with running.connect(POST % b"echo" + b"Content-Length: 4\r\n\r\nab") as client:
        eventually(lambda: parts.receiving)
        (parked,) = parts.receiving
        parts.parked[parked] = None
        client.sendall(b"cd")
        assert b"200 OK" in client.recv(65536)
        eventually(lambda: parked in parts.idle)
        assert parked not in parts.parked


@pytest.mark.parametrize("size", [1_000_000, 100_000, 10, 1])
def test_what_is_kept_is_no_more_than_twice_what_is_counted(size: int) -> None:
    def kept() -> int:
        """Bytes; each object counts once, with what Python itself needs for it."""
        objects = {id(piece.obj): piece.obj for piece in connection.unsent}
        return sum(map(sys.getsizeof, [*objects.values(), *connection.unsent]))

    near, far = socket.socketpair()
    with near, far:
        connection = Connection(near, ("x", 1), ("y", 2))
        exchange = Exchange(connection, 1, 1)
        made = bytearray()
        while connection.unsent_bytes < 200_000:
            made += (piece := bytes([len(made) % 251]) * size)
            exchange.send(piece)
        taken = bytearray()
        while connection.unsent:
            assert connection.unsent_bytes == sum(map(len, connection.unsent))
            assert kept() <= 2 * connection.unsent_bytes + 500
            taken += far.recv(30_000)
            connection.send_unsent()
        while len(taken) < len(made):
            taken += far.recv(2**20)
    assert taken == made


def test_it_ends_when_all_are_served_and_loses_no_request(
    run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "MIN_IDLE", 5)
    running = run()
    with running.connect(GET % b"wait") as busy, running.connect(GET % b"1") as kept:
        assert kept.recv(65536).startswith(b"HTTP/1.1 200")
        eventually(lambda: len(running.worker.lifecycle.idle) == 1)
        state.begin_end(0)
        running.worker.handle_exit(signal.SIGTERM, None)
        eventually(lambda: not running.worker.acceptor.listeners)
        with pytest.raises(ConnectionRefusedError):
            running.connect()
        kept.sendall(GET % b"1")
        response = b"".join(iter(lambda: kept.recv(65536), b""))
        assert b"Connection: close" in response
        running.application.go_on.set()
        assert b"Connection: close" in busy.recv(65536)
    running.thread.join(5)
    assert not running.thread.is_alive()


def test_the_last_worker_waits_for_the_others(
    run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    running = run()
    state.set_flag(1, state.ACCEPTING)
    state.begin_end(0)
    time.sleep(0.2)
    assert running.worker.acceptor.listeners
    state.clear_flag(1, state.ACCEPTING)
    running.thread.join(5)
    assert not running.thread.is_alive()
    monkeypatch.setattr(acceptor, "plug", lambda _: False)
    monkeypatch.setattr(shutdown, "PLUG_TIMEOUT", 0.2)
    state.begin_drain()
    stubborn = run()
    state.begin_end(0)
    stubborn.thread.join(5)
    assert not stubborn.thread.is_alive()


def test_a_worker_that_is_replaced_leaves_the_queue_to_others(run: Callable[..., Running]) -> None:
    running = run()
    with running.connect() as silent:
        eventually(lambda: running.worker.lifecycle.idle)
        running.worker.handle_exit(signal.SIGTERM, None)
        eventually(lambda: not running.worker.acceptor.listeners)
        silent.sendall(GET % b"1")
        assert b"Connection: close" in silent.recv(65536)
    running.thread.join(5)
    assert not running.thread.is_alive()


def test_a_worker_that_is_replaced_finishes_what_it_has(
    run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    """GRACEFUL_TIMEOUT is the service's, and begins when the service ends."""
    left: list[int] = []

    def leave(status: int) -> None:
        left.append(status)
        raise SystemExit(status)

    monkeypatch.setattr(os, "_exit", leave)
    running = run(GRACEFUL_TIMEOUT="1")
    with running.connect(GET % b"wait") as busy, running.connect(GET % b"1") as kept:
        assert whole(kept)
        assert running.application.entered.wait(20)
        running.worker.handle_exit(signal.SIGTERM, None)
        began = time.monotonic()
        assert kept.recv(1) == b""
        assert time.monotonic() - began < 0.9
        time.sleep(1.2)
        state.begin_end(0)
        time.sleep(0.5)
        running.application.go_on.set()
        assert b"Connection: close" in whole(busy)
    running.thread.join(5)
    assert not running.thread.is_alive()
    assert not left


def test_a_worker_that_is_replaced_does_not_stay_for_ever(
    run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutdown, "REPLACED_TIMEOUT", 0.3)
    running = run()
    with running.connect(GET % b"wait"):
        assert running.application.entered.wait(20)
        running.worker.handle_exit(signal.SIGTERM, None)
        running.thread.join(5)
        assert not running.thread.is_alive()
        assert running.lines[-1] == "1 requests were cut off long after their worker was replaced"
        finish(running)


def test_what_takes_too_long_is_cut_off(run: Callable[..., Running]) -> None:
    running = run(GRACEFUL_TIMEOUT="1")
    with running.connect(GET % b"wait"):
        assert running.application.entered.wait(20)
        state.begin_end(0)
        running.thread.join(5)
        assert not running.thread.is_alive()
        assert running.lines[-1] == "1 requests were cut off by GRACEFUL_TIMEOUT"
        finish(running)
    with pytest.raises(SystemExit):
        running.worker.handle_quit(signal.SIGQUIT, None)


def test_nothing_of_a_request_waits_for_the_garbage_collector(run: Callable[..., Running]) -> None:
    """Cycles do: they cost time, and a worker's memory grew by 6 % in 200,000 requests."""
    running = run()

    def left() -> list[object]:
        return [o for o in gc.get_objects() if isinstance(o, (Exchange, Request, RequestParser))]

    gc.collect()
    gc.freeze()  # what other tests have left does not count
    gc.disable()
    try:
        for _ in range(5):
            assert b" 200 " in running.ask(closing(GET % b"1"))
        eventually(lambda: not left())
    finally:
        gc.enable()
        gc.unfreeze()


def test_it_asks_for_a_successor_once_and_ends_without_its_arbiter(
    run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *arguments: sent.append(arguments))
    running = run()
    running.worker.recycle_after = 3
    for _ in range(2):
        assert b" 200 " in running.ask(closing(GET % b"1"))
    time.sleep(0.1)
    assert running.worker.nr == 2
    assert not state.has_flag(0, state.WANTS_SUCCESSOR)
    # At once: by the next tick a busy worker would have served hundreds more.
    running.worker.loop.next_tick = time.monotonic() + 60
    assert b" 200 " in running.ask(closing(GET % b"1"))
    eventually(lambda: sent)
    assert state.has_flag(0, state.WANTS_SUCCESSOR)
    assert sent == [(os.getppid(), signal.SIGWINCH)]
    running.worker.shutdown.arbiter_pid = -1
    running.worker.loop.wake()
    running.thread.join(5)
    assert not running.thread.is_alive()
    running.listener.close()


def test_it_takes_as_many_connections_as_files_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: dict[str, Any] = {"now": (1024, 20_000)}
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits["now"])
    monkeypatch.setattr(resource, "setrlimit", lambda _, new: limits.update(now=new))
    assert capacity(10_000, 4) == 10_000
    assert limits["now"] == (10_080, 20_000)
    assert capacity(100, 4) == 100
    assert limits["now"] == (10_080, 20_000)
    limits["now"] = (1024, 4096)
    assert capacity(10_000, 4) == 4096 - 80
    limits["now"] = (64, 64)
    assert capacity(10_000, 4) == 16
    limits["now"] = (64, resource.RLIM_INFINITY)
    assert capacity(10_000, 4) == 10_000


def test_it_does_not_start_with_tls() -> None:
    config = Config()
    Worker.check_config(config, None)  # type: ignore[arg-type]
    config.set("certfile", "x")
    with pytest.raises(SystemExit, match="does not speak TLS"):
        Worker.check_config(config, None)  # type: ignore[arg-type]


def test_gunicorn_sees_a_socket_that_leaves_all_else_to_the_loop() -> None:
    near, far = socket.socketpair()
    with near, far:
        exchange = Exchange(Connection(near, ("x", 1), ("y", 2)), 1, 1)
        exchange.setblocking(True)
        exchange.settimeout(5)
        exchange.close()
        assert exchange.gettimeout() == 0
        assert exchange.getpeername() == ""
        with pytest.raises(OSError, match="main loop"):
            exchange.shutdown(socket.SHUT_WR)
        far.sendall(b"x")
        assert exchange.recv(5) == b"x"


def test_a_head_goes_out_with_what_follows() -> None:
    """A proxy that gets a head, and then nothing, can no longer retry elsewhere."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        exchange = Exchange(Connection(ours, ("", 0), ("", 0)), 1, 1)
        exchange.sendall(b"head ")
        with pytest.raises(BlockingIOError):
            theirs.recv(100)
        exchange.sendall(b"body ")
        assert theirs.recv(100) == b"head body "
        exchange.sendall(b"more")
        exchange.flush()
        assert theirs.recv(100) == b"more"
        alone = Exchange(Connection(ours, ("", 0), ("", 0)), 1, 1)
        alone.send(b"interim ")
        alone.sendall(b"head")
        assert theirs.recv(100) == b"interim "
        alone.flush()
        assert theirs.recv(100) == b"head"


@pytest.mark.parametrize(
    ("host", "asked"),
    [
        *(("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "127.0.0.1"), ("127.0.0.2", "127.0.0.2")),
        *(("::", "127.0.0.1"), ("::", "::1"), ("::1", "::1")),
    ],
)
def test_a_plugged_listener_lets_nobody_in(host: str, asked: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    dual = host == "::"
    with socket.create_server((host, 0), family=family, backlog=50, dualstack_ipv6=dual) as server:
        assert listener.plug(server)
        with pytest.raises(TimeoutError):
            socket.create_connection((asked, server.getsockname()[1]), 0.2)
        assert not listener.plug(server)


def test_without_a_file_descriptor_no_queue_can_be_plugged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.EMFILE, "too many")

    with socket.create_server(("127.0.0.1", 0)) as server, monkeypatch.context() as patch:
        patch.setattr(socket, "socket", full)
        assert not listener.plug(server)
