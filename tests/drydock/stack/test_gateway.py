"""What gets through the gateway, and how."""

from __future__ import annotations

import contextlib
import itertools
import json
import resource
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import urllib3

from containers import docker, eventually
from traffic import Load

if TYPE_CHECKING:
    from collections.abc import Callable

    from stacks import Stack

SLOW = 300  # connections
ROUNDS = 3
PROBLEM = "application/problem+json"


def log_line(stack: Stack, service: str, request_id: str) -> dict[str, Any]:
    """The line of a service's log that is about the request; it may come after the response."""

    def lines() -> list[str]:
        shown = [docker("logs", container).stdout for container in stack.containers(service)]
        return [line for text in shown for line in text.splitlines() if request_id in line]

    line, *_ = eventually(lines, 10, f"{request_id} in the log of {service}")
    found: dict[str, Any] = json.loads(line)
    return found


def test_the_page_has_a_strict_policy(stack: Stack) -> None:
    page = stack.get("/")
    assert page.status == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert page.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["/", "/nope", "/api/", "/api/nope", "/api/livez"])
def test_no_field_is_there_twice(stack: Stack, path: str) -> None:
    """The gateway and the service both set some."""
    response = stack.get(path)
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    names = [name.lower() for name, _ in response.headers.iteritems()]
    assert len(names) == len(set(names))


def test_the_service_is_below_api(stack: Stack) -> None:
    assert "paths" in stack.get("/api/").json()
    assert stack.get("/api").headers["Location"] == "/api/"
    assert stack.get("/api?x=1&y=%2F").headers["Location"] == "/api/?x=1&y=%2F"
    made = stack.add("made through the gateway")
    assert made.status == 201
    assert made.headers["Location"] == f"/api/notes/{made.json()['id']}"
    assert stack.get(made.headers["Location"]).json() == made.json()


@pytest.mark.parametrize(
    "path",
    [
        *("/api/readyz", "/api/livez", "/api/metrics", "/api/readyz/", "/api//readyz"),
        *("/api/%72eadyz", "/api/./readyz", "/api/x/../readyz", "/x/../api/readyz", "/readyz"),
        *("/api/x/%2e%2e/readyz", "/api/readyz?x=1", "/api/readyz%2f", "/metrics", "/nope"),
        *("/../etc/passwd", "/api/../../etc/passwd", "/x/../api/notes"),
    ],
)
def test_nothing_else_is_reachable(stack: Stack, path: str) -> None:
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", int(stack.variables["PORT"])), 10) as client:
        client.sendall(head.encode())
        response = client.makefile("rb").read()
    assert response.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 400 ")), response
    assert b"application/problem+json" in response
    assert b'"ok"' not in response


def test_a_response_has_one_request_id_which_is_in_both_logs(stack: Stack) -> None:
    response = stack.get("/api/hello/traced", headers={"X-Request-ID": "from-the-client-1"})
    assert response.headers.getlist("X-Request-ID") == ["from-the-client-1"]
    for given in ({}, {"X-Request-ID": 'no "good" one'}):
        response = stack.get("/api/hello/traced", headers=given)
        (request_id,) = response.headers.getlist("X-Request-ID")
        assert "good" not in request_id
        assert log_line(stack, "gateway", request_id)["path"] == "/api/hello/traced"
        assert log_line(stack, "app", request_id)["path"] == "/hello/traced"


def test_a_client_can_t_say_where_it_comes_from(stack: Stack) -> None:
    forged = {
        "X-Request-ID": "forged-1",
        "X-Forwarded-For": "203.0.113.7",
        "X-Real-IP": "203.0.113.7",
        "Forwarded": "for=203.0.113.7",
    }
    stack.get("/api/hello/forged", headers=forged)
    seen = log_line(stack, "app", "forged-1")
    assert seen["client"] == log_line(stack, "gateway", "forged-1")["client"]
    assert seen["client"] != "203.0.113.7"


