"""The contract itself: a promise that is broken by hand turns a test red that names it.

And the tests run side by side without getting into each other's way.
"""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

import base
from checkouts import copy, environment
from containers import docker, unique
from depth import FULL

HERE = Path(__file__).parent

BASE = "COPY --from=base"
PYTHON = 'RUN ["python3", "-c", '

BREAKS = {
    "a shell is added": (f"{BASE} /bin/bash /bin/bash", "test_has_no_shell"),
    "a shell of another name is added": (
        f"{BASE} /bin/dash /usr/bin/helper",
        "test_nothing_but_python_and_its_scripts_can_be_run",
    ),
    "a package manager is added": (
        f"{BASE} /usr/bin/dpkg /usr/bin/dpkg",
        "test_has_no_package_manager",
    ),
    "a file is given to the user": (
        f"USER 0\n{PYTHON}\"import os; os.chown('/app/gunicorn.conf.py', 65532, 65532)\"]"
        "\nUSER 65532:65532",
        "test_every_file_belongs_to_root",
    ),
    "a file is writable by all": (
        f"USER 0\n{PYTHON}\"import os; os.chmod('/app', 0o777)\"]\nUSER 65532:65532",
        "test_nothing_is_writable_by_all_but_tmp_and_data_which_are_sticky",
    ),
    "a setuid program is added": (
        f"{BASE} --chmod=4755 /bin/true /usr/bin/helper",
        "test_has_no_setuid_and_no_setgid_file",
    ),
    "a file of nobody's is added": (
        f"{BASE} /etc/debian_version /opt/stray",
        "test_every_file_is_accounted_for_and_as_its_package_made_it",
    ),
    "a file of nobody's is added to /etc": (
        f"{BASE} /etc/debian_version /etc/cron.d/stray",
        "test_every_file_is_accounted_for_and_as_its_package_made_it",
    ),
    "a file of a package is changed": (
        f"{BASE} /etc/debian_version /usr/share/doc/libc6/copyright",
        "test_every_file_is_accounted_for_and_as_its_package_made_it",
    ),
    "its command loses the exec form": ("CMD gunicorn", "test_the_command_is_in_exec_form[Cmd]"),
    "its health check loses the exec form": (
        "HEALTHCHECK CMD curl localhost:5000",
        "test_the_health_check_is_in_exec_form",
    ),
    "it stops on another signal": ("STOPSIGNAL SIGQUIT", "test_stops_on_sigterm"),
    "a secret is in its environment": (
        "ENV API_TOKEN=hunter2",
        "test_environment_and_history_hold_no_secret",
    ),
    "a layer holds a secret that a later one removes": (
        f"USER 0\n{PYTHON}\"open('/app/x', 'w').write('AKIA' + 16 * 'A')\"]\n"
        f"{PYTHON}\"import os; os.remove('/app/x')\"]\nUSER 65532:65532",
        "test_no_layer_holds_a_secret_even_if_a_later_one_removes_it",
    ),
    # Last, since others set the user as well.
    "it runs as root": ("USER root", "test_runs_as_a_numeric_user_that_is_not_root"),
    "its user has a name": ("USER nonroot", "test_runs_as_a_numeric_user_that_is_not_root"),
}


# Another of them turns the same test red, so each of these has an image of its own. The others have
# one together; at length, each its own as well.
APART = {
    "a shell of another name is added",
    "a file of nobody's is added",
    "a file of nobody's is added to /etc",
    "a file of a package is changed",
    "its user has a name",
}
QUICK = "a file of nobody's is added to /etc"
TOGETHER = tuple(what for what in BREAKS if what not in APART and not FULL)


@functools.cache
def said_of(image: str, whats: tuple[str, ...]) -> str:
    """Break the image in these ways; what the tests print that have to show it."""
    broken = unique("broken") + ":latest"
    lines = "\n".join(BREAKS[what][0] for what in whats)
    tests = " or ".join(BREAKS[what][1].partition("[")[0] for what in whats)
    files = [str(HERE / name) for name in ("test_contents.py", "test_metadata.py")]
    try:
        subprocess.run(
            ["docker", "build", "--quiet", "--tag", broken, *base.build_options(), "-"],
            input=f"FROM {base.reference()} AS base\nFROM {image}\n{lines}\n",
            text=True,
            check=True,
            capture_output=True,
        )
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "--image", broken, "-k", tests, *files],
            cwd=HERE.parents[2],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1, done.stdout
        return done.stdout
    finally:
        docker("image", "rm", "--force", broken, check=False)


@pytest.mark.parametrize(
    "what", [pytest.param(what, marks=() if what == QUICK else pytest.mark.slow) for what in BREAKS]
)
def test_it_shows_when(what: str, image: str) -> None:
    said = said_of(image, TOGETHER if what in TOGETHER else (what,))
    test = BREAKS[what][1]
    assert re.search(rf"^FAILED .*::{re.escape(test)}( - |$)", said, re.MULTILINE)


TRIAL = """
import random, time
import pytest
from containers import docker, free_port, unique

def note(kind):
    began = time.monotonic()
    time.sleep(0.6)
    with open("noted", "a") as file:
        file.write(f"{kind} {began} {time.monotonic()}\\n")

@pytest.mark.alone
def test_alone():
    note("alone")

def test_beside_others():
    note("beside")

def test_ports():
    random.seed(1)  # so that each worker looks for one in the same order
    with open("ports", "a") as file:
        file.write("".join(f"{free_port()}\\n" for _ in range(20)))

def test_that_leaves_something():
    docker("network", "create", unique("network"))
"""


@pytest.mark.slow
def test_the_tests_themselves_run_side_by_side(tmp_path: Path) -> None:
    """Ports and names are each test's own, what is `alone` runs alone, and nothing is left."""
    # In a copy: here, what is alone would wait for this very test.
    checkout = copy(tmp_path / "checkout")
    folder = checkout / "tests" / "trial"
    folder.mkdir()
    for name in ("a", "b", "c"):
        (folder / f"test_{name}.py").write_text(TRIAL)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "3", "--dist", "loadfile", "tests/trial"],
        cwd=checkout,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout

    lines = [line.split() for line in (checkout / "noted").read_text().splitlines()]
    spans = {kind: [(float(b), float(e)) for k, b, e in lines if k == kind] for kind, _, _ in lines}
    beside, alone = sorted(spans["beside"]), sorted(spans["alone"])
    assert (len(beside), len(alone)) == (3, 3)
    assert beside[1][0] < beside[0][1]
    ends = [max(end for _, end in beside), *(end for _, end in alone)]
    assert all(end < began for end, (began, _) in zip(ends, alone, strict=False))

    ports = (checkout / "ports").read_text().split()
    assert len(ports) == len(set(ports)) == 60

    (line,) = re.findall(r"^removed what tests had left: (.*)$", done.stdout, re.MULTILINE)
    left = set(line.split())
    assert len(left) == 3
    assert not left & set(docker("network", "ls", "--format", "{{.Name}}").stdout.split())
