"""Run the unit tests in the image's own interpreter: on SQLite, then on a real PostgreSQL server.

Run with tests/ on the path: this uses its module `containers`.
"""

from __future__ import annotations

import subprocess

import image
from common import entry, say
from containers import SECCOMP, network, postgres

PYTEST = ("python3", "-m", "pytest", "-p", "no:cacheprovider")
# The template's tests, with a service of their own, and the fork's. Each in a process of its own,
# since both services have tables.
SUITES = {"drydock": "tests/drydock/unit", "app": "tests/app"}
COVERAGE = ("--cov-branch", "--cov-report=term:skip-covered", "--cov-fail-under=95")
# As the service itself is run, except for its limits: some tests start several processes.
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
    """Run each suite on both databases."""
    test = image.name("test")
    for package, tests in SUITES.items():
        say(f"unit tests of {package} in the image, on SQLite")
        coverage = (f"--cov={package}", *COVERAGE)
        run("docker", "run", *HARDENED, "--network", "none", test, *PYTEST, *coverage, tests)
    with network() as net, postgres(net) as (_, address):
        database = ("--network", net, "--env", f"TEST_DATABASE_URL={address}")
        for package, tests in SUITES.items():
            say(f"unit tests of {package} in the image, on PostgreSQL")
            run("docker", "run", *HARDENED, *database, test, *PYTEST, tests)


if __name__ == "__main__":
    with entry():
        main()
