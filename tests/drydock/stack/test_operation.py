"""The verbs of the stack's operator: up, down, backup, restore, clean."""

from __future__ import annotations

import concurrent.futures
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from checkouts import environment
from containers import docker, inspect, started, unique
from stacks import add_services

if TYPE_CHECKING:
    from pathlib import Path

    from stacks import Stack

NETWORKS = ("back", "front", "outer")


def test_every_container_is_hardened_and_bounded(stack: Stack) -> None:
    for service in stack.running():
        for container in stack.containers(service):
            host = inspect(container)["HostConfig"]
            assert host["ReadonlyRootfs"], service
            assert host["CapDrop"] == ["ALL"]
            assert "no-new-privileges:true" in host["SecurityOpt"]
            profiled = any("SCMP_ACT" in option for option in host["SecurityOpt"])
            assert stack.of_the_image(container) == profiled
            assert host["PidsLimit"] > 0
            assert host["Memory"] > 0
            assert host["NanoCpus"] > 0
            assert host["LogConfig"]["Config"]["max-size"]
            assert host["RestartPolicy"]["Name"] == "unless-stopped"
            # Its own processes: a health check begins as root, outside.
            main = inspect(container)["State"]["Pid"]
            own = {main}
            listed = docker("top", container, "-eo", "pid,ppid,uid").stdout.splitlines()[1:]
            found = sorted(tuple(map(int, line.split())) for line in listed)
            assert main in {pid for pid, _, _ in found}
            for pid, parent, uid in found:
                if own & {pid, parent}:
                    own.add(pid)
                    assert uid != 0
            assert len(own) > 1 or service != "app"  # a background process is a single one


def test_no_health_check_starts_a_shell(stack: Stack) -> None:
    """Docker kills a late one alone; PostgreSQL would take its orphan's end for its own crash."""
    for service in stack.running():
        (container,) = stack.containers(service)
        assert inspect(container)["Config"]["Healthcheck"]["Test"][0] == "CMD", service


def test_no_container_shares_what_is_the_host_s(stack: Stack) -> None:
    """No namespace, no device, no network, and of its files only what the checkout has."""
    for service in stack.running():
        for container in stack.containers(service):
            found = inspect(container)
            host = found["HostConfig"]
            assert not host["Privileged"], service
            assert not host["Devices"]
            assert host["IpcMode"] == "private"
            for namespace in ("PidMode", "UTSMode", "UsernsMode", "CgroupParent"):
                assert host[namespace] == "", namespace
            off = {"seccomp=unconfined", "apparmor=unconfined", "label=disable", "label:disable"}
            assert not off & set(host["SecurityOpt"])
            assert not {"host", "bridge", "none"} & set(found["NetworkSettings"]["Networks"])
            for mount in found["Mounts"]:
                if mount["Type"] == "bind":
                    assert mount["Source"].startswith(f"{stack.checkout}/")
                    assert not mount["RW"]
                    assert mount["Propagation"] == "rprivate"
                else:
                    assert mount["Type"] == "volume"


@pytest.mark.slow
def test_the_service_itself_runs_in_it(small: Stack) -> None:
    """All other tests here are about the tests' own service."""
    add_services(small.checkout)
    file = small.checkout / "compose.yaml"
    # A service need not have a background process.
    file.write_text(file.read_text().replace("command: [app, work]", "command: [app, serve]", 1))
    up = small.make("up", COMPOSE_PROFILES="tests")
    assert up.returncode == 0, up.stderr
    assert small.containers("app")
    assert small.compose("ps", "--quiet", "background", COMPOSE_PROFILES="tests").split()
    # What is switched off is stopped, and not left to run an old image.
    up = small.make("up")
    assert up.returncode == 0, up.stderr
    assert "stopping what is switched off: background" in up.stderr
    assert not small.compose("ps", "--quiet", "background", COMPOSE_PROFILES="tests")
    assert f"GET http://localhost:{small.variables['PORT']}/api/" in up.stdout
    assert small.get("/api/openapi.json").status == 200


def test_a_rollout_that_can_t_see_its_replicas_says_so(small: Stack) -> None:
    done = small.make("rollout", DOCKER_HOST="unix:///nowhere")
    assert done.returncode != 0
    assert "which containers there are is not known" in done.stderr


def test_only_the_gateway_is_published_and_on_a_network_with_a_way_out(stack: Stack) -> None:
    for service in stack.running():
        (container,) = stack.containers(service)
        settings = inspect(container)["NetworkSettings"]
        published = [port for port, at in settings["Ports"].items() if at]
        assert published == (["8080/tcp"] if service == "gateway" else [])
        ways_out = [name for name in settings["Networks"] if not inspect(name)["Internal"]]
        assert ways_out == ([f"{stack.project}_outer"] if service == "gateway" else [])
    (gateway,) = stack.containers("gateway")
    assert docker("exec", gateway, "getent", "hosts", "db", check=False).returncode != 0


