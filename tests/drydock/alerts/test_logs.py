"""The stack's logs in one place: a real rsyslog ships them, and one id finds a request in all."""

from __future__ import annotations

import json
import socket
import threading
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import base
from checkouts import CHECKOUT
from containers import docker, eventually, unique

if TYPE_CHECKING:
    from collections.abc import Iterator

    from watched import Watched

CONFIGURATION = CHECKOUT / "deploy/logging/rsyslog.conf"


class Receiver:
    """The one place: takes JSON objects, one a line, over TCP."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self.server = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self.run, daemon=True).start()

    def run(self) -> None:
        client, _ = self.server.accept()
        with client, client.makefile(encoding="utf-8", errors="replace") as stream:
            for line in stream:
                self.lines += [json.loads(line)]

    def of(self, container: str, **fields: Any) -> list[dict[str, Any]]:
        """The lines of a service's containers with these fields."""
        return [
            line
            for line in list(self.lines)
            if f"-{container}-" in line.get("container", "") and fields.items() <= line.items()
        ]


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    """With a shipper on this machine's network, as the server's own would be."""
    found = Receiver()
    name = unique("rsyslog")
    file = Path(__file__).parents[2] / "rsyslog.Dockerfile"
    built = ("--quiet", "--tag", f"{name}:latest", "--file", str(file), *base.build_options())
    docker("build", *built, str(file.parent), timeout=600)
    # A server's own has these two lines around what is included.
    main = tmp_path / "rsyslog.conf"
    main.write_text(f'global(workDirectory="/var/spool/rsyslog")\n{CONFIGURATION.read_text()}')
    main.chmod(0o644)
    root = docker("info", "--format", "{{.DockerRootDir}}").stdout.strip()
    try:
        docker(
            *("run", "--detach", "--name", name, "--network", "host", "--tmpfs=/var/spool/rsyslog"),
            *("--env", "LOGS_HOST=127.0.0.1"),
            *("--env", f"LOGS_PORT={found.server.getsockname()[1]}"),
            *("--volume", f"{root}/containers:/var/lib/docker/containers:ro"),
            *("--volume", f"{main}:/etc/rsyslog.conf:ro"),
            *(f"{name}:latest", "rsyslogd", "-n", "-i", "/tmp/pid"),
        )
        yield found
    finally:
        found.server.close()
        docker("rm", "--force", name, check=False)
        docker("image", "rm", "--force", f"{name}:latest", check=False)


def test_one_id_finds_a_request_in_the_gateway_and_in_the_service(
    watched: Watched, receiver: Receiver
) -> None:
    found = uuid.uuid4().hex
    watched.get("/api/notes", headers={"X-Request-ID": found})
    what = "the gateway's line and the service's"
    eventually(
        lambda: receiver.of("gateway", request_id=found) and receiver.of("app", request_id=found),
        60,
        what,
    )
    (service,) = receiver.of("app", request_id=found)
    (gateway,) = receiver.of("gateway", request_id=found)
    assert service["status"] == gateway["status"] == 200
    assert service["container"].startswith(watched.project)
    # Text is shipped as well, as a message with the time that the engine gave it.
    texts = [line for line in receiver.of("db") if "ready to accept" in line["message"]]
    assert texts
    assert texts[0]["time"].startswith("20")
