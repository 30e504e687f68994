"""A thin hold on the docker command line, as a user types it: no mocks, no SDK in between."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import random
import socket
import subprocess
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import urllib3

import stand_ins

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECCOMP = Path(__file__).parents[1] / "deploy" / "seccomp.json"
# What production runs with; compose.yaml says the same.
HARDENED = (
    *("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"),
    *("--security-opt", "no-new-privileges", "--security-opt", f"seccomp={SECCOMP}"),
    *("--pids-limit", "64", "--memory", "256m"),
)


def docker(
    *arguments: str, check: bool = True, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """Run a docker command, `timeout` seconds at the most, and keep what it prints."""
    done = subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, check=False, timeout=timeout
    )
    if check and done.returncode != 0:
        raise AssertionError(f"docker {' '.join(arguments)}: {done.stderr}")
    return done


def inspect(thing: str) -> dict[str, Any]:
    """What the engine knows of an image or a container."""
    found: dict[str, Any] = json.loads(docker("inspect", thing).stdout)[0]
    return found


# In the names of all that one run makes, in whichever of pytest-xdist's workers: see `sweep`.
RUN = os.environ.get("PYTEST_XDIST_TESTRUNUID", uuid.uuid4().hex)[:8]


def unique(kind: str) -> str:
    """A name that nothing else on this engine has."""
    return f"contract-{kind}-{RUN}-{uuid.uuid4().hex[:8]}"


# The kernel takes higher ones for outgoing connections: net.ipv4.ip_local_port_range.
PORTS = range(20_000, 32_000)


def free_port() -> int:
    """A TCP port that nobody listens on, and no other test gets before this process ends.

    Tests run side by side, in several processes: between the check of a port and its use another
    one would find it free as well. Hence a socket with the port's name, which the kernel gives to
    one process only and takes back from one that is gone.
    """
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket(socket.AF_UNIX) as claim, contextlib.suppress(OSError):
            claim.bind(f"\0drydock-port-{port}")
            socket.create_server(("", port)).close()
            claim.detach()  # and never closed
            return port
    raise AssertionError(f"no port of {PORTS} is free")


def eventually(
    condition: Callable[[], Any], within: float, what: str, *, every: float = 0.25
) -> Any:
    """Wait until `condition()` is true, `within` seconds at the most; return what it gave.

    It is asked every so many seconds; not more often, since most ask by starting a program.
    """
    deadline = time.monotonic() + within
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within} s: {what}")
        time.sleep(every)
    return result


@contextlib.contextmanager
def paused(container: str) -> Iterator[None]:
    """Freeze all its processes for a while.

    Under load the engine may give up ("unable to freeze"), having let them go on.
    """

    def freeze() -> bool:
        done = docker("pause", container, check=False)
        assert done.returncode == 0 or "unable to freeze" in done.stderr, done.stderr
        return done.returncode == 0

    eventually(freeze, 30, "paused")
    try:
        yield
    finally:
        docker("unpause", container)


@dataclasses.dataclass
class Container:
    """A started container."""

    name: str
    port: int  # on this machine, where the container's own is published

    def health(self) -> str:
        """Docker's word for its health."""
        status: str = inspect(self.name)["State"]["Health"]["Status"]
        return status

    def wait_until_healthy(self) -> Container:
        def settled() -> str | None:
            state = inspect(self.name)["State"]
            if not state["Running"]:
                raise AssertionError(f"it ended with {state['ExitCode']}: {self.logs()}")
            return "yes" if state["Health"]["Status"] == "healthy" else None

        eventually(settled, 60, "healthy", every=0.5)  # Docker checks once a second
        return self

    def get(self, path: str, method: str = "GET", **options: Any) -> urllib3.BaseHTTPResponse:
        options = {"retries": False, "timeout": 10} | options
        return urllib3.request(method, f"http://127.0.0.1:{self.port}{path}", **options)

    def python(self, code: str) -> str:
        """Run Python in the container, as its user, and return what it prints."""
        return docker("exec", self.name, "python3", "-c", code).stdout

    def logs(self) -> str:
        """What it has printed so far, both streams.

        A request's line comes after its response, and by way of the engine: wait for what is late.
        """
        before, now = None, ""
        while now != before:
            time.sleep(0.2)
            done = docker("logs", self.name)
            before, now = now, done.stdout + done.stderr
        return now


