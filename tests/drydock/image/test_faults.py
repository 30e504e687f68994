"""What happens when something that the service needs fails: docs/hardening.md lists it."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import urllib3

import base
from containers import (
    Container,
    docker,
    ended,
    eventually,
    free_port,
    inspect,
    network,
    unique,
)
from processes import running

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., Container]

pytestmark = pytest.mark.early

HEADERS = {"Authorization": "Bearer a-token-for-the-tests", "Content-Type": "application/json"}
TOKEN = ("-e", "API_TOKEN=a-token-for-the-tests")
BOOTED = "Booting worker"


@pytest.fixture(scope="module")
def image(probe: str) -> str:
    """Only the tests' own service has the paths that these tests request."""
    return probe


def add(container: Container, title: str, **options: Any) -> urllib3.BaseHTTPResponse:
    body = json.dumps({"title": title}).encode()
    return container.get("/notes", method="POST", headers=HEADERS, body=body, **options)


def titles(container: Container) -> list[str]:
    notes = container.get("/notes?page_size=100", timeout=30).json()["notes"]
    return sorted(note["title"] for note in notes)


def status(container: Container, path: str) -> int:
    """The status of the response; 0 if there is none."""
    try:
        return container.get(path, timeout=5).status
    except urllib3.exceptions.HTTPError:
        return 0


def stops_cleanly(container: Container) -> None:
    began = time.monotonic()
    docker("stop", container.name)
    assert time.monotonic() - began < 10
    assert inspect(container.name)["State"]["ExitCode"] == 0


# ---- places to write ----------------------------------------------------------------------------

FILL = """
import os, sys
with open("/tmp/full", "wb", buffering=0) as file:
    try:
        while True:
            file.write(bytes(4096))
    except OSError as error:
        print(error.strerror)
if sys.argv[1:]:
    os.execvp(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.parametrize("when", ["at the start", "later"])
def test_a_full_tmp_does_no_harm(run: Run, when: str) -> None:
    tiny = ("--tmpfs", "/tmp:size=4k,mode=1777", *TOKEN)
    if when == "at the start":
        container = run(*tiny, command=("python3", "-c", FILL, "gunicorn")).wait_until_healthy()
        assert "No space left on device" in container.logs()
    else:
        container = run(*tiny).wait_until_healthy()
        assert container.python(FILL) == "No space left on device\n"
    assert add(container, "kept").status == 201
    assert titles(container) == ["kept"]
    large = json.dumps({"title": "x" * (2**20 - 100)}).encode()
    rejected = container.get("/notes", method="POST", headers=HEADERS, body=large)
    assert rejected.status == 422
    assert container.get("/readyz").status == 200
    stops_cleanly(container)


def test_too_small_a_dev_shm_ends_the_start_with_one_line(image: str) -> None:
    """Later it would be a bus error, which kills a worker without a log line."""
    done = ended(image, "--shm-size", "64k", "-e", "WEB_CONCURRENCY=4")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: METRICS_PORT: /dev/shm has 64 KiB left, ")
    assert done.stderr.count("\n") == 1


def test_without_metrics_a_small_dev_shm_will_do(run: Run) -> None:
    options = ("--shm-size", "64k", "-e", "WEB_CONCURRENCY=4", "-e", "METRICS_PORT=0", *TOKEN)
    container = run(*options).wait_until_healthy()
    for number in range(50):
        assert add(container, f"title {number}").status == 201
        assert container.get(f"/hello/{number}").status == 200
        assert container.get(f"/nope/{number}").status == 404
    assert len(titles(container)) == 50
    assert container.logs().count(BOOTED) == 4
    stops_cleanly(container)


def test_it_recovers_when_there_were_no_file_descriptors_left(run: Run) -> None:
    """On the host's network, where each connection is one of the service's own."""
    port = free_port()
    container = run(
        *("--network", "host", "-e", f"APP_PORT={port}", "-e", "METRICS_PORT=0"),
        *("--ulimit", "nofile=64", "-e", "WEB_CONCURRENCY=2", *TOKEN),
    )
    container.port = port
    container.wait_until_healthy()
    assert add(container, "before").status == 201
    with contextlib.ExitStack() as open_ones:
        for _ in range(300):
            open_ones.enter_context(socket.create_connection(("127.0.0.1", port), 10))
        # One after the other takes the place of what has been silent for longest.
        # (The first of these responses comes on a connection from before.)
        assert [container.get("/livez", timeout=30).status for _ in range(2)] == [200] * 2
        assert inspect(container.name)["State"]["Running"]

    eventually(lambda: status(container, "/livez") == 200, 10, "it responds again")
    assert [container.get("/readyz").status for _ in range(20)] == [200] * 20
    assert add(container, "after").status == 201
    assert titles(container) == ["after", "before"]
    # No worker has died of it.
    assert container.logs().count(BOOTED) == 2
    stops_cleanly(container)


# ---- the clock ----------------------------------------------------------------------------------


@pytest.fixture
def clock(tmp_path: Path) -> Path:
    """A directory to mount at /faketime: a library, and the file with the clock's offset."""
    file = Path(__file__).parents[2] / "faketime.Dockerfile"
    tag = unique("faketime") + ":latest"
    built = ("--quiet", "--tag", tag, "--file", str(file), *base.build_options())
    docker("build", *built, str(file.parent), timeout=600)
    name = unique("faketime")
    try:
        docker("create", "--name", name, tag, "true")
        docker("cp", f"{name}:/faketime.so", str(tmp_path))
    finally:
        docker("rm", name, check=False)
        docker("image", "rm", tag)
    (tmp_path / "offset").write_text("+0")
    tmp_path.chmod(0o755)
    return tmp_path


