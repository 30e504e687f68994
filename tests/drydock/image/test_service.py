"""What the service in the image promises: its data, its logs, its metrics, its API."""

from __future__ import annotations

import concurrent.futures
import json
import re
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
import urllib3

from api import EXAMPLES, check_api
from containers import (
    HARDENED,
    Container,
    docker,
    ended,
    eventually,
    inspect,
    paused,
    remove_containers,
    started,
    unique,
)
from depth import FULL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Run = Callable[..., Container]

pytestmark = pytest.mark.early

TOKEN = "a-token-for-the-tests"
WRITER = {"Authorization": f"Bearer {TOKEN}"}
JSON = WRITER | {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def image(probe: str) -> str:
    """Only the tests' own service has the paths that these tests request."""
    return probe


@pytest.fixture(scope="module")
def service(image: str) -> Iterator[Container]:
    """For tests that leave it as it was; nobody can write, since it has no token."""
    with started(image, *HARDENED, "-e", "WEB_CONCURRENCY=2") as container:
        yield container.wait_until_healthy()


@pytest.fixture(scope="module")
def writable(image: str) -> Iterator[Container]:
    """As `service`, with a token: for tests that write nothing with it in the end.

    Each rejection is a line of its log; at other levels most are only counted.
    """
    options = ("-e", f"API_TOKEN={TOKEN}", "-e", "LOG_LEVEL=debug")
    with started(image, *HARDENED, *options) as container:
        yield container.wait_until_healthy()


def add(container: Container, title: str) -> urllib3.BaseHTTPResponse:
    body = json.dumps({"title": title}).encode()
    return container.get("/notes", method="POST", headers=JSON, body=body)


def titles(container: Container) -> list[str]:
    response = container.get("/notes?page_size=100").json()
    return [note["title"] for note in response["notes"]]


def test_responds_over_http_as_the_application_does(service: Container, named_image: str) -> None:
    assert service.get("/hello/jvictor").json() == {
        "message": "Hello, jvictor!",
        "environment": "production",
    }
    assert service.get("/").json()["message"] == "Hello from Docker!"
    assert service.get("/hello/a/b").status == 404
    labels = inspect(named_image)["Config"]["Labels"]
    about = service.get("/about").json()
    assert about["revision"] is None
    assert labels["org.opencontainers.image.version"] in ("", about["version"])


@pytest.fixture
def volume() -> Iterator[str]:
    name = unique("volume")
    docker("volume", "create", name)
    yield name
    remove_containers(f"volume={name}")
    docker("volume", "rm", name)


@pytest.mark.parametrize("user", ["65532:65532", "12345:54321"])
def test_a_volume_keeps_the_data_over_the_container_s_end(run: Run, volume: str, user: str) -> None:
    options = ("-v", f"{volume}:/data", "-e", f"API_TOKEN={TOKEN}", "--user", user)
    first = run(*options).wait_until_healthy()
    assert titles(first) == []
    assert add(first, "kept").status == 201
    docker("rm", "--force", first.name)
    second = run(*options).wait_until_healthy()
    assert titles(second) == ["kept"]


def test_data_written_just_before_a_crash_is_there_after(volume: str, run: Run) -> None:
    options = ("-v", f"{volume}:/data", "-e", f"API_TOKEN={TOKEN}")
    first = run(*options).wait_until_healthy()
    for number in range(20):
        assert add(first, f"title {number}").status == 201
    docker("kill", first.name)
    assert len(titles(run(*options).wait_until_healthy())) == 20


@pytest.mark.database
def test_development_starts_with_samples_and_production_with_none(
    run: Run, service: Container
) -> None:
    assert titles(run("-e", "APP_ENV=development").wait_until_healthy())
    assert service.get("/health").json()["environment"] == "production"
    assert not titles(service)


def test_of_five_migrations_at_once_one_applies(
    image: str, net: str, database: tuple[str, str]
) -> None:
    command = ("run", "--rm", "--network", net, "-e", f"DATABASE_URL={database[1]}", image)
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        done = list(pool.map(lambda _: docker(*command, "app", "migrate"), range(5)))
    printed = sorted(each.stdout.strip() for each in done)
    assert printed[1:] == ["nothing to do"] * 4
    assert re.fullmatch(r"applied \d{4}(, \d{4})*", printed[0])


def test_without_its_database_it_lives_is_not_ready_and_recovers(
    net: str, database: tuple[str, str], run: Run, image: str
) -> None:
    server, address = database
    environment = ("--network", net, "-e", f"DATABASE_URL={address}", "-e", f"API_TOKEN={TOKEN}")
    docker("run", "--rm", *environment, image, "app", "migrate")
    container = run(*environment).wait_until_healthy()
    assert container.get("/readyz").status == 200
    assert add(container, "before").status == 201

    docker("stop", server)
    for _ in range(5):
        began = time.monotonic()
        ready = container.get("/readyz")
        assert time.monotonic() - began < 4
        assert ready.status == 503
        assert "database" in ready.json()["detail"]
        notes = container.get("/notes", timeout=30)
        assert notes.status == 503
        assert notes.headers["Content-Type"] == "application/problem+json"
        assert container.get("/livez").status == 200
        assert container.get("/hello/x").status == 200
    assert container.health() == "healthy"

    docker("start", server)
    eventually(lambda: container.get("/readyz").status == 200, 30, "ready again")
    assert titles(container) == ["before"]
    assert add(container, "after").status == 201


@pytest.mark.slow
def test_a_database_that_swallows_packets_costs_no_more_than_the_timeouts(
    net: str, database: tuple[str, str], run: Run, image: str
) -> None:
    """Paused, it neither answers nor refuses, which no TCP stack reports."""
    server, address = database
    environment = ("--network", net, "-e", f"DATABASE_URL={address}", "-e", "DATABASE_TIMEOUT=2")
    docker("run", "--rm", *environment, image, "app", "migrate")
    container = run(*environment).wait_until_healthy()
    assert titles(container) == []
    with paused(server):
        for _ in range(3):
            began = time.monotonic()
            assert container.get("/readyz").status == 503
            assert time.monotonic() - began < 4
        assert container.get("/livez").status == 200
        assert container.get("/hello/x").status == 200
    eventually(lambda: container.get("/readyz").status == 200, 30, "ready again")
    assert titles(container) == []


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    return file


def test_a_secret_comes_from_a_file_and_is_not_in_inspect(run: Run, secret_file: Path) -> None:
    secret_file.chmod(0o444)
    mount = f"{secret_file}:/run/secrets/token:ro"
    container = run("-v", mount, "-e", "API_TOKEN_FILE=/run/secrets/token").wait_until_healthy()
    assert add(container, "x").status == 201
    assert TOKEN not in docker("inspect", container.name).stdout
    assert TOKEN not in container.logs()


def ends_with_one_line(image: str, *options: str) -> str:
    done = ended(image, *options)
    assert done.returncode == 1, done
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("error: ")
    return done.stderr


def test_an_unreadable_secret_ends_it_with_one_line(image: str, secret_file: Path) -> None:
    secret_file.chmod(0o400)
    mount = f"{secret_file}:/run/secrets/token:ro"
    message = ends_with_one_line(image, "-v", mount, "-e", "API_TOKEN_FILE=/run/secrets/token")
    assert "API_TOKEN_FILE='/run/secrets/token': Permission denied" in message
    assert "user id 65532" in message


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("-e", "LOG_LEVEL=loud"), "LOG_LEVEL='loud': Not one of them."),
        (("-e", "APP_ENV="), "APP_ENV='': Not a name."),
        (("-e", "METRICS_PORT=5000"), "METRICS_PORT=5000: APP_PORT is the same."),
        (("-e", "TRUSTED_PROXIES=10.0.0.1/8"), "TRUSTED_PROXIES='10.0.0.1/8': "),
        (("-e", "API_TOKEN=x", "-e", "API_TOKEN_FILE=/x"), "API_TOKEN: API_TOKEN_FILE is set"),
    ],
)
def test_what_is_wrong_at_the_start_is_one_line(
    image: str, options: tuple[str, ...], expected: str
) -> None:
    assert expected in ends_with_one_line(image, *options)


