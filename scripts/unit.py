"""Run the unit tests in the image's own interpreter: on SQLite, then on a real PostgreSQL server.

Run with tests/ on the path, whose hold on containers this uses.
"""

from __future__ import annotations

import subprocess

import image
from common import entry, say
from containers import SECCOMP, network, postgres

PYTEST = ("python3", "-m", "pytest", "-p", "no:cacheprovider", "tests/unit")
COVERAGE = (
    "--cov=app",
    "--cov=drydock",
    "--cov-branch",
    "--cov-report=term:skip-covered",
    "--cov-fail-under=95",
)
# As the service itself is run, but for its limits: some tests start several processes.
HARDENED = (
    *("--rm", "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL"),
    f"--security-opt=seccomp={SECCOMP}",
)


def run(*command: str) -> None:
    """Run a command with its output shown; end with its status if it fails."""
    status = subprocess.run(command, check=False).returncode
    if status != 0:
        raise SystemExit(status)


def main() -> None:
    """Run the suite twice."""
    test = image.name("test")
    say("unit tests in the image, on SQLite")
    run("docker", "run", *HARDENED, "--network", "none", test, *PYTEST, *COVERAGE)
    say("unit tests in the image, on PostgreSQL")
    with network() as net, postgres(net) as (_, address):
        database = ("--network", net, "--env", f"TEST_DATABASE_URL={address}")
        run("docker", "run", *HARDENED, *database, test, *PYTEST)


if __name__ == "__main__":
    with entry():
        main()
