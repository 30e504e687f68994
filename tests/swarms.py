"""A swarm of three nodes, each an engine in a container, and the stack in it by `make deploy`."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import base
import checkouts
import rehearse
import stand_ins
from chaos import harness
from containers import docker, eventually, inspect, network, postgres, unique
from database import HAS_DATABASE
from image import SWARM_NODE
from processes import running

if TYPE_CHECKING:
    from collections.abc import Iterator

CHAOS = Path(harness.__file__).parent
LOAD = CHAOS / "load.py"
STACK = "notes"
TOKEN = "a-token-of-the-tests"
PASSWORD = "app"
# The roles that deploy/postgres makes in a stack's own database.
ROLES = """
CREATE ROLE app LOGIN PASSWORD 'app';
ALTER DEFAULT PRIVILEGES GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO app;
ALTER DEFAULT PRIVILEGES GRANT SELECT, USAGE ON SEQUENCES TO app;
"""


@dataclasses.dataclass(frozen=True)
class Node:
    """A container with an engine."""

    name: str
    socket: Path
    network: str

    @property
    def host(self) -> str:
        return f"unix://{self.socket}"

    @property
    def address(self) -> str:
        address: str = inspect(self.name)["NetworkSettings"]["Networks"][self.network]["IPAddress"]
        return address

    def docker(self, *arguments: str) -> str:
        """Run docker on the node's engine and return what it prints."""
        return docker("--host", self.host, *arguments).stdout

    def answers(self) -> bool:
        return docker("--host", self.host, "info", check=False).returncode == 0

    def lose_power(self) -> None:
        """All at once, and without a word to anybody."""
        docker("network", "disconnect", "--force", self.network, self.name)
        docker("kill", self.name)


