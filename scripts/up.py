"""Build the service, start it hardened, wait until it is healthy, show where it is."""

from __future__ import annotations

import os
import subprocess
import urllib.request

import image
from common import ROOT, capture, die, entry, say

COMPOSE = ("docker", "compose", "--project-directory", str(ROOT))


def port() -> int:
    """The host's port to publish, from $PORT."""
    given = os.environ.get("PORT", "")
    if not given.isdecimal() or not 1 <= int(given) <= 65535:
        die(f"PORT={given}: expected a whole number from 1 to 65535")
    return int(given)


def main() -> None:
    """Leave with status 0 only when the service has answered."""
    address = f"http://localhost:{port()}/"
    image.build("runtime")
    say("starting the service and waiting until it is healthy ...")
    started = capture(*COMPOSE, "up", "--detach", "--no-build", "--wait", "--wait-timeout", "90")
    if started.returncode != 0:
        lines = started.stderr.strip().splitlines()
        if any("already allocated" in line or "address already in use" in line for line in lines):
            die(f"port {port()} is in use on this machine; choose another: make up PORT=8081")
        subprocess.run([*COMPOSE, "logs", "--no-log-prefix", "--tail=15"], check=False)
        die(f"the service did not become healthy: {lines[-1] if lines else 'no reason given'}")
    # Not by way of a proxy, which knows nothing of this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(address, timeout=10) as answer:
            print(f"GET {address}\n{answer.status} {answer.read().decode().strip()}")
    except OSError as error:
        die(f"the service is healthy, but {address} can't be reached from here: {error}")
    say("`make logs` shows what it prints, `make down` stops it")


if __name__ == "__main__":
    with entry():
        main()
