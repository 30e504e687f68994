"""Run the unit tests side by side: in the image, on SQLite and on PostgreSQL; on this machine.

In the image its own interpreter runs them, on this machine that of .venv; on PostgreSQL, those of
the template's that have a database. All at once, for each waits for part of its time; with no more
workers than that takes, since each of them collects all the tests. Run with tests/ on the path:
this uses its module `containers`.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import database
import image
from common import ROOT, entry, say
from containers import SECCOMP, network, postgres
from depth import FULL

if TYPE_CHECKING:
    from collections.abc import Generator

    Commands = Generator[tuple[str, ...]]

# The template's tests, with a service of their own, and the fork's. Each in a process of its own,
# since both services have tables.
SUITES = {"drydock": "tests/drydock/unit", "app": "tests/app"}
# How much each must cover; of the fork's, pyproject.toml says it.
COVERAGE = {"drydock": ("--cov-fail-under=95",), "app": ()}
PYTEST = ("-m", "pytest", "-p", "no:cacheprovider")
# The template's, of which some wait for seconds.
SIDE_BY_SIDE = ("--numprocesses=2", "--dist=worksteal")
MEASURED = ("--cov-branch", "--cov-report=term:skip-covered")
# As the service itself is run, except for its limits: some tests start several processes.
HARDENED = (
    *("--rm", "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL"),
    f"--security-opt=seccomp={SECCOMP}",
)


def on_sqlite() -> Commands:
    """Each suite in the image, with the coverage that it must have."""
    for package, tests in SUITES.items():
        options = (*HARDENED, "--network", "none", image.name("test"), "python3", *PYTEST)
        workers = SIDE_BY_SIDE if package == "drydock" else ()
        cover = (f"--cov={package}", *MEASURED, *COVERAGE[package])
        yield ("docker", "run", *options, *workers, *cover, tests)


def on_postgresql() -> Commands:
    """Each suite in the image, on a real server; the tests share its one database."""
    with network() as net, postgres(net) as (_, address):
        options = (*HARDENED, "--network", net, "--env", f"TEST_DATABASE_URL={address}")
        for tests in SUITES.values():
            yield ("docker", "run", *options, image.name("test"), "python3", *PYTEST, tests)


def on_this_machine() -> Commands:
    """The repository's tests and the fork's; at length also the template's, on another Python."""
    template = (SUITES["drydock"],) if FULL else ()
    yield (sys.executable, *PYTEST, *SIDE_BY_SIDE, *template, "tests/drydock/repository")
    yield (sys.executable, *PYTEST, SUITES["app"])


def run(commands: Commands) -> tuple[bool, str]:
    """Run one command after the other until one fails; whether none did, and what they printed."""
    began = time.monotonic()
    printed = ""
    passed = True
    with contextlib.closing(commands):
        for command in commands:
            done = subprocess.run(
                command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                check=False,
            )
            printed += done.stdout
            if done.returncode != 0:
                passed = False
                break
    return passed, f"{printed}    {time.monotonic() - began:.0f} s\n"


def main() -> None:
    """Run all of them to the end, show the output of each as a whole, fail if one has failed."""
    ways = {
        "in the image, on SQLite": on_sqlite(),
        "in the image, on PostgreSQL": on_postgresql(),
        "on this machine": on_this_machine(),
    }
    if not database.HAS_DATABASE:
        ways = {"in the image": on_sqlite(), "on this machine": on_this_machine()}
    say(f"unit tests {'; '.join(ways)}: side by side ...")
    failed = []
    with concurrent.futures.ThreadPoolExecutor() as pool:
        running = {pool.submit(run, commands): where for where, commands in ways.items()}
        for done in concurrent.futures.as_completed(running):
            where = running[done]
            passed, printed = done.result()
            say(f"unit tests {where}")
            sys.stdout.write(printed)
            sys.stdout.flush()
            if not passed:
                failed.append(where)
    if failed:
        say(f"unit tests failed {'; '.join(failed)}")
        raise SystemExit(1)


if __name__ == "__main__":
    with entry():
        main()
