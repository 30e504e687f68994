"""Cold start: from `docker run` to the first 200, beside Python with the same imports alone."""

from __future__ import annotations

import contextlib
import dataclasses
import subprocess
import time
from typing import TYPE_CHECKING

from common import say
from containers import docker, eventually, free_port, unique
from servers import NETWORK, Server
from shapes import CPUS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servers import Images

# Imports, and answers one request: all that a start consists of without a server.
ANSWER = """
{imports}
import os, socket
server = socket.create_server(("127.0.0.1", int(os.environ["APP_PORT"])))
client, _ = server.accept()
client.recv(65536)
client.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")
"""
WORKERS = ("--workers", str(CPUS))


@dataclasses.dataclass(frozen=True)
class Start:
    """A container to start."""

    image: str
    options: tuple[str, ...] = ()
    command: tuple[str, ...] = ()


def starts(images: Images) -> dict[str, Start]:
    """What is started, by its title."""
    data = ("--volume", f"{images.volume}:/data")

    def python(imports: str) -> Start:
        return Start(images.service, (), ("python3", "-c", ANSWER.format(imports=imports)))

    def gunicorn(app: str) -> Start:
        return Start(images.slim, data, ("gunicorn", *WORKERS, app))

    return {
        "this image, a new database": Start(images.service),
        "this image, with its data": Start(images.service, data),
        "slim image, gunicorn, Flask": gunicorn("plain:app"),
        "slim image, gunicorn, Flask, SQLAlchemy": gunicorn("notes:app"),
        "this image, `import flask, gunicorn` and one answer": python("import flask, gunicorn"),
        "this image, Python and one answer": python(""),
    }


@contextlib.contextmanager
def starting(start: Start) -> Iterator[Server]:
    """A container from its start, handed over when it has answered with a 200; then removed.

    Raises:
        AssertionError: if it does not answer within 30 seconds.

    """
    server = Server(unique("bench"), free_port())
    variables = ("--env", f"APP_PORT={server.port}", "--env", f"PORT={server.port}")
    options = (*NETWORK, *variables, "--env", "METRICS_PORT=0", *start.options)
    command = ["docker", "run", "--detach", "--name", server.name, *options, start.image]
    try:
        with subprocess.Popen([*command, *start.command], stdout=subprocess.DEVNULL):
            what = f"{start.image} answers"
            eventually(lambda: server.status() == 200, 30, what, every=0.002)
            yield server
    finally:
        docker("rm", "--force", "--volumes", server.name, check=False)


def measure(images: Images, rounds: int) -> dict[str, list[float]]:
    """Start each once in each round; ms."""
    found: dict[str, list[float]] = {}
    for number in range(rounds):
        say(f"cold starts, round {number + 1} of {rounds}")
        for title, start in starts(images).items():
            began = time.monotonic()
            with starting(start):
                found.setdefault(title, []).append((time.monotonic() - began) * 1000)
    return found