@pytest.mark.slow
def test_a_jump_of_the_clock_does_no_harm(run: Run, clock: Path) -> None:
    container = run(
        *("-v", f"{clock}:/faketime:ro", "-e", "LD_PRELOAD=/faketime/faketime.so"),
        *("-e", "FAKETIME_TIMESTAMP_FILE=/faketime/offset", "-e", "FAKETIME_NO_CACHE=1"),
        # A step of the clock, by hand or by NTP, leaves the monotonic one as it is.
        *("-e", "FAKETIME_DONT_FAKE_MONOTONIC=1", "-e", "WEB_CONCURRENCY=2", *TOKEN),
    ).wait_until_healthy()
    stop = False

    def client(number: int) -> list[int]:
        statuses = []
        # A connection of its own: the requests of a busy one never wait for the server's timers.
        with urllib3.HTTPConnectionPool("127.0.0.1", container.port, retries=False) as pool:
            while not stop:
                statuses.append(pool.request("GET", f"/hello/{number}").status)
                statuses.append(pool.request("GET", "/readyz").status)
        return statuses

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(client, number) for number in range(4)]
        try:
            for days in (1, -400, 400, 0):
                # At once: the library ends a process that finds the file empty.
                (clock / "next").write_text(f"{days * 86400:+d}")
                (clock / "next").rename(clock / "offset")
                time.sleep(1.5)
                seen = float(container.python("import time; print(time.time())"))
                assert abs(seen - time.time() - days * 86400) < 60
                assert add(container, f"after {days} days").status == 201
        finally:
            stop = True
    responses = [each.result() for each in clients]
    # Nobody stood still: each of four jumps saw each of two paths answered, and more than that.
    assert min(map(len, responses)) > 8
    assert {status for each in responses for status in each} == {200}
    assert container.logs().count(BOOTED) == 2
    assert container.health() == "healthy"
    assert len(titles(container)) == 4
    stops_cleanly(container)


# ---- the database -------------------------------------------------------------------------------


def migrated(image: str, net: str, address: str) -> tuple[str, ...]:
    """The options of a container that uses the database, which is migrated."""
    docker(
        "run", "--rm", "--network", net, "-e", f"DATABASE_URL={address}", image, "app", "migrate"
    )
    return ("-e", f"DATABASE_URL={address}", "-e", "WEB_CONCURRENCY=1", *TOKEN)


@pytest.mark.slow
def test_without_names_it_lives_and_recovers(
    image: str, net: str, database: tuple[str, str], run: Run
) -> None:
    """The database's network is taken away, and the server that is asked for names is silent."""
    with network() as other:
        options = migrated(image, net, database[1])
        container = run("--network", other, "--dns", "192.0.2.1", *options)
        docker("network", "connect", net, container.name)
        eventually(lambda: status(container, "/readyz") == 200, 30, "ready")
        assert add(container, "before").status == 201

        docker("network", "disconnect", net, container.name)
        for _ in range(2):
            began = time.monotonic()
            response = container.get("/notes", timeout=60)
            # A name that nobody knows takes as long as the resolver tries: twice 5 seconds.
            assert time.monotonic() - began < 20
            assert response.status == 503
            assert response.headers["Retry-After"]
            assert container.get("/readyz").status == 503
            assert container.get("/livez").status == 200
            assert container.get("/hello/x").status == 200

        docker("network", "connect", net, container.name)
        eventually(lambda: container.get("/readyz").status == 200, 30, "ready again")
        assert add(container, "after").status == 201
        assert titles(container) == ["after", "before"]


def sql(server: str, statement: str) -> list[str]:
    """The command that runs it as the service's own user."""
    client = ["docker", "exec", "--env", "PGPASSWORD=app", server, "psql", "--host", "127.0.0.1"]
    return [*client, "--username", "app", "--tuples-only", "--no-align", "--command", statement]


LOCK = "BEGIN; LOCK TABLE notes IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(60)"
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'app' AND wait_event_type"
CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid != pg_backend_pid()"


@pytest.mark.parametrize(
    "how",
    ["the connection is closed", pytest.param("the server is killed", marks=pytest.mark.slow)],
)
def test_a_request_whose_database_connection_is_cut_gets_a_503_and_writes_nothing(
    image: str, net: str, database: tuple[str, str], run: Run, how: str
) -> None:
    server, address = database
    container = run("--network", net, *migrated(image, net, address)).wait_until_healthy()
    assert add(container, "before").status == 201
    with (
        running(sql(server, LOCK), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL),
        concurrent.futures.ThreadPoolExecutor(1) as pool,
    ):
        eventually(
            lambda: "AccessExclusiveLock" in output(sql(server, "SELECT mode FROM pg_locks")),
            10,
            "the table is locked",
        )
        request = pool.submit(add, container, "cut", timeout=30)
        eventually(lambda: output(sql(server, f"{WAITING} = 'Lock'")).strip() == "1", 4, "it waits")
        ended: list[float] = []
        request.add_done_callback(lambda _: ended.append(time.monotonic()))
        began = time.monotonic()
        if how == "the connection is closed":
            output(sql(server, CUT))
        else:
            docker("kill", server)
        response = request.result()
    # At once, and not after the 5 seconds that a statement may take.
    assert ended[0] - began < 3
    assert response.status == 503
    assert response.headers["Content-Type"] == "application/problem+json"
    assert container.get("/livez").status == 200
    if how == "the server is killed":
        docker("start", server)
    eventually(lambda: container.get("/readyz").status == 200, 30, "ready again")
    assert titles(container) == ["before"]
    assert add(container, "after").status == 201
    assert titles(container) == ["after", "before"]
    assert container.logs().count(BOOTED) == 1


def output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout
