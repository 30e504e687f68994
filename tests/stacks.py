"""A stack of a test's own, as a person has it: a copy of this checkout, and its verbs."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import urllib3

import archives
import checkouts
import stand_ins
import without_database
from checkouts import environment, make
from containers import docker, eventually, inspect, unique
from database import HAS_DATABASE
from stack import SECRETS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A background process and a one-off of the tests' own: a fork's may be of any name, or none.
SERVICES = """
  background:
    <<: *service
    profiles: [tests]
    command: [app, work]
    environment:
      API_TOKEN: ""
      DATABASE_URL: postgresql://app@db/app
      DATABASE_PASSWORD_FILE: /run/secrets/db_password
    secrets: [db_password]
    depends_on:
      migrate: { condition: service_completed_successfully }
    networks: [back]
  once:
    <<: *service
    command: [app, settings]
    restart: "no"
    networks: [back]
"""
TIMEOUT = 300  # seconds, for a verb or a compose command


@dataclasses.dataclass
class Stack:
    """A stack and the checkout that it is made from."""

    checkout: Path
    variables: dict[str, str]

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.variables['PORT']}"

    @property
    def project(self) -> str:
        return self.variables["COMPOSE_PROJECT_NAME"]

    @property
    def token(self) -> str:
        return (self.checkout / "secrets/api_token").read_text().strip()

    def make(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        given = self.variables | variables
        return make(*arguments, checkout=self.checkout, timeout=TIMEOUT, **given)

    def compose(self, *arguments: str, **variables: str) -> str:
        """Run `docker compose` as a person does in the checkout; return what it prints."""
        done = subprocess.run(
            ["docker", "compose", *arguments],
            cwd=self.checkout,
            env=environment(**self.variables | variables),
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT,
        )
        if done.returncode != 0:
            raise AssertionError(f"docker compose {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def running(self) -> list[str]:
        """The services that have a running container: a fork's own are among them."""
        found = sorted(set(self.listed('{{.Label "com.docker.compose.service"}}')))
        assert {"app", "background", "gateway"} | ({"db"} if HAS_DATABASE else set()) <= set(found)
        return found

    def of_the_image(self, container: str) -> bool:
        """Whether the container runs the service's image, whatever its own service is called."""
        image: str = inspect(container)["Config"]["Image"]
        return image == self.variables["IMAGE"]

    def containers(self, service: str) -> list[str]:
        """The ids of the service's running containers."""
        return self.listed("{{.ID}}", f"label=com.docker.compose.service={service}")

    def listed(self, column: str, *filters: str) -> list[str]:
        """A column of the list of running containers.

        Not by compose, which takes ten times as much of the processor for it.
        """
        project = f"label=com.docker.compose.project={self.project}"
        filters += ("status=running", "label=com.docker.compose.oneoff=False", project)
        options = (word for each in filters for word in ("--filter", each))
        return docker("ps", "--no-trunc", "--format", column, *options).stdout.splitlines()

    def get(self, path: str, method: str = "GET", **options: Any) -> urllib3.BaseHTTPResponse:
        options = {"retries": False, "redirect": False, "timeout": 30} | options
        return urllib3.request(method, f"{self.address}{path}", **options)

    def add(self, title: str) -> urllib3.BaseHTTPResponse:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        body = json.dumps({"title": title}).encode()
        return self.get("/api/notes", method="POST", headers=headers, body=body)

    def titles(self) -> list[str]:
        response = self.get("/api/notes?page_size=100").json()
        return [note["title"] for note in response["notes"]]

    def scale(self, count: int, background: int = 1) -> None:
        scales = (f"--scale=app={count}", f"--scale=background={background}")
        self.compose("up", "--detach", "--no-build", "--wait", *scales, "background", "gateway")
        assert len(self.containers("app")) == count

    def outside(self, code: str) -> str:
        """Run Python as root among this machine's processes: the tests may not be root."""
        options = ("--rm", "--pid=host", "--user=0", "--cap-add=SYS_PTRACE", "--network=none")
        return docker("run", *options, self.variables["IMAGE"], "python3", "-c", code).stdout

    def ready(self) -> None:
        """Wait until all is as it was."""
        eventually(lambda: self.get("/api/notes").status == 200, 60, "the service responds again")
        self.running()

        def healthy() -> bool:
            return all("(healthy)" in each for each in self.listed("{{.Status}}"))

        eventually(healthy, 60, "all is healthy", every=0.5)


def copy(target: Path) -> Path:
    """Copy this checkout, with something in each file of a secret that is the fork's own."""
    checkouts.copy(target)
    folder = target / "secrets"
    named = re.findall(
        r"^    file: secrets/(\w+)$", (target / "compose.yaml").read_text(), re.MULTILINE
    )
    for name in set(named) - set(SECRETS):
        folder.mkdir(exist_ok=True)
        (folder / name).write_text("of-the-tests")
        (folder / name).chmod(0o444)
    return target


def add_services(checkout: Path) -> None:
    """Give the stack of a copy the services of the tests' own."""
    file = checkout / "compose.yaml"
    text = file.read_text()
    assert text.count("\nservices:\n") == 1
    added = SERVICES if HAS_DATABASE else without_database.stack(SERVICES)
    file.write_text(text.replace("\nservices:\n", f"\nservices:{added}"))


@contextlib.contextmanager
def openssl() -> Iterator[str]:
    """An image with openssl, which not every machine has: PostgreSQL's, or one made here."""
    if HAS_DATABASE:
        yield stand_ins.image("db")
        return
    name = unique("openssl") + ":latest"
    try:
        archives.build(name, checkouts.CHECKOUT / "tests", "openssl.Dockerfile")
        yield name
    finally:
        docker("image", "rm", "--force", name, check=False)


def remove(project: str) -> None:
    """Remove all that belongs to the project, whatever state it is in."""
    label = f"label=com.docker.compose.project={project}"
    for kind, listing, removal in (
        ("container", ("ps", "--all"), ("rm", "--force", "--volumes")),
        ("network", ("network", "ls"), ("network", "rm")),
        ("volume", ("volume", "ls"), ("volume", "rm")),
    ):
        found = docker(*listing, "--quiet", "--filter", label).stdout.split()
        for name in found:
            assert docker(*removal, name, check=False).returncode == 0, f"{kind} {name}"
