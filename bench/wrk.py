"""Load by wrk, and what it has counted.

wrk sends the next request on a connection when it has the response to the one before: latencies
are those of a server that is fully busy, and a stall delays requests that are never counted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from answers import Request
from common import announce, apt_get, die, may_install, output

if TYPE_CHECKING:
    from servers import Server

SCRIPT = Path(__file__).with_name("report.lua")
# Seconds before a load, in which all workers of a server learn that the last one's connections are
# closed: else some seem to have many, and new ones are shared badly.
PAUSE = 0.2


class Sample(TypedDict):
    """One measurement: requests a second, latencies in ms, and how many requests failed."""

    rate: float
    p50: float
    p99: float
    p999: float
    errors: int


@dataclasses.dataclass(frozen=True)
class Load:
    """A kind of load.

    Attributes:
        title: its name in tables.
        request: what is requested.
        connections: how many at a time.
        seconds: how long.
        close: whether each connection has one request.
        beside: a path that as many further connections request meanwhile, uncounted.

    """

    title: str
    request: Request = dataclasses.field(default_factory=Request)
    connections: int = 64
    seconds: int = 1
    close: bool = False
    beside: str = ""


def need_wrk() -> None:
    """See that wrk is there; install it, as root on a Debian or Ubuntu and with consent.

    Raises:
        SystemExit: if it is not there in the end.

    """
    if output("sh", "-c", "command -v wrk"):
        return
    if not may_install():
        die("wrk is not installed, which makes the load: install it, as root")
    announce("wrk", "the benchmark needs it to make the load")
    apt_get("reading the package lists", "update")
    apt_get("installing wrk", "install", "wrk", hint="Install wrk by hand")


def command(server: Server, load: Load, path: str, seconds: int) -> list[str]:
    """The call of wrk. One thread, since the servers need the processors more."""
    options = ["--threads", "1", "--connections", str(load.connections), "--timeout", "10"]
    options += ["--duration", f"{seconds}s", "--script", str(SCRIPT)]
    address = f"http://127.0.0.1:{server.port}{path}"
    close = "close" if load.close else "keep"
    body = load.request.body if path == load.request.path else 0
    return ["wrk", *options, address, "--", close, str(body)]


def run(server: Server, load: Load) -> Sample:
    """Load the server.

    Raises:
        SystemExit: if wrk itself fails.

    """
    time.sleep(PAUSE)
    with contextlib.ExitStack() as stack:
        if load.beside:
            # It starts first and ends last: there is no moment without it.
            slow = command(server, load, load.beside, load.seconds + 1)
            other = subprocess.Popen(slow, stdout=subprocess.DEVNULL)
            stack.callback(other.wait)
            stack.callback(other.terminate)
        done = subprocess.run(
            command(server, load, load.request.path, load.seconds),
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        die(f"wrk failed at {load.title}:\n{done.stdout}")
    sample: Sample = json.loads(done.stdout.splitlines()[-1])
    return sample
