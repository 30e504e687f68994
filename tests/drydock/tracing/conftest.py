"""An image with tracing, made of this checkout by its one line; and a receiver of the traces."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import containers
from checkouts import CHECKOUT, copy, make
from containers import docker, eventually, free_port, unique
from processes import running
from stacks import Stack, remove

if TYPE_CHECKING:
    from collections.abc import Iterator

LIST = "requirements/optional.list"


def names_tracing(checkout: Path) -> bool:
    lines = (checkout / LIST).read_text().splitlines()
    return "tracing" in [line.partition("#")[0].strip() for line in lines]


@pytest.fixture(scope="session")
def image(named_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The tests' own service, with tracing; the image that --image names, if that has it."""
    if names_tracing(CHECKOUT):
        with containers.probe(named_image) as name:
            yield name
        return
    checkout = copy(tmp_path_factory.mktemp("tracing") / "checkout")
    with (checkout / LIST).open("a") as file:
        file.write("tracing\n")
    built = unique("tracing") + ":latest"
    try:
        made = make("image", checkout=checkout, IMAGE=built)
        assert made.returncode == 0, made.stderr
        with containers.probe(built) as name:
            yield name
    finally:
        docker("image", "rm", "--force", built, check=False)


class Receiver:
    """receiver.py: killed, stopped or continued by its process id."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.file = folder / "spans"
        self.open = contextlib.ExitStack()
        self.process: subprocess.Popen[str] | None = None

    @property
    def options(self) -> tuple[str, ...]:
        """For a container on this machine's own network: where to send traces, and how soon."""
        endpoint = f"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:{self.port}"
        return ("--env", endpoint, "--env", "OTEL_BSP_SCHEDULE_DELAY=200")

    def start(self) -> None:
        script = Path(__file__).with_name("receiver.py")
        output = self.open.enter_context(self.file.open("a"))
        command = [sys.executable, str(script), str(self.port)]
        options: dict[str, Any] = {"stdout": output, "stderr": subprocess.DEVNULL}
        self.process = self.open.enter_context(running(command, **options))
        eventually(self.listens, 20, "the receiver listens")

    def listens(self) -> bool:
        # Not by a connection, which it would serve: nobody else gets the port.
        return f":{self.port:04X} 00000000:0000 0A" in Path("/proc/net/tcp").read_text()

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    @contextlib.contextmanager
    def hanging(self) -> Iterator[None]:
        """The kernel accepts connections for it, and what they send; nobody responds."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.process.pid, signal.SIGCONT)

    def spans(self, name: str = "") -> list[dict[str, Any]]:
        """What it has got so far, or only the spans of that name."""
        text = self.file.read_text()
        whole = text[: text.rfind("\n") + 1]
        found = [json.loads(line) for line in whole.splitlines()]
        return [span for span in found if name in ("", span["name"])]


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    """One that has been started."""
    made = Receiver(tmp_path)
    with made.open:
        made.start()
        yield made


@pytest.fixture
def stack(image: str, receiver: Receiver, tmp_path: Path) -> Iterator[Stack]:
    """The stack, started, with the image; its service reaches the receiver on this machine."""
    checkout = copy(tmp_path / "checkout")
    file = checkout / "compose.yaml"
    text, own = file.read_text(), "    networks: [back, front]\n"
    assert text.count(own) == 1
    reached = "    networks: [back, front, outer]\n    extra_hosts: [collector:host-gateway]\n"
    file.write_text(text.replace(own, reached))
    (checkout / ".env").write_text(
        f"OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:{receiver.port}\nOTEL_BSP_SCHEDULE_DELAY=200\n"
    )
    variables = {"COMPOSE_PROJECT_NAME": unique("stack"), "PORT": str(free_port()), "IMAGE": image}
    found = Stack(checkout, variables | {"IMAGE_AS_IS": "1"})
    try:
        up = found.make("up")
        assert up.returncode == 0, up.stderr
        yield found
    finally:
        remove(found.project)