@pytest.mark.parametrize(
    ("request_line", "fields", "status", "title"),
    [
        ("GET / HTTP/1.1", "Host: a b", 400, "Bad Request"),
        ("PUT /index.html HTTP/1.1", "Host: x", 405, "Method Not Allowed"),
        ("GET /index.html HTTP/1.1", 'Host: x\r\nIf-Match: "x"', 412, "Precondition Failed"),
        (f"GET /{'x' * 9000} HTTP/1.1", "Host: x", 414, "URI Too Long"),
        ("GET / HTTP/1.1", f"Host: x\r\nX: {'x' * 9000}", 431, "Request Header Fields Too Large"),
        ("POST /api/ HTTP/1.1", "Host: x\r\nTransfer-Encoding: gzip", 501, "Not Implemented"),
        ("GET / HTTP/3.0", "Host: x", 505, "HTTP Version Not Supported"),
    ],
)
def test_a_rejection_has_its_own_status_and_title(
    stack: Stack, request_line: str, fields: str, status: int, title: str
) -> None:
    with socket.create_connection(("127.0.0.1", int(stack.variables["PORT"])), 10) as client:
        client.sendall(f"{request_line}\r\n{fields}\r\nConnection: close\r\n\r\n".encode())
        head, _, body = client.makefile("rb").read().decode().partition("\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ")
    assert head.count("Content-Type: ") == head.count("X-Request-ID: ") == 1
    assert f"Content-Type: {PROBLEM}\r\n" in head
    assert "Retry-After" not in head
    problem = json.loads(body)
    assert (problem["status"], problem["title"]) == (status, title)


def test_what_it_rejects_itself_gets_a_problem_document(stack: Stack) -> None:
    big = stack.get("/api/notes", method="POST", body=b"x" * (2**20 + 1))
    assert (big.status, big.headers["Content-Type"]) == (413, "application/problem+json")
    assert big.json()["title"] == "Content Too Large"
    assert big.json()["request_id"] == big.headers["X-Request-ID"]
    long = stack.get(f"/api/{'x' * 20_000}")
    assert (long.status, long.json()["status"]) == (414, 414)
    wide = stack.get("/api/", headers={"X-Wide": "x" * 40_000})
    assert wide.headers["Content-Type"] == "application/problem+json"
    assert 400 <= wide.status < 500


def test_an_address_with_too_many_requests_gets_a_429(stack: Stack) -> None:
    def gateway(**variables: str) -> None:
        stack.compose("up", "--detach", "--no-build", "--no-deps", "--wait", "gateway", **variables)

    gateway(GATEWAY_RATE="1", GATEWAY_BURST="5")
    try:
        responses = [stack.get("/api/hello/x") for _ in range(20)]
        rejected = [response for response in responses if response.status == 429]
        assert 10 <= len(rejected) <= 15
        assert rejected[0].headers["Retry-After"] == "1"
        assert rejected[0].headers["Content-Type"] == "application/problem+json"
        assert stack.get("/").status == 200
    finally:
        gateway()


def send(port: int, data: bytes, clients: list[socket.socket]) -> None:
    """Open one more connection and send what the gateway takes."""
    client = socket.create_connection(("127.0.0.1", port), 10)
    clients.append(client)
    with contextlib.suppress(OSError):  # rejected already
        client.sendall(data)


