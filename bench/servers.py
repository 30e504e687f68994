"""Containers to measure: their images, their data, one server at a time.

On the host's network, so that no proxy is measured, and with the engine's default log driver,
which reads and stores what a server prints.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
from pathlib import Path
from typing import TYPE_CHECKING

import base
import image as project
from common import ROOT, die, step
from containers import docker, eventually, free_port, inspect, network, postgres, probe, unique
from shapes import SERVICE_OPTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shapes import Shape

PEERS = Path(__file__).with_name("peers")
NETWORK = ("--network", "host", "--log-driver", "json-file")
TOKEN = "benchmark-benchmark"  # of a database with one note


@dataclasses.dataclass(frozen=True)
class Images:
    """The names of the images that a run measures."""

    service: str  # with the tests' own service, so that a fork's may be any
    peers: str
    slim: str
    volume: str  # with the database that all read


@dataclasses.dataclass(frozen=True)
class Server:
    """A started container."""

    name: str
    port: int

    def status(self, path: str = "/livez") -> int:
        """The status of a GET; 0 where nothing answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def wait(self, title: str, within: float) -> None:
        """Wait until it answers, so many seconds at the most.

        Raises:
            AssertionError: if it ends, or does not answer by then.

        """

        def answers() -> bool:
            if not inspect(self.name)["State"]["Running"]:
                raise AssertionError("it has ended")
            return self.status() == 200

        try:
            eventually(answers, within, "it answers")
        except AssertionError as problem:
            said = docker("logs", "--tail", "20", self.name, check=False)
            text = f"{title}: {problem}\n{said.stdout}{said.stderr}"
            raise AssertionError(text) from None


def build_peers(target: str) -> str:
    """Build a target of the peers' Dockerfile; return the image's name."""
    name = project.peer(target)
    command = ["docker", "build", "--provenance=false", "--target", target, "--tag", name]
    command += ["--file", str(PEERS / "Dockerfile"), *base.build_options(), *project.secrets()]
    step(f"building {name}", [*command, str(ROOT)], hint="Run it by hand to see all it prints")
    return name


@contextlib.contextmanager
def running(images: Images, shape: Shape, *options: str, within: float = 30) -> Iterator[Server]:
    """A server that answers, within so many seconds; its container is removed in the end.

    Raises:
        AssertionError: if it does not start, with what it has said.

    """
    server = Server(unique("bench"), free_port())
    port = str(server.port)
    ports = {"APP_PORT": port, "PORT": port, "FLASK_RUN_PORT": port, "GRANIAN_PORT": port}
    # Every server listens everywhere, as the service does.
    ports |= {"FLASK_RUN_HOST": "0.0.0.0", "GRANIAN_HOST": "0.0.0.0"}
    if "METRICS_PORT" not in shape.variables:
        ports["METRICS_PORT"] = str(free_port())
    words = [w for pair in (ports | shape.variables).items() for w in ("--env", "=".join(pair))]
    words += ["--volume", f"{images.volume}:/data", *(SERVICE_OPTIONS if shape.service else ())]
    words += ["--volume", f"{PEERS}:/bench:ro"]
    image = images.service if shape.service else images.peers
    command = (*NETWORK, *words, *options, image, *shape.command)
    try:
        docker("run", "--detach", "--name", server.name, *command)
        server.wait(shape.title, within)
        yield server
    finally:
        docker("rm", "--force", "--volumes", server.name, check=False)


def add_note(server: Server) -> None:
    """Store the note that all read.

    Raises:
        SystemExit: if the service does not take it.

    """
    fields = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("POST", "/notes", '{"title": "bench"}', fields)
    answer = connection.getresponse()
    if answer.status != 201:
        die(f"the service stores no note: {answer.status} {answer.read()!r}")
    connection.close()


@contextlib.contextmanager
def prepared(image: str, shape: Shape) -> Iterator[Images]:
    """The images, and a volume with a database that has one note."""
    with probe(image) as service:
        volume = unique("bench")
        peers, slim = map(build_peers, project.PEERS)
        images = Images(service, peers, slim, volume)
        try:
            with running(images, shape, "--env", f"API_TOKEN={TOKEN}") as server:
                add_note(server)
            yield images
        finally:
            docker("volume", "rm", "--force", volume, check=False)


@contextlib.contextmanager
def on_postgres(images: Images, shape: Shape) -> Iterator[tuple[str, ...]]:
    """A PostgreSQL server with the same note: the options by which a server finds it."""
    with network() as net, postgres(net) as (name, address):
        networks = inspect(name)["NetworkSettings"]["Networks"]
        url = address.replace(f"@{name}", f"@{networks[net]['IPAddress']}")
        option = ("--env", f"DATABASE_URL={url}")
        docker("run", "--rm", *NETWORK, *option, images.service, "app", "migrate")
        with running(images, shape, *option, "--env", f"API_TOKEN={TOKEN}") as server:
            add_note(server)
        yield option
