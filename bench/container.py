"""Containers to measure, and wrk to load them: what the benchmarks share.

On the host's network, so that no proxy is measured. Needs wrk, a Debian package of that name.
"""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
import time
import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# Recycling would stop a worker in the middle of a round.
COMMON = {"WEB_CONCURRENCY": "2", "WEB_MAX_REQUESTS": "0"}


@contextlib.contextmanager
def running(image: str, variables: dict[str, str], *command: str) -> Iterator[tuple[str, int]]:
    """A healthy container with these variables: its name and its port.

    Raises:
        SystemExit: if it does not become healthy within 20 seconds.

    """
    name = f"bench-{uuid.uuid4().hex[:12]}"
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("", 0)) as second:
        port, metrics_port = first.getsockname()[1], second.getsockname()[1]
    ports = {"APP_PORT": str(port), "METRICS_PORT": str(metrics_port)}
    environment = COMMON | ports | variables
    options = [word for pair in environment.items() for word in ("--env", "=".join(pair))]
    start = ["docker", "run", "--detach", "--name", name, "--network", "host", *options, image]
    try:
        subprocess.run([*start, *command], check=True, stdout=subprocess.DEVNULL)
        state = ["docker", "inspect", "--format", "{{.State.Health.Status}}", name]
        for _ in range(200):
            if subprocess.check_output(state, text=True) == "healthy\n":
                break
            time.sleep(0.1)
        else:
            sys.exit(f"error: {image} does not become healthy with {variables}")
        yield name, port
    finally:
        remove = ["docker", "rm", "--force", "--volumes", name]
        subprocess.run(remove, check=False, stdout=subprocess.DEVNULL)


def wrk(port: int, seconds: int, *options: str) -> float:
    """Load it with 64 connections, unless the options say otherwise; return responses a second.

    Raises:
        SystemExit: if any response is an error.

    """
    address = f"http://127.0.0.1:{port}/hello/bench"
    command = ["wrk", "--threads", "1", "--connections", "64", *options, "--duration"]
    printed = subprocess.check_output([*command, f"{seconds}s", address], text=True)
    found = re.search(r"Requests/sec:\s+([\d.]+)", printed)
    if not found or "Non-2xx" in printed:
        sys.exit(f"error: wrk failed:\n{printed}")
    return float(found[1])
