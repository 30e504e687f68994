"""The service in a cluster, deployed as `make apply` does it, with a database outside of it."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apply
import manifests
import policies
from chaos import harness
from containers import docker, eventually, inspect, postgres, unique
from database import HAS_DATABASE
from processes import running

if TYPE_CHECKING:
    from collections.abc import Iterator

Thing = dict[str, Any]
SELECTOR = "app.kubernetes.io/name=app,app.kubernetes.io/component=service"
LOAD = Path(harness.__file__).with_name("load.py")
TOKEN = "a-token-of-the-tests"
# What a test must not wait for as long as an operator would.
HASTE = {"minReadySeconds": 2, "progressDeadlineSeconds": 30}


@dataclasses.dataclass(frozen=True)
class Where:
    """A cluster, and how a test reaches what is in it."""

    context: str
    network: str  # the engine's, from which pods can be reached and which they reach
    host: str  # where the node's ports are
    old: bool  # whether it is of 1.20

    @property
    def is_kind(self) -> bool:
        return self.context.startswith("kind-")

    def take(self, image: str) -> None:
        """Have an image of this engine on the node."""
        if self.is_kind:
            name = self.context.removeprefix("kind-")
            subprocess.run(["kind", "load", "docker-image", image, "--name", name], check=True)


def find(context: str) -> Where:
    """The cluster that is made here, or one of kind: others do not have this engine's images."""
    version = json.loads(apply.Cluster(context, "").run("no cluster", "version", "--output=json"))
    old = int(version["serverVersion"]["gitVersion"].split(".")[1]) < 25
    if not context.startswith("kind-"):
        return Where(context, "bridge", "127.0.0.1", old)
    node = inspect(f"{context.removeprefix('kind-')}-control-plane")
    return Where(context, "kind", node["NetworkSettings"]["Networks"]["kind"]["IPAddress"], old)


