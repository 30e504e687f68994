"""A fork, made in a temporary folder as the documents say, with one of each added.

It has no sample, and in its place a part, a table, a setting, a command, a background process, a
dependency and a Debian package. Only its own files are touched, and all suites are green.
"""

from __future__ import annotations

import filecmp
import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import owners
from checkouts import CHECKOUT, copy, environment
from containers import docker, eventually, started, unique
from forks import Repository

if TYPE_CHECKING:
    from collections.abc import Iterator

ADDITIONS = Path(__file__).with_name("additions")
SECONDS = 1800  # for a suite, on a slow machine

SETTING = """
    sender: str = setting("nobody", text(40), "a name", "Who signs notes.")
"""
COMMAND = '''

@main.command()
def count() -> None:
    """Print a number, by the library that was added."""
    import humanize

    click.echo(humanize.intcomma(1234567))
'''


class Fork:
    """The fork's checkout, and its verbs as a person types them."""

    def __init__(self, checkout: Path) -> None:
        self.checkout = checkout
        self.image = unique("fork") + ":latest"

    def make(self, *arguments: str) -> str:
        """Run a verb, which has to succeed; return what it prints."""
        done = subprocess.run(
            ["make", *arguments],
            cwd=self.checkout,
            env=environment(IMAGE=self.image, COMPOSE_PROJECT_NAME=self.image.partition(":")[0]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=SECONDS,
        )
        assert done.returncode == 0, done.stdout[-10_000:]
        return done.stdout

    def edit(self, name: str, old: str, new: str) -> None:
        file = self.checkout / name
        text = file.read_text()
        assert old in text, f"{name} has no {old!r}"
        file.write_text(text.replace(old, new, 1))

    def touched(self) -> set[str]:
        """The files that differ from the template's, or are only here or only there."""
        listing = ("git", "ls-files", "--cached", "--others", "--exclude-standard")
        files = subprocess.check_output(listing, cwd=CHECKOUT, text=True).splitlines()
        files += subprocess.check_output(listing, cwd=self.checkout, text=True).splitlines()
        return {
            name
            for name in files
            if (CHECKOUT / name).exists() != (self.checkout / name).exists()
            or (
                (CHECKOUT / name).exists()
                and not filecmp.cmp(CHECKOUT / name, self.checkout / name, shallow=False)
            )
        }


@pytest.fixture(scope="module")
def fork(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fork]:
    fork = Fork(copy(tmp_path_factory.mktemp("fork") / "checkout"))
    repository = Repository(fork.checkout)
    repository.begin()
    fork.make("adopt", "NAME=notes-service", "SAMPLE=remove", "OWNERS=@acme/notes", "HOLDER=Acme")
    repository.commit("Adopt it")

    # One of each, as docs/extend.md says.
    fork.edit("src/app/__init__.py", '"app.hello")', '"app.hello", "app.notes")')
    for name, target in (
        ("notes.py", "src/app"),
        ("work.py", "src/app"),
        ("test_notes.py", "tests/app"),
    ):
        shutil.copy(ADDITIONS / name, fork.checkout / target)
    (fork.checkout / "tests/app/test_work.py").unlink()
    with (fork.checkout / "src/app/settings.py").open("a") as file:
        file.write(SETTING)
    with (fork.checkout / "src/app/cli.py").open("a") as file:
        file.write(COMMAND)
    fork.edit("compose.yaml", "    profiles: [work]\n", "")
    fork.edit("pyproject.toml", '    "gunicorn==', '    "humanize>=4",\n    "gunicorn==')
    with (fork.checkout / "requirements/debian.list").open("a") as file:
        file.write("libsodium23  # for what encrypts\n")
    fork.make("lock")
    fork.make("migration", "NAME=add notes")
    fork.make("docs")
    fork.make("image")
    yield fork
    for target in ("", "-test", "-dev", "-debug"):
        docker("image", "rm", "--force", fork.image + target, check=False)


def test_only_files_of_the_fork_are_touched(fork: Fork) -> None:
    touched = fork.touched()
    print("\n".join(sorted(touched)))
    assert not [name for name in touched if owners.owner(name) == owners.TEMPLATE]
    assert touched >= {".env.example", "docs/settings.md", "requirements/runtime.txt"}


def test_what_was_added_runs(fork: Fork) -> None:
    with started(
        fork.image, "--env=API_TOKEN=a-token-for-the-tests", "--env=SENDER=Ann"
    ) as container:
        container.wait_until_healthy()
        posted = container.get(
            "/notes",
            method="POST",
            body=b'{"text": "hi"}',
            headers={
                "Authorization": "Bearer a-token-for-the-tests",
                "Content-Type": "application/json",
            },
        )
        assert posted.status == 202, posted.data
        assert container.get("/notes").json() == {"notes": ["Ann: hi"]}
        assert container.get("/blogs").status == 404
        assert docker("exec", container.name, "app", "count").stdout == "1,234,567\n"
        sodium = "import ctypes; print(ctypes.CDLL('libsodium.so.23').sodium_init())"
        assert container.python(sodium) == "0\n"
        # The background process beside it, on the same database.
        worker = unique("worker")
        volume = ("--volumes-from", container.name)
        try:
            docker("run", "--detach", "--name", worker, *volume, fork.image, "app", "work")
            shouted = {"notes": ["Ann: HI"]}
            eventually(lambda: container.get("/notes").json() == shouted, 60, "it is shouted")
            docker("stop", worker)
            (line,) = (
                line for line in docker("logs", worker).stdout.splitlines() if "shout" in line
            )
            assert json.loads(line)["message"] == "shouted note 1"
        finally:
            docker("rm", "--force", worker, check=False)


@pytest.mark.parametrize("verb", ["lint", "unit", "contract", "stack"])
def test_its_suites_are_green(fork: Fork, verb: str) -> None:
    print(fork.make(verb)[-500:])