@contextlib.contextmanager
def probe(image: str) -> Iterator[str]:
    """The image with the tests' own service laid over the fork's: the name of a further image.

    Nothing else of it changes, and nothing that the template promises may depend on the fork's
    service.
    """
    name = f"{unique('probe')}:latest"
    dockerfile = f"FROM {image}\nCOPY --chmod=755 . /probe/app\nENV PYTHONPATH=/probe\n"
    command = ["docker", "build", "--quiet", "--provenance=false", "--tag", name, "--file", "-"]
    folder = Path(__file__).with_name("drydock") / "probe"
    try:
        subprocess.run(
            [*command, str(folder)], input=dockerfile, text=True, check=True, capture_output=True
        )
        yield name
    finally:
        docker("image", "rm", "--force", name, check=False)


def remove_containers(which: str) -> None:
    """Remove the containers that match a `docker ps` filter, so that what they use can go too."""
    for container in docker("ps", "--all", "--quiet", "--filter", which).stdout.split():
        docker("rm", "--force", "--volumes", container)


def sweep(run: str) -> list[str]:
    """Remove what a run of that id has left, and return its names.

    Each worker removes what it has made. But after Ctrl-C pytest-xdist gives it five seconds, then
    interrupts that as well, and kills it after ten.
    """
    left = []
    for listing, removal in (
        ("ps --all --format {{.Names}} --filter name=-RUN-", "rm --force --volumes"),
        ("network ls --format {{.Name}} --filter name=-RUN-", "network rm"),
        ("volume ls --format {{.Name}} --filter name=-RUN-", "volume rm"),
        ("image ls --format {{.Repository}}:{{.Tag}} --filter reference=*-RUN-*", "image rm"),
    ):
        words = listing.replace("RUN", run[:8]).split()
        if found := docker(*words).stdout.split():
            docker(*removal.split(), *found, check=False)
            left += found
    return left


@contextlib.contextmanager
def network() -> Iterator[str]:
    """A network of the test's own, on which containers find each other by name."""
    name = unique("network")
    docker("network", "create", name)
    try:
        yield name
    finally:
        remove_containers(f"network={name}")
        docker("network", "rm", name)


@contextlib.contextmanager
def postgres(on: str, *options: str, user: str = "app") -> Iterator[tuple[str, str]]:
    """A PostgreSQL server on the network `on`, with an empty database: its name, its address.

    The stack's own: the official image, or its stand-in. `user` is its superuser.
    """
    image = stand_ins.image("db")
    variables = (f"--env=POSTGRES_USER={user}", "--env=POSTGRES_PASSWORD=app", *options)
    name = unique("postgres")
    try:
        docker("run", "--detach", "--name", name, "--network", on, *variables, image)
        # Not by the socket, which is open already while the first start sets the database up.
        ready = ("exec", name, "pg_isready", "--quiet", "--host", "127.0.0.1")
        eventually(lambda: docker(*ready, check=False).returncode == 0, 60, "PostgreSQL is ready")
        yield name, f"postgresql://{user}:app@{name}/{user}"
    finally:
        docker("rm", "--force", "--volumes", name, check=False)


def ended(image: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a container that should end by itself within a minute, and keep what it prints."""
    name = unique("run")
    try:
        return docker("run", "--name", name, *options, image, check=False, timeout=60)
    finally:
        docker("rm", "--force", "--volumes", name, check=False)


@contextlib.contextmanager
def started(image: str, *options: str, command: tuple[str, ...] = ()) -> Iterator[Container]:
    """Start a container, published on a free port; remove it and its volumes in the end."""
    port = free_port()
    container = Container(unique("run"), port)
    # `--publish` to the port that APP_PORT names, wherever that came from.
    inside = next((o.partition("=")[2] for o in options if o.startswith("APP_PORT=")), "5000")
    publish = ("--publish", f"127.0.0.1:{port}:{inside}")
    try:
        docker("run", "--detach", "--name", container.name, *publish, *options, image, *command)
        yield container
    finally:
        docker("rm", "--force", "--volumes", container.name, check=False)


@contextlib.contextmanager
def on_host(image: str, *options: str, command: tuple[str, ...] = ()) -> Iterator[Container]:
    """Start a container on this machine's own network, as `started` does on one of its own.

    The proxy behind a published port hides resets, and causes others.
    """
    port, metrics_port = free_port(), free_port()
    container = Container(unique("run"), port)
    ports = ("--env", f"APP_PORT={port}", "--env", f"METRICS_PORT={metrics_port}")
    try:
        docker(
            *("run", "--detach", "--name", container.name, "--network", "host", *ports),
            *(*options, image, *command),
        )
        yield container
    finally:
        docker("rm", "--force", "--volumes", container.name, check=False)
