"""Templates and forks to be adopted and updated: real git repositories, made from this checkout.

In a fork this checkout is none of the template any more. So what a fork owns is written anew here,
with a sample as small as can be, and the template's values are put back.
"""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import time
from typing import TYPE_CHECKING

import adopted
import howto
import owners
from checkouts import copy, environment, make

if TYPE_CHECKING:
    from pathlib import Path

OWN = {
    "README.md": "# The template\n\nWhat it is.\n",
    "CHANGELOG.md": "# Changelog\n\n## [Unreleased]\n",
    "LICENSE": "MIT License\n\nCopyright (c) 2026 The Drydock authors\n\nAnd the rest of it.\n",
    ".github/CODEOWNERS": "* @your-org/your-team\n",
    "src/app/__init__.py": 'parts = ("app.index", "app.blogs")\n',
    "src/app/index.py": "greeting = 1\n",
    "src/app/blogs/__init__.py": "",
    "src/app/blogs/views.py": "blogs = 1\n",
    "src/app/migrations/versions/0001_blogs.py": 'revision = "0001"\n',
    "tests/app/test_index.py": "index = 1\n",
    "tests/app/blogs/test_blogs.py": "blogs = 1\n",
}
PLACEHOLDERS = {place.key: place.placeholder for place in adopted.PLACES}
ANSWERS = {
    "NAME": "notes-service",
    "DESCRIPTION": "Keeps notes: $$5 a month, it's cheap",
    "REPOSITORY": "https://git.example/acme/notes-service",
    "OWNERS": "@acme/notes @ann",
    "CONTACT": "security@acme.example",
    "HOLDER": "Acme & Sons, Inc.",
}


@dataclasses.dataclass(frozen=True)
class Repository:
    """A checkout with its own git repository."""

    path: Path

    def git(self, *arguments: str) -> str:
        identity = ("-c", "user.name=A", "-c", "user.email=a@example.org")
        command = ("git", *identity, "-c", "init.defaultBranch=main", *arguments)
        done = subprocess.run(command, cwd=self.path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def read(self, name: str) -> str:
        return (self.path / name).read_text()

    def write(self, name: str, text: str) -> None:
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        (self.path / name).write_text(text)

    def edit(self, name: str, old: str, new: str) -> None:
        text = self.read(name)
        assert old in text, f"{name} has no {old!r}"
        self.write(name, text.replace(old, new, 1))

    def commit(self, message: str = "Change it") -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")

    def begin(self) -> str:
        """Make the repository, with all that is there in one commit."""
        self.git("init", "--quiet")
        return self.commit("Begin")

    def files(self) -> dict[str, bytes]:
        """What git has of the checkout, or would have by `git add --all`, as it is now."""
        listed = self.git("ls-files", "-z", "--cached", "--others", "--exclude-standard")
        paths = [self.path / name for name in listed.split("\0") if name]
        return {str(p.relative_to(self.path)): p.read_bytes() for p in paths if p.is_file()}

    def make(self, verb: str, **variables: str) -> subprocess.CompletedProcess[str]:
        given = [f"{name}={value}" for name, value in variables.items()]
        return make("--silent", verb, *given, checkout=self.path)

    def succeed(self, verb: str, **variables: str) -> str:
        done = self.make(verb, **variables)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def clone(self, target: Path) -> Repository:
        self.git("clone", "--quiet", str(self.path), str(target))
        return Repository(target)

    def copy(self, target: Path) -> Repository:
        """The same repository once more, to be changed freely."""
        shutil.copytree(self.path, target, symlinks=True)
        return Repository(target)

    def without_history(self, target: Path) -> Repository:
        """As GitHub's "Use this template" makes it: the same files in one new commit."""
        self.git("clone", "--quiet", str(self.path), str(target))
        shutil.rmtree(target / ".git")
        repository = Repository(target)
        repository.begin()
        return repository


def template(path: Path) -> Repository:
    """The template, as a repository of one commit."""
    repository = Repository(copy(path))
    unfill(repository)
    # Without what neither verb reads, which would cost each copy its time.
    for folder in ("src", "tests", "bench", "docs/benchmarks", "deploy/gateway"):
        shutil.rmtree(path / folder)
    (path / owners.RECORD).unlink(missing_ok=True)
    for name, text in OWN.items():
        repository.write(name, text)
    repository.begin()
    return repository


def unfill(repository: Repository) -> None:
    """Put the template's values back, so that it is the same here and in a fork."""
    path = repository.path
    old = adopted.values(lambda name: (path / name).read_text() if (path / name).exists() else "")
    names = {place.file for place in adopted.PLACES}
    names |= {str(lock.relative_to(path)) for lock in (path / "requirements").glob("*.txt")}
    for name in names:
        if (path / name).exists():
            new = PLACEHOLDERS | {"version": "7.0.0"}
            text = adopted.filled(name, repository.read(name), old, new)
            repository.write(name, text)


@dataclasses.dataclass(frozen=True)
class Fork(Repository):
    """A fork whose service is built and run, with an image and a stack of its own."""

    image: str
    followed: list[tuple[str, str]] = dataclasses.field(default_factory=list)

    @property
    def project(self) -> str:
        return self.image.partition(":")[0]

    @property
    def variables(self) -> dict[str, str]:
        return {"IMAGE": self.image, "COMPOSE_PROJECT_NAME": self.project}

    def verb(self, *arguments: str) -> str:
        """Run a verb, which has to succeed; return what it prints, and print the time it took."""
        began = time.monotonic()
        done = subprocess.run(
            ["make", *arguments],
            cwd=self.path,
            env=environment(**self.variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=howto.SECONDS,
        )
        assert done.returncode == 0, done.stdout[-10_000:]
        print(f"{time.monotonic() - began:6.1f} s  make {' '.join(arguments)}")
        return done.stdout

    def follow(self, document: str, section: str) -> None:
        """Follow a how-to up to the end of a section, from where it was left."""
        reader = howto.Reader(self.path, self.variables)
        for each in howto.sections(document):
            if (document, each) not in self.followed:
                self.followed.append((document, each))  # once, also where it fails
                reader.follow(document, each, {"notes-service": self.image})
            if each == section:
                break