@pytest.mark.database
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("-e", "DATABASE_URL=foo"), "DATABASE_URL: Not a database's address."),
        (("--tmpfs", "/data:ro"), "DATA_DIR=/data: user 65532:65532 can't write there"),
    ],
)
def test_what_is_wrong_with_the_database_s_place_is_one_line(
    image: str, options: tuple[str, ...], expected: str
) -> None:
    assert expected in ends_with_one_line(image, *options)


@pytest.mark.database
def test_a_read_only_data_volume_is_one_line(image: str, volume: str) -> None:
    message = ends_with_one_line(image, "-v", f"{volume}:/data:ro")
    assert "DATA_DIR=/data: user 65532:65532 can't write there (Read-only file system)" in message


@pytest.mark.database
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "no DATABASE_URL is set: the data is in /data/app.sqlite ("),
        (("--tmpfs", "/data"), "(tmpfs), not in a database that all replicas share, and gone with"),
        (("-e", "APP_ENV=development"), ""),
    ],
)
def test_it_says_at_the_start_where_the_data_is(
    run: Run, options: tuple[str, ...], told: str
) -> None:
    container = run(*options, "-e", "LOG_FORMAT=json").wait_until_healthy()
    lines = map(json.loads, container.logs().splitlines())
    warnings = [line["message"] for line in lines if line["level"] == "warning"]
    assert len(warnings) == bool(told)
    assert told in "".join(warnings)