def test_nothing_but_the_gateway_reaches_an_outside_address(stack: Stack) -> None:
    """Outside is this machine, by the addresses that it has on the stack's networks or would have.

    It listens on all of them. The way to any other address leads over these.
    """

    def address(network: str) -> str:
        found: str = inspect(f"{stack.project}_{network}")["IPAM"]["Config"][0]["Gateway"]
        return found

    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]

        def connects(container: str, to: str) -> bool:
            connect = f"exec 3<>/dev/tcp/{to}/{port}"
            shell = ("timeout", "5", "bash", "-c", connect)
            python = (
                "python3",
                "-c",
                f"import socket; socket.create_connection(('{to}',{port}),5)",
            )
            command = python if stack.of_the_image(container) else shell
            return docker("exec", container, *command, check=False).returncode == 0

        tried = [
            (service, network, container, address(network))
            for service in {*stack.running()} - {"gateway"}
            for container in stack.containers(service)
            for network in NETWORKS
        ]
        with concurrent.futures.ThreadPoolExecutor(len(tried)) as pool:  # most time out
            reached = pool.map(lambda each: connects(*each[2:]), tried)
            assert [each[:2] for each, did in zip(tried, reached, strict=True) if did] == []
        (gateway,) = stack.containers("gateway")
        # The official image has no bash.
        url = f"http://{address('outer')}:{port}/"
        command = ("docker", "exec", gateway, "wget", "-q", "-T", "5", "-O", "/dev/null", url)
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as client:
            server.settimeout(10)
            with server.accept()[0] as connection:
                connection.recv(4096)
                # Or it would try again and again.
                connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")
            assert client.wait(20) == 0


@pytest.mark.database
def test_the_data_survives_down_and_up(stack: Stack) -> None:
    stack.add("kept over down and up")
    # What was switched off meanwhile is stopped all the same.
    assert stack.make("down", COMPOSE_PROFILES="").returncode == 0
    assert stack.compose("ps", "--quiet") == ""
    up = stack.make("up")
    assert up.returncode == 0, up.stderr
    assert "kept over down and up" in stack.titles()


@pytest.mark.database
def test_a_backup_brings_back_what_was_deleted_and_nothing_else(
    stack: Stack, tmp_path: Path
) -> None:
    stack.add("in the backup")
    dump = tmp_path / "app.dump"
    saved = stack.make("backup", f"FILE={dump}")
    assert saved.returncode == 0, saved.stderr
    assert dump.stat().st_mode & 0o077 == 0
    again = stack.make("backup", f"FILE={dump}")
    assert again.returncode != 0
    assert "exists already" in again.stderr

    stack.add("after the backup")
    (db,) = stack.containers("db")
    sql = (
        "exec",
        db,
        "psql",
        "--username=app_owner",
        "--dbname=app",
        "--quiet",
        "--tuples-only",
        "--command",
    )
    docker(*sql, "CREATE TABLE of_a_later_release (id integer)")
    docker(*sql, "DELETE FROM notes WHERE title = 'in the backup'")
    assert "in the backup" not in stack.titles()

    refused = stack.make("restore", f"FILE={dump}")
    assert refused.returncode != 0
    assert "after the backup" in stack.titles()
    restored = stack.make("restore", f"FILE={dump}", "YES=1")
    assert restored.returncode == 0, restored.stderr
    assert "in the backup" in stack.titles()
    assert "after the backup" not in stack.titles()
    assert stack.add("after the restore").status == 201
    # Which the next migration would stumble over.
    assert docker(*sql, "SELECT to_regclass('of_a_later_release')").stdout.strip() == ""
    # What is restored can be backed up and restored again.
    second = tmp_path / "second.dump"
    assert stack.make("backup", f"FILE={second}").returncode == 0
    assert stack.make("restore", f"FILE={second}", "YES=1").returncode == 0
    assert "after the restore" in stack.titles()


@pytest.mark.database
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"),
        (b"SELECT 1;", "is no backup"),
        (b"PGDMP" + 100 * b"x", "nothing was changed, because pg_restore failed"),
    ],
)
def test_a_broken_backup_changes_nothing(
    stack: Stack, tmp_path: Path, content: bytes | None, reason: str
) -> None:
    before = stack.titles()
    file = tmp_path / "broken.dump"
    if content is not None:
        file.write_bytes(content)
    done = stack.make("restore", f"FILE={file}", "YES=1")
    assert done.returncode != 0
    assert reason in done.stderr
    assert "Traceback" not in done.stderr
    assert stack.titles() == before


