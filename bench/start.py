"""Cold start: from `docker run` to the first 200, beside Python with the same imports alone."""

from __future__ import annotations

import dataclasses
import subprocess
import time
from typing import TYPE_CHECKING

from common import die, say
from containers import docker, free_port, unique
from servers import NETWORK, Server
from shapes import CPUS

if TYPE_CHECKING:
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


def first(title: str, start: Start) -> float:
    """The seconds from the command to the first 200.

    Raises:
        SystemExit: if there is none within 30 seconds.

    """
    server = Server(unique("bench"), free_port())
    variables = ("--env", f"APP_PORT={server.port}", "--env", f"PORT={server.port}")
    options = (*NETWORK, *variables, "--env", "METRICS_PORT=0", *start.options)
    command = ["docker", "run", "--detach", "--name", server.name, *options, start.image]
    began = time.monotonic()
    try:
        with subprocess.Popen([*command, *start.command], stdout=subprocess.DEVNULL):
            while server.status() != 200:
                if time.monotonic() - began > 30:
                    die(f"{title} does not answer within 30 s")
                time.sleep(0.002)
            return time.monotonic() - began
    finally:
        docker("rm", "--force", "--volumes", server.name, check=False)


def measure(images: Images, rounds: int) -> dict[str, list[float]]:
    """Start each once in each round; ms."""
    found: dict[str, list[float]] = {}
    for number in range(rounds):
        say(f"cold starts, round {number + 1} of {rounds}")
        for title, start in starts(images).items():
            found.setdefault(title, []).append(first(title, start) * 1000)
    return found