@pytest.mark.database
def test_another_user_s_file_is_one_line(run: Run, image: str, volume: str) -> None:
    """It can be read: the service would start, and fail at each write."""
    mount = ("-v", f"{volume}:/data")
    docker("stop", run(*mount).wait_until_healthy().name)
    message = ends_with_one_line(image, *mount, "--user", "12345:54321")
    assert "/data/app.sqlite" in message
    assert "Permission denied" in message


def test_the_effective_settings_are_shown_without_the_secrets(image: str) -> None:
    address = "DATABASE_URL=postgresql://u:hunter2@h/d"
    variables = ("-e", "API_TOKEN=hunter2-and-more", "-e", address)
    shown = docker("run", "--rm", *variables, image, "app", "settings").stdout
    assert "APP_ENV=production\n" in shown
    assert "API_TOKEN=********\n" in shown
    assert "hunter2" not in shown


# ---- logs ---------------------------------------------------------------------------------------

FORGED = '{"time":"x","level":"error","logger":"forged","message":"forged"}'
NASTY = [
    b"\n" + FORGED.encode(),
    b"\r\n" + FORGED.encode(),
    b"%0a" + FORGED.encode(),
    b"%0d%0a%00%1b[31m",
    b"\"\\',}{",
    b"\x00\x01\x1b[2J\x7f",
    b"\xff\xfe\xc3\x28\xed\xa0\x80",
    "\u2028\u2029\x85é東京".encode(),
    b"${jndi:ldap://x}",
    b"%(message)s %s {0}",
    b"x" * 4000,
    b"%0a" * 1300,
    b"x" * 100_000,
    b"\xff" * 100_000,
]


def raw(port: int, request: bytes) -> bytes:
    """Send bytes as they are and read what comes back, if anything does."""
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.settimeout(10)
        try:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            response = b""
            while received := connection.recv(65536):
                response += received
        except ConnectionError:
            return b""
        return response


def test_no_client_can_break_or_forge_a_log_line(writable: Container) -> None:
    host = b"Host: x\r\nConnection: close\r\n"
    for nasty in NASTY:
        for request in (
            b"GET /hello/" + nasty + b" HTTP/1.1\r\n" + host + b"\r\n",
            b"GET /?q=" + nasty + b" HTTP/1.1\r\n" + host + b"\r\n",
            b"GET / HTTP/1.1\r\n" + host + b"User-Agent: " + nasty + b"\r\n\r\n",
            b"GET / HTTP/1.1\r\n" + host + b"X-Request-ID: " + nasty + b"\r\n\r\n",
            b"GET / HTTP/1.1\r\n" + host + b"traceparent: " + nasty + b"\r\n\r\n",
            b"GET / HTTP/1.1\r\n" + host + b"X-Forwarded-For: " + nasty + b"\r\n\r\n",
            b"GET / HTTP/1.1\r\nConnection: close\r\nHost: " + nasty + b"\r\n\r\n",
            b"GET / HTTP/1.1\r\n" + host + b"Authorization: Bearer " + nasty + b"\r\n\r\n",
            nasty + b" / HTTP/1.1\r\n" + host + b"\r\n",
            b"GET / " + nasty + b"\r\n" + host + b"\r\n",
            b"POST /notes HTTP/1.1\r\n" + host + b"Content-Type: application/json\r\n"
            b"Authorization: Bearer " + TOKEN.encode() + b"\r\n"
            b"Content-Length: " + str(len(nasty)).encode() + b"\r\n\r\n" + nasty,
        ):
            response = raw(writable.port, request)
            assert not response.startswith(b"HTTP/1.1 5"), request[:100]
    assert writable.get("/hello/last-one").status == 200

    lines = [json.loads(line) for line in writable.logs().splitlines()]
    assert len(lines) > 100
    for line in lines:
        assert {"time", "level", "logger", "message", "request_id", "trace_id"} <= set(line)
        assert line["logger"] != "forged"
        assert line["level"] != "error", line
    assert lines[-1]["path"] == "/hello/last-one"