@dataclasses.dataclass
class Swarm:
    """Three nodes, the first of which is the manager, and a registry that they pull from."""

    nodes: list[Node]
    registry: tuple[str, str]  # its address for this machine, and for the nodes
    folder: Path
    variables: dict[str, str]

    @property
    def manager(self) -> Node:
        return self.nodes[0]

    def push(self, image: str) -> str:
        """Push an image of this engine; return the name by which nodes pull it."""
        here, there = self.registry
        name = f"{here}/service:{unique('tag')}"
        docker("tag", image, name)
        try:
            pushed = docker("push", name).stdout
        finally:
            docker("image", "rm", name, check=False)
        digest = re.findall(r"digest: (sha256:\w{64})", pushed)[-1]
        return f"{there}/service@{digest}"

    def make_secret(self, name: str, value: str) -> None:
        command = [
            "docker",
            "--host",
            self.manager.host,
            "secret",
            "create",
            f"{STACK}_{name}",
            "-",
        ]
        subprocess.run(command, input=value, text=True, check=True, capture_output=True)

    def deploy(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run `make deploy` as a person does."""
        given = self.variables | {"DOCKER_HOST": self.manager.host} | variables
        return checkouts.make("deploy", *arguments, checkout=self.folder, timeout=400, **given)

    def service(self, name: str) -> dict[str, Any]:
        """What the swarm knows of a service."""
        found: dict[str, Any] = json.loads(
            self.manager.docker("service", "inspect", f"{STACK}_{name}")
        )[0]
        return found

    def image(self) -> str:
        """The image that the service is to have."""
        found: str = self.service("app")["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"]
        return found

    def tasks(self, name: str, *, running: bool = True) -> dict[str, str]:
        """The ids of a service's tasks that are to run, and that do, each with its node's name."""
        form = "{{.ID}} {{.Node}} {{.CurrentState}}"
        options = ("--no-trunc", "--filter=desired-state=running", f"--format={form}")
        lines = self.manager.docker("service", "ps", *options, f"{STACK}_{name}").splitlines()
        found = [line.split() for line in lines]
        return {each[0]: each[1] for each in found if not running or each[2] == "Running"}

    def containers(self, node: Node, name: str) -> list[str]:
        """The containers of a service's tasks on a node."""
        service = f"label=com.docker.swarm.service.name={STACK}_{name}"
        return node.docker("ps", "--quiet", f"--filter={service}").split()

    def gateway_log(self) -> list[str]:
        """The lines of the second node's gateway, which the load goes through."""
        (container,) = self.containers(self.nodes[1], "gateway")
        return self.nodes[1].docker("logs", container).splitlines()

    @contextlib.contextmanager
    def load(self, *options: str, path: str = "/api/hello/load") -> Iterator[harness.Load]:
        """Clients of the second node's gateway."""
        where = ("--host", self.nodes[1].address, "--port", "8080", "--path", path)
        command = [sys.executable, str(LOAD), *where, "--patience", "30", "--clients", "12"]
        with running([*command, *options], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "started\n"
            yield harness.Load(process)


@contextlib.contextmanager
def nodes(on: str, registry: str, folder: Path) -> Iterator[list[Node]]:
    """Three engines, each in a container on the network `on`, with its data in a volume."""
    build = ["docker", "build", "--quiet", "--provenance=false", "--tag", SWARM_NODE]
    text = Path(__file__).with_name("swarm-node.Dockerfile").read_text()
    command = [*build, *base.build_options(), "-"]
    subprocess.run(command, input=text, text=True, check=True, capture_output=True)
    found = [Node(unique("node"), folder / f"{number}.sock", on) for number in range(3)]
    try:
        for number, node in enumerate(found):
            docker(
                *("run", "--detach", "--privileged", "--name", node.name, "--network", on),
                *("--hostname", f"node-{number + 1}", "--tmpfs", "/run", "--tmpfs", "/tmp"),
                *("--volume", "/var/lib/docker", "--volume", f"{folder}:{folder}", SWARM_NODE),
                *(f"--host={node.host}", f"--group={os.getgid()}"),
                # As docs/swarm.md has it in daemon.json.
                *("--no-new-privileges", f"--insecure-registry={registry}"),
            )
        for node in found:
            eventually(node.answers, 60, f"{node.name} answers")
        yield found
    finally:
        for node in found:
            docker("rm", "--force", "--volumes", node.name, check=False)


def join(found: list[Node]) -> None:
    """Make a swarm of the nodes."""
    manager, *workers = found
    manager.docker("swarm", "init", f"--advertise-addr={manager.address}")
    token = manager.docker("swarm", "join-token", "--quiet", "worker").strip()
    for worker in workers:
        worker.docker("swarm", "join", f"--token={token}", f"{manager.address}:2377")


@contextlib.contextmanager
def database(on: str) -> Iterator[str]:
    """A database outside of the swarm, with the two roles: what follows `@` in its URL."""
    if not HAS_DATABASE:
        yield ""
        return
    with postgres(on, "--env=POSTGRES_DB=app", user="app_owner") as (name, _):
        psql = ("psql", "--username=app_owner", "--dbname=app", "--quiet", "--set=ON_ERROR_STOP=1")
        docker("exec", name, *psql, f"--command={ROLES}")
        yield f"{inspect(name)['NetworkSettings']['Networks'][on]['IPAddress']}/app"


@contextlib.contextmanager
def swarm() -> Iterator[Swarm]:
    """The swarm, with nothing in it yet; gone in the end."""
    name = unique("registry")
    with (
        tempfile.TemporaryDirectory(prefix="swarm-") as folder,
        network() as on,
        rehearse.local_registry(name, "--network", on) as here,
        database(on) as address,
        nodes(on, f"{name}:5000", Path(folder)) as found,
    ):
        join(found)
        checkout = checkouts.copy(Path(folder, "checkout"))
        made = Swarm(found, (here, f"{name}:5000"), checkout, {})
        gateway = made.push(stand_ins.image("gateway"))
        (checkout / "tests.yaml").write_text(f"services: {{gateway: {{image: {gateway}}}}}\n")
        made.variables = {
            "COMPOSE_FILE": "compose.yaml:tests.yaml",
            "COMPOSE_PROJECT_NAME": STACK,
            "DATABASE_SERVER": address,
            "GATEWAY_RATE": "100000",
            "GATEWAY_BURST": "1000",
        }
        yield made
