"""A fork without a database, made by the lines of docs/without-database.md: smaller, and green."""

from __future__ import annotations

import re
import shlex
import subprocess
from typing import TYPE_CHECKING

import pytest

import without_database
from checkouts import CHECKOUT, copy, environment
from containers import docker, started, unique
from forks import Repository

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECONDS = 1800  # for a suite, on a slow machine
DOCUMENT = CHECKOUT / "docs/without-database.md"
# Nothing of this is in the image: Python packages, and a library of Debian's.
GONE = """
import importlib.util, pathlib
names = ("sqlalchemy", "alembic", "mako", "psycopg", "psycopg_c")
print([name for name in names if importlib.util.find_spec(name)])
print([str(file) for file in pathlib.Path("/usr/lib").rglob("libpq*")])
"""

pytestmark = pytest.mark.database  # with which this checkout can be compared


def run(checkout: Path, image: str, *command: str) -> str:
    """Run a command as a person types it, which has to succeed; return what it prints."""
    done = subprocess.run(
        command,
        cwd=checkout,
        env=environment(IMAGE=image, COMPOSE_PROJECT_NAME=image.partition(":")[0]),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stdout[-10_000:]
    return done.stdout


def sizes(printed: str) -> tuple[float, float]:
    """What `make image` says: MB compressed, and unpacked."""
    (found,) = re.findall(r"([\d.]+) MB compressed, ([\d.]+) MB unpacked", printed)
    return float(found[0]), float(found[1])


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    name = unique("fork") + ":latest"
    yield name
    for target in ("", "-test", "-dev", "-debug"):
        docker("image", "rm", "--force", name + target, check=False)


@pytest.fixture(scope="module")
def printed() -> dict[str, str]:
    """What each line of the document has printed."""
    return {}


@pytest.fixture(scope="module")
def fork(
    tmp_path_factory: pytest.TempPathFactory, image: str, printed: dict[str, str]
) -> Repository:
    fork = Repository(copy(tmp_path_factory.mktemp("fork") / "checkout"))
    fork.begin()
    for setting in ("user.name=A", "user.email=a@example.org"):
        fork.git("config", *setting.split("="))
    section = DOCUMENT.read_text().split("\n## ")[1]
    for line in re.findall(r"^ {4}(\S.*)$", section, re.MULTILINE):
        printed[line] = run(fork.path, image, *shlex.split(line))
    return fork


def test_the_image_is_smaller_and_has_nothing_of_a_database(
    fork: Repository, image: str, printed: dict[str, str]
) -> None:
    assert not [name for name in without_database.FILES if (fork.path / name).exists()]
    other = unique("fork") + ":latest"
    try:
        before = sizes(run(CHECKOUT, other, "make", "image"))
    finally:
        docker("image", "rm", "--force", other, check=False)
    after = sizes(printed["make image"])
    for what, (less, more) in zip(
        ("compressed", "unpacked"), zip(after, before, strict=True), strict=True
    ):
        print(f"{what}: {less} MB without a database, {more} MB with one")
        assert less < more
    with started(image) as container:
        container.wait_until_healthy()
        assert container.python(GONE) == "[]\n[]\n"
        assert container.get("/readyz").json() == {"status": "ok", "checks": {}}


@pytest.mark.parametrize("verb", ["unit", "contract", "stack", "alerts"])
def test_its_suites_are_green(fork: Repository, image: str, verb: str) -> None:
    print(run(fork.path, image, "make", verb)[-500:])


@pytest.mark.parametrize("verb", ["backup", "restore", "migration"])
def test_a_verb_for_a_database_ends_with_one_line(fork: Repository, verb: str) -> None:
    done = fork.make(verb, FILE="app.dump", NAME="add notes")
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert "no service db" in line or "this service has no database" in line