def test_workers_lines_do_not_mix_under_a_flood_of_long_ones(run: Run) -> None:
    """What is longer than a pipe takes whole would run into another worker's line."""
    container = run("-e", "LOG_LEVEL=debug").wait_until_healthy()  # else most are only counted
    request = b"GET /\x01" + b"\xff" * 8000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: raw(container.port, request), range(400)))
    lines = [json.loads(line) for line in container.logs().splitlines()]
    rejected = [line for line in lines if line["message"].startswith("rejected ")]
    assert len(rejected) == 400
    assert all(line["request_id"] for line in rejected)


def test_every_line_of_a_request_carries_its_ids(service: Container) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"X-Request-ID": "find-me", "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    response = service.get("/nope", headers={**headers, "User-Agent": "test/1"})
    assert response.headers["X-Request-ID"] == "find-me"
    assert response.json()["request_id"] == "find-me"
    (line,) = [found for found in service.logs().splitlines() if "find-me" in found]
    found: dict[str, Any] = json.loads(line)
    assert found["trace_id"] == trace
    assert found["method"] == "GET"
    assert found["path"] == "/nope"
    assert found["status"] == 404
    assert found["user_agent"] == "test/1"
    assert found["bytes"] > 0
    assert found["duration_ms"] > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", found["time"])


def test_logs_are_text_for_people_where_asked_for(run: Run) -> None:
    container = run("-e", "LOG_FORMAT=text").wait_until_healthy()
    container.get("/hello/x%0Ay")
    (line,) = [found for found in container.logs().splitlines() if "/hello" in found]
    assert "app.access: GET /hello/x%0Ay 200" in line


def test_probes_are_logged_only_where_asked_for(run: Run, service: Container) -> None:
    talkative = run("-e", "LOG_PROBES=true").wait_until_healthy()
    for container in (service, talkative):
        container.get("/livez")
        container.get("/readyz")
    assert "/livez" not in service.logs()
    assert "/livez" in talkative.logs()


# ---- metrics ------------------------------------------------------------------------------------


def metrics(container: Container) -> dict[str, float]:
    """All samples, read inside the container: the port is not published."""
    code = "import urllib.request as r; print(r.urlopen('http://localhost:9464/metrics').read())"
    text = container.python(code.replace(".read()", ".read().decode()"))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_no_request_is_lost_to_the_metrics_when_workers_are_recycled(run: Run) -> None:
    container = run("-e", "WEB_MAX_REQUESTS=200", "-e", "WEB_CONCURRENCY=2").wait_until_healthy()
    counted = 'http_requests_total{method="GET",route="/hello/{name}",status="200"}'
    assert counted not in metrics(container)
    total, clients = (4000 if FULL else 2000), 8
    with (
        urllib3.HTTPConnectionPool("127.0.0.1", container.port, maxsize=clients) as pool,
        concurrent.futures.ThreadPoolExecutor(clients) as threads,
    ):

        def ask(number: int) -> int:
            # A worker that is recycled closes its idle connections; that request never began.
            response = pool.request("GET", f"/hello/{number}", retries=urllib3.Retry(5, read=False))
            return response.status

        statuses = list(threads.map(ask, range(total)))
    assert statuses == [200] * total
    seen = metrics(container)
    assert seen[counted] == total
    assert seen['http_request_duration_seconds_count{method="GET",route="/hello/{name}"}'] == total
    assert seen["http_requests_in_flight"] == 0
    booted = container.logs().count("Booting worker")
    assert booted >= total // 200 / 2
    eventually(lambda: metrics(container)["app_workers"] == 2, 10, "both workers are back")
    files = container.python("import os; print(len(os.listdir('/dev/shm/metrics-5000')))")
    # Of each kind one for each slot and one for the arbiter; each worker may have a successor.
    assert int(files) <= 4 * (2 * 2 + 1)