@pytest.mark.database
@pytest.mark.parametrize("verb", ["backup", "restore"])
def test_a_verb_that_lacks_something_says_what(small: Stack, verb: str) -> None:
    done = small.make(verb)
    assert done.returncode != 0
    assert f"name the file: make {verb} FILE=" in done.stderr
    done = small.make(verb, "FILE=x.dump")
    assert done.returncode != 0
    assert "the database is not running; `make up` starts the stack" in done.stderr


def test_a_rollout_of_nothing_says_so(small: Stack) -> None:
    done = small.make("rollout")
    assert done.returncode != 0
    assert "the stack is not running; `make up` starts it" in done.stderr


@pytest.mark.slow
def test_a_service_that_restarts_again_and_again_is_named_with_its_last_lines(
    stack: Stack,
) -> None:
    file = stack.checkout / "compose.yaml"
    text = file.read_text()
    command = "    command: [app, work]\n    environment:\n"
    assert command in text
    file.write_text(text.replace(command, f"{command}      WORK_INTERVAL: never\n", 1))
    try:
        up = stack.make("up")
    finally:
        file.write_text(text)
    assert up.returncode != 0
    assert "WORK_INTERVAL='never'" in up.stdout + up.stderr
    assert stack.make("up").returncode == 0


def test_a_service_that_can_t_have_two_containers_is_named(stack: Stack) -> None:
    file = stack.checkout / "compose.yaml"
    text = file.read_text()
    assert "\n    build: .\n" in text
    file.write_text(text.replace("\n    build: .\n", "\n    build: .\n    container_name: one\n"))
    try:
        rollout = stack.make("rollout")
    finally:
        file.write_text(text)
    assert rollout.returncode != 0
    assert "app has a container_name, so there can't be two; remove it" in rollout.stderr


@pytest.mark.slow
def test_a_port_in_use_is_one_clear_line(stack: Stack) -> None:
    sleep = ("python3", "-c", "import time; time.sleep(60)")
    with started(stack.variables["IMAGE"], command=sleep) as other:
        done = stack.make("up", PORT=str(other.port))
    assert done.returncode != 0
    assert f"error: port {other.port} is in use on this machine" in done.stderr
    assert "Traceback" not in done.stderr
    assert stack.make("up").returncode == 0


def test_clean_keeps_the_data_unless_asked_to_delete_it(small: Stack) -> None:
    """The part of it that is about data; the other removes images that other tests need."""
    clean = [sys.executable, "scripts/stack.py", "clean"]
    volume = f"{small.project}_db"
    docker("volume", "create", "--label", f"com.docker.compose.project={small.project}", volume)
    for answer, exists in (({}, True), ({"YES": "1"}, False)):
        variables = environment(**small.variables | answer)
        done = subprocess.run(
            clean,
            cwd=small.checkout,
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        )
        assert (f"kept {volume}" in done.stderr) == exists
        assert (volume in docker("volume", "ls", "--quiet").stdout.split()) == exists


@pytest.mark.slow
def test_nobody_else_s_containers_are_touched(stack: Stack) -> None:
    """Not even those of another project that happens to have this one's name."""
    name = unique("foreign")
    labels = {"project": stack.project, "service": "other", "oneoff": "False"}
    options = [f"--label=com.docker.compose.{key}={value}" for key, value in labels.items()]
    docker("run", "--detach", "--name", name, *options, stack.variables["IMAGE"])
    try:
        assert stack.make("up").returncode == 0
        assert inspect(name)["State"]["Running"]
    finally:
        docker("rm", "--force", "--volumes", name)


def test_no_container_leaves_a_volume_behind(stack: Stack) -> None:
    for service in stack.compose("config", "--services").split():
        (container,) = stack.compose("ps", "--all", "--quiet", service).split()
        mounts = inspect(container)["Mounts"]
        volumes = [mount["Name"] for mount in mounts if mount["Type"] == "volume"]
        assert volumes == ([f"{stack.project}_db"] if service == "db" else [])


def test_the_port_may_come_from_the_settings_file(small: Stack) -> None:
    port = small.variables.pop("PORT")
    (small.checkout / ".env").write_text(f"PORT={port}\n")
    done = subprocess.run(
        [sys.executable, "-c", "import stack; print(stack.port())"],
        cwd=small.checkout / "scripts",
        env=environment(**small.variables),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == port