@dataclasses.dataclass
class Deployed:
    """The service in a namespace of its own."""

    where: Where
    cluster: apply.Cluster
    namespace: str
    image: str
    database: str  # the container's name, if there is one
    address: str  # the database's
    port: int = 0

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        """Run kubectl in the namespace and return what it prints."""
        done = self.cluster.kubectl(*arguments, text=text)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def get(self, *what: str) -> Thing:
        found: Thing = json.loads(self.kubectl("get", *what, "--output=json"))
        return found

    def objects(self, image: str = "", *components: str) -> list[Thing]:
        """What is deployed: the base, with the tests' image, a port of the node, and haste."""
        names = [*components, *(["kubernetes-1.20"] if self.where.old else [])]
        folders = [manifests.FOLDER / "components" / name for name in names]
        found = manifests.with_component(manifests.FOLDER / "base", *folders)
        found = manifests.with_image(found, image or self.image)
        for pod in policies.pods(found):
            # It is on the node already, and in no registry.
            pod.spec["containers"][0]["imagePullPolicy"] = "Never"
        (deployment,) = policies.of_kind(found, "Deployment")
        deployment["spec"].update(HASTE)
        for policy in policies.of_kind(found, "NetworkPolicy"):
            if policy["metadata"]["name"] == "to-database":
                peers = [{"ipBlock": {"cidr": f"{self.address}/32"}}]
                policy["spec"]["egress"][0]["to"] = peers
        (service,) = policies.of_kind(found, "Service")
        edge = copy.deepcopy(service)
        edge["metadata"]["name"] = "edge"
        edge["spec"] |= {"type": "NodePort", "ports": edge["spec"]["ports"][:1]}
        return [*found, edge]

    def deploy(self, objects: list[Thing]) -> None:
        """As `make apply` does it."""
        apply.deploy(self.cluster, objects)
        self.port = self.get("service", "edge")["spec"]["ports"][0]["nodePort"]

    def pods(self) -> list[Thing]:
        """The pods of the service that are not about to end, the oldest first."""
        found = self.get("pods", f"--selector={SELECTOR}")["items"]
        found = [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]
        return sorted(found, key=lambda pod: pod["metadata"]["creationTimestamp"])

    def ready(self) -> list[str]:
        """The names of those that get requests."""
        return [
            pod["metadata"]["name"]
            for pod in self.pods()
            for condition in pod["status"].get("conditions", [])
            if condition["type"] == "Ready" and condition["status"] == "True"
        ]

    def restarts(self) -> int:
        """How often containers were restarted."""
        return sum(s["restartCount"] for p in self.pods() for s in p["status"]["containerStatuses"])

    def settled(self) -> None:
        """Wait for two pods that are ready, and for the end of all others."""

        def two() -> bool:
            found = self.get("pods", f"--selector={SELECTOR}")["items"]
            return len(found) == 2 == len(self.ready())

        eventually(two, 90, "two pods, both ready", every=1)

    def python(self, pod: str, code: str) -> str:
        """Run Python in a pod and return what it prints."""
        return self.kubectl("exec", pod, "--", "python3", "-c", code)

    def restart(self) -> None:
        """Replace all pods, and wait until the old ones are gone."""
        self.kubectl("rollout", "restart", "deployment/app")
        self.kubectl("rollout", "status", "deployment/app", "--timeout=120s")
        self.settled()

    @contextlib.contextmanager
    def load(self, *options: Any) -> Iterator[harness.Load]:
        """Run chaos/load.py against the node's port."""
        command = [sys.executable, str(LOAD), "--host", self.where.host, "--port", str(self.port)]
        command += ["--clients", "16", "--patience", "5", *map(str, options)]
        with running(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "started\n"
            yield harness.Load(process)


@contextlib.contextmanager
def namespace(where: Where, image: str) -> Iterator[Deployed]:
    """A namespace with the secrets, and nothing deployed yet; gone in the end."""
    where.take(image)
    name = unique("space")
    with contextlib.ExitStack() as stack:
        container, address, given = "", "", []
        if HAS_DATABASE:
            container, _ = stack.enter_context(postgres(where.network))
            networks = inspect(container)["NetworkSettings"]["Networks"]
            address = networks[where.network]["IPAddress"]
            given = [f"--from-literal=database-url=postgresql://app:app@{address}/app"]
        found = Deployed(where, apply.Cluster(where.context, name), name, image, container, address)
        found.kubectl("create", "namespace", name)
        try:
            token = f"--from-literal=api-token={TOKEN}"
            found.kubectl("create", "secret", "generic", "app", token, *given)
            if given:
                found.kubectl("create", "secret", "generic", "migration", *given)
            yield found
        finally:
            found.kubectl("delete", "namespace", name, "--timeout=120s")


@contextlib.contextmanager
def cut_off(service: Deployed) -> Iterator[list[str]]:
    """The connections to the node's port that Docker's engine cuts off meanwhile: see at the end.

    It deletes what the kernel knows of them. Where pods are not in its network, there are none.
    """
    found: list[str] = []
    if service.where.is_kind:
        yield found
        return
    command = ["conntrack", "-E", "-e", "DESTROY", "-p", "tcp", "--dport", str(service.port)]
    with (
        tempfile.TemporaryFile("w+") as events,
        running(command, stdout=events, stderr=subprocess.DEVNULL) as process,
    ):
        yield found
        process.terminate()
        process.wait()
        events.seek(0)
        lines = [line for line in events if "progname=dockerd" in line]
        found += [line for line in lines if "TIME_WAIT" not in line]


@contextlib.contextmanager
def bad(image: str, dockerfile: str) -> Iterator[str]:
    """An image that is made worse by some lines of a Dockerfile."""
    name = f"{unique('bad')}:latest"
    command = ["docker", "build", "--quiet", "--provenance=false", "--tag", name, "-"]
    text = f"FROM {image}\n{dockerfile}\n"
    subprocess.run(command, input=text, text=True, check=True, capture_output=True)
    try:
        yield name
    finally:
        docker("image", "rm", "--force", name, check=False)