def rejected(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(12) == b"HTTP/1.1 429"
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


@pytest.mark.alone
def test_one_address_does_not_use_up_the_room_for_bodies(stack: Stack) -> None:
    head = b"POST /api/notes HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    clients: list[socket.socket] = []
    try:
        for _ in range(140):
            send(int(stack.variables["PORT"]), head + b"x" * 990_000, clients)
        time.sleep(1)
        assert sum(map(rejected, clients)) >= 140 - 2 * 32
        big = stack.get("/api/notes", method="POST", body=b"x" * 50_000)
        assert (big.status, big.headers["Content-Type"]) == (429, PROBLEM)
        assert big.headers["Retry-After"] == "1"
        # What is small is not counted among them, nor is another address.
        assert stack.get("/api/notes", method="POST", body=b"x" * 9_000).status == 401
        code = (
            "import http.client as h; c = h.HTTPConnection('gateway', 8080, timeout=10);"
            "c.request('POST', '/api/notes', b'x' * 900_000); print(c.getresponse().status)"
        )
        (app,) = stack.containers("app")
        assert docker("exec", app, "python3", "-c", code).stdout.strip() == "401"
    finally:
        for client in clients:
            client.close()
    body = b"x" * 50_000
    again = lambda: stack.get("/api/notes", method="POST", body=body).status == 401  # noqa: E731
    eventually(again, 20, "there is room again")


def test_heads_of_the_worst_kind_fit_into_the_memory(
    stack: Stack, show: Callable[[str], None]
) -> None:
    """More connections than there are, none with a complete head; /tmp would have room as well."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, enough), hard))
    fields = b"abcdefghijkl:x\r\n" * 985  # nginx takes 1,000
    (gateway,) = stack.containers("gateway")
    clients: list[socket.socket] = []
    try:
        for _ in range(3000):
            send(int(stack.variables["PORT"]), b"GET / HTTP/1.1\r\n" + fields, clients)
        shown = docker("stats", "--no-stream", "--format", "{{.MemUsage}}", gateway).stdout
    finally:
        for client in clients:
            client.close()

    def responds() -> bool:
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            return bool(stack.get("/api/").status == 200)
        return False

    eventually(responds, 20, "the gateway responds")
    assert "exited on signal" not in docker("logs", gateway).stderr
    show(f"memory: {shown.strip()}")
    used, limit = (float(each.removesuffix("MiB")) for each in shown.strip().split(" / "))
    assert used + 96 < limit


def drip(port: int, over: threading.Event, opened: threading.Semaphore) -> None:
    """Hold connections that send a byte a second each, in turns, until `over`."""
    clients = []
    try:
        for number in range(SLOW):
            client = socket.create_connection(("127.0.0.1", port), 10)
            clients.append(client)
            # Two thirds are slow with a body, the others with a head.
            head = "POST /api/notes HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
            client.sendall(head.encode() if number % 3 else b"GET /api/ HTTP/1.1\r\n")
            opened.release()
        for client in itertools.cycle(clients):
            if over.wait(1 / SLOW):
                break
            with contextlib.suppress(OSError):  # closed: the gateway's right, after its timeouts
                client.sendall(b"x")
    finally:
        for client in clients:
            client.close()


@pytest.mark.alone
def test_300_slow_clients_do_not_slow_others(stack: Stack, show: Callable[[str], None]) -> None:
    """Medians and 99th percentiles of interleaved rounds, the best of each: machines are noisy."""

    def measured() -> tuple[float, float]:
        with Load(stack.address, "/api/hello/x", clients=4, pause=0.01) as load:
            time.sleep(3)
        assert not load.failures()
        return load.quantiles()

    quiet, slow = [], []
    for _ in range(ROUNDS):
        quiet.append(measured())
        over = threading.Event()
        opened = threading.Semaphore(0)
        thread = threading.Thread(target=drip, args=(int(stack.variables["PORT"]), over, opened))
        thread.start()
        try:
            for _ in range(SLOW):
                assert opened.acquire(timeout=20), f"not all of {SLOW} slow clients are connected"
            slow.append(measured())
        finally:
            over.set()
            thread.join()
    for name, index in (("median", 0), ("p99", 1)):
        before = min(each[index] for each in quiet)
        during = min(each[index] for each in slow)
        show(f"{name}: {before * 1000:.1f} ms quiet, {during * 1000:.1f} ms beside {SLOW} slow")
        assert during < 2 * before