def test_the_metrics_say_what_runs_and_how(service: Container) -> None:
    service.get("/hello/x")
    seen = metrics(service)
    assert [name for name in seen if name.startswith("app_build_info{")]
    assert seen["app_workers"] == 2
    assert seen["app_threads"] == 8
    assert seen["http_connections"] >= 1
    assert seen["http_connections_limit"] > seen["http_connections"]
    assert seen["http_requests_queued"] == seen["app_workers_crashed_total"] == 0
    assert seen["app_memory_limit_bytes"] == 256 * 2**20
    assert 20e6 < seen["app_memory_bytes"] < seen["app_memory_limit_bytes"]
    assert "http_requests_in_flight" in seen


@pytest.mark.database
def test_the_metrics_count_the_database_s_connections(service: Container) -> None:
    seen = metrics(service)
    assert seen["app_database_connections_limit"] == 8
    assert "app_database_connections" in seen


def test_the_metrics_are_not_at_the_service_s_port(service: Container) -> None:
    assert service.get("/metrics").status == 404


def test_metrics_port_0_turns_them_off(run: Run) -> None:
    container = run("-e", "METRICS_PORT=0").wait_until_healthy()
    assert "9464" not in container.logs()
    code = "import socket; print(socket.socket().connect_ex(('127.0.0.1', 9464)))"
    assert int(container.python(code)) != 0


# ---- the API ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_api_is_as_it_describes_itself(run: Run, tmp_path: Path) -> None:
    """Schemathesis, with all of its checks: no 5xx, no status that is not documented."""
    container = run("-e", f"API_TOKEN={TOKEN}", "-e", "LOG_LEVEL=error").wait_until_healthy()
    assert check_api(container, TOKEN, tmp_path, examples=EXAMPLES) >= 4 * EXAMPLES
    assert container.logs() == ""


def test_a_forwarded_address_counts_from_a_trusted_proxy_only(run: Run, service: Container) -> None:
    trusting = run("-e", "TRUSTED_PROXIES=0.0.0.0/0").wait_until_healthy()
    for container in (trusting, service):
        container.get("/hello/x", headers={"X-Forwarded-For": "192.0.2.77"})
    assert '"client": "192.0.2.77"' in trusting.logs()
    assert '"client": "192.0.2.77"' not in service.logs()


def test_other_hosts_are_rejected_but_not_by_what_probes_and_scrapes_it(run: Run) -> None:
    """The image's health check and these have an address, or none that counts, for a host."""
    trusted = ("-e", "TRUSTED_HOSTS=shop.example", "-e", "TRUSTED_PROXIES=0.0.0.0/0")
    container = run(*trusted).wait_until_healthy()

    def status(path: str, **fields: str) -> int:
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        return container.get(path, headers=headers).status

    assert status("/", Host="shop.example") == 200
    assert status("/", Host="evil.example") == 400
    assert status("/", Host="inside", X_Forwarded_Host="shop.example") == 200
    assert status("/", Host="shop.example", X_Forwarded_Host="evil.example") == 400
    for probe in ("/livez", "/readyz"):
        assert status(probe, Host="10.0.0.9:5000") == 200
    assert metrics(container)["app_workers"] >= 1


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 9000 + b"\r\n\r\n", 431),
        (
            b"POST /notes HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Authorization: Bearer " + TOKEN.encode() + b"\r\n"
            b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
            400,
        ),
    ],
)
def test_what_is_not_http_gets_a_problem_document_too(
    writable: Container, request_bytes: bytes, status: int
) -> None:
    head, _, body = raw(writable.port, request_bytes).partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode()), head
    assert b"Content-Type: application/problem+json" in head
    document = json.loads(body)
    assert document["status"] == status
    logs = writable.logs()
    assert document["request_id"] in logs
    assert all(json.loads(line) for line in logs.splitlines())
