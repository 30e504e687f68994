"""`make release`: a changelog's entry, a version, a commit and a tag; or nothing at all."""

from __future__ import annotations

import dataclasses
import datetime
import re
import shutil
import subprocess
import tomllib
from typing import TYPE_CHECKING

import pytest

import adopted
from checkouts import copy, make

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CHANGELOG = """# Changelog

## [Unreleased]

### Added

- A page.
  [A link](docs/a.md)

### Upgrade notes

- Set `A`.

## [1.9.0] - 2026-01-01

- The first.

[Unreleased]: https://git.example/a/b/compare/v1.9.0...HEAD
[1.9.0]: https://git.example/a/b/releases/tag/v1.9.0
"""
ENTRY = CHANGELOG[CHANGELOG.index("### Added") : CHANGELOG.index("## [1.9.0]")].strip()
SIGNER = """#!/bin/sh
cat > /dev/null
echo "-----BEGIN PGP SIGNATURE-----

xyz
-----END PGP SIGNATURE-----"
printf "\\n[GNUPG:] SIG_CREATED " >&2
"""


@dataclasses.dataclass
class Clone:
    """A fork that has been filled in and released before, with a remote of its own."""

    checkout: Path
    remote: Path

    def git(self, *arguments: str) -> str:
        command = ("git", "-c", "user.name=A", "-c", "user.email=a@example.org", *arguments)
        done = subprocess.run(
            command, cwd=self.checkout, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def write(self, name: str, pattern: str, text: str) -> None:
        file = self.checkout / name
        before = file.read_text()
        after = re.sub(pattern, lambda _: text, before, count=1, flags=re.MULTILINE | re.DOTALL)
        assert after != before
        file.write_text(after)

    def commit(self) -> None:
        self.git("commit", "--all", "--quiet", "--message", "Change it")
        self.git("push", "--quiet", "origin", "HEAD")

    def state(self) -> tuple[str, ...]:
        """All that a release may change."""
        return (
            self.git("rev-parse", "HEAD"),
            self.git("status", "--porcelain"),
            self.git("tag"),
            self.git("diff", "HEAD"),
            self.git("ls-remote", str(self.remote)),
        )

    def release(self, version: str) -> subprocess.CompletedProcess[str]:
        return make("--silent", "release", f"VERSION={version}", checkout=self.checkout)


@pytest.fixture(scope="module", autouse=True)
def no_settings_of_this_machine() -> Iterator[None]:
    """Some sign, some have hooks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        yield


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A fork that can be released, which nobody changes."""
    folder = tmp_path_factory.mktemp("ready")
    clone = Clone(copy(folder / "checkout"), folder / "remote.git")
    for place in adopted.PLACES:
        file = clone.checkout / place.file
        text = file.read_text() if file.exists() else ""
        if found := re.search(place.pattern, text, re.MULTILINE):
            file.write_text(text[: found.start(1)] + "of-our-own" + text[found.end(1) :])
    clone.write("pyproject.toml", 'repository = "[^"]*"', 'repository = "https://git.example/a/b"')
    (clone.checkout / "CHANGELOG.md").write_text(CHANGELOG)
    # What `make lint` finds is a matter of its own; here it takes a minute less.
    clone.write("Makefile", r"^lint: .*?\n\n", "lint: ## Check\n\t@test ! -e red\n\n")
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", clone.remote], check=True)
    clone.git("init", "--quiet", "--initial-branch=main")
    clone.git("config", "user.name", "A")
    clone.git("config", "user.email", "a@example.org")
    clone.git("remote", "add", "origin", "../remote.git")
    clone.git("add", "--all")
    clone.git("commit", "--quiet", "--message", "Fork it")
    clone.git("tag", "v1.9.0")
    clone.git("push", "--quiet", "origin", "main", "v1.9.0")
    return clone


@pytest.fixture
def clone(ready: Clone, tmp_path: Path) -> Clone:
    shutil.copytree(ready.checkout.parent, tmp_path, symlinks=True, dirs_exist_ok=True)
    return Clone(tmp_path / ready.checkout.name, tmp_path / ready.remote.name)


def test_a_release_is_an_entry_a_version_a_commit_and_a_tag(clone: Clone) -> None:
    published = clone.git("ls-remote")
    done = clone.release("1.10.0")
    assert done.returncode == 0, done.stderr

    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    expected = CHANGELOG.replace("[Unreleased]\n", f"[Unreleased]\n\n## [1.10.0] - {today}\n", 1)
    head, _, _ = expected.partition("[Unreleased]: ")
    assert (clone.checkout / "CHANGELOG.md").read_text() == (
        f"{head}[Unreleased]: https://git.example/a/b/compare/v1.10.0...HEAD\n"
        "[1.10.0]: https://git.example/a/b/releases/tag/v1.10.0\n"
        "[1.9.0]: https://git.example/a/b/releases/tag/v1.9.0\n"
    )
    project = tomllib.loads((clone.checkout / "pyproject.toml").read_text())
    assert project["project"]["version"] == "1.10.0"
    assert clone.git("status", "--porcelain") == ""
    changed = clone.git("diff", "--name-only", "HEAD^", "HEAD").split()
    assert changed == ["CHANGELOG.md", "pyproject.toml"]
    assert clone.git("log", "-1", "--format=%s") == "Release 1.10.0"
    assert clone.git("cat-file", "-t", "v1.10.0") == "tag"
    assert clone.git("rev-parse", "v1.10.0^{commit}") == clone.git("rev-parse", "HEAD")
    message = clone.git("tag", "--list", "--format=%(contents)", "v1.10.0")
    assert message == f"Release 1.10.0\n\n{ENTRY}"

    # Nothing is pushed but by a person, who types what was printed.
    assert clone.git("ls-remote") == published
    command = done.stdout.split()
    assert command == ["git", "push", "--atomic", "origin", "main", "v1.10.0"]
    clone.git(*command[1:])
    assert "refs/tags/v1.10.0" in clone.git("ls-remote")


def dirty(clone: Clone) -> None:
    (clone.checkout / "stray").touch()


def branch(clone: Clone) -> None:
    clone.git("switch", "--quiet", "--create", "work")


def detached(clone: Clone) -> None:
    clone.git("switch", "--quiet", "--detach")


def ahead(clone: Clone) -> None:
    clone.git("commit", "--quiet", "--allow-empty", "--message", "Not pushed")


def behind(clone: Clone) -> None:
    ahead(clone)
    clone.git("push", "--quiet", "origin", "main")
    clone.git("reset", "--quiet", "--hard", "HEAD^")


def unreachable(clone: Clone) -> None:
    clone.git("remote", "set-url", "origin", str(clone.remote) + "-gone")


def tagged_there(clone: Clone) -> None:
    clone.git("tag", "v1.10.0")
    clone.git("push", "--quiet", "origin", "v1.10.0")
    clone.git("tag", "--delete", "v1.10.0")


def nothing_new(clone: Clone) -> None:
    clone.write("CHANGELOG.md", r"- A page.*?- Set `A`\.", "")
    clone.commit()


def no_changelog(clone: Clone) -> None:
    clone.git("rm", "--quiet", "CHANGELOG.md")
    clone.commit()


def no_heading(clone: Clone) -> None:
    clone.write("CHANGELOG.md", r"^## \[Unreleased\]", "## Coming")
    clone.commit()


def no_version(clone: Clone) -> None:
    clone.write("pyproject.toml", r"^version = ", "dynamic = []\n# ")
    clone.commit()


def unfilled(clone: Clone) -> None:
    clone.write("compose.yaml", r"IMAGE:-[^}]*", "IMAGE:-flask-microservice")
    clone.commit()


def red(clone: Clone) -> None:
    (clone.checkout / "red").touch()
    clone.git("add", "red")
    clone.commit()


def refused_commit(clone: Clone) -> None:
    hook = clone.checkout / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho no, says the hook >&2\nexit 1\n")
    hook.chmod(0o755)


def refused_signature(clone: Clone) -> None:
    clone.git("config", "tag.gpgSign", "true")
    clone.git("config", "gpg.program", "/bin/false")


def fine(_: Clone) -> None:
    pass


@pytest.mark.parametrize(
    ("prepare", "version", "message"),
    [
        (fine, "", "name the version: make release VERSION=1.2.3"),
        (fine, "v2.0.0", "VERSION=v2.0.0: expected three numbers, as in 1.2.3"),
        (fine, "2.0", "VERSION=2.0: expected three numbers"),
        (fine, "2.00.0", "VERSION=2.00.0: expected three numbers"),
        (fine, "2.0.0-rc.1", "VERSION=2.0.0-rc.1: expected three numbers"),
        (fine, "1.9.0", "expected one greater than the last, which the tag v1.9.0 has"),
        (fine, "1.8.9", "expected one greater than the last, which the tag v1.9.0 has"),
        (tagged_there, "1.10.0", "expected one greater than the last, which the tag v1.10.0 has"),
        (dirty, "1.10.0", "the checkout is not clean"),
        (branch, "1.10.0", "a release is made of main, and this is work"),
        (detached, "1.10.0", "a release is made of main, and this is no branch"),
        (ahead, "1.10.0", "main is not what origin has: pull, or push"),
        (behind, "1.10.0", "main is not what origin has: pull, or push"),
        (unreachable, "1.10.0", "origin can't be reached"),
        (nothing_new, "1.10.0", "CHANGELOG.md: nothing stands under `## [Unreleased]`"),
        (no_changelog, "1.10.0", "CHANGELOG.md is missing"),
        (no_heading, "1.10.0", "CHANGELOG.md: expected a line `## [Unreleased]`"),
        (no_version, "1.10.0", 'pyproject.toml: expected a line `version = "..."` in [project]'),
        (unfilled, "1.10.0", "1 values are still the template's; `make adopted` lists them"),
        (red, "1.10.0", "checking it by `make lint`: make ended with status 2. Correct that first"),
        (refused_commit, "1.10.0", "git commit failed, and nothing was changed: no, says the hook"),
        (refused_signature, "1.10.0", "git tag failed, and nothing was changed: "),
    ],
)
def test_what_is_wrong_is_said_in_one_line_and_nothing_is_changed(
    clone: Clone, prepare: Callable[[Clone], None], version: str, message: str
) -> None:
    prepare(clone)
    before = clone.state()
    done = clone.release(version)
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert message in line
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert clone.state() == before


def test_without_a_remote_the_local_branch_counts(clone: Clone) -> None:
    clone.git("remote", "remove", "origin")
    assert clone.release("2.0.0").returncode == 0
    assert "v2.0.0" in clone.git("tag").split()


@pytest.mark.parametrize("setting", ["tag.gpgSign", "commit.gpgSign"])
def test_it_is_signed_where_git_is_set_up_to_sign(clone: Clone, setting: str) -> None:
    """By whatever program git is told to use: this one writes what git asks a signer for."""
    signer = clone.remote.parent / "signer"
    signer.write_text(SIGNER)
    signer.chmod(0o755)
    clone.git("config", "gpg.program", str(signer))
    clone.git("config", setting, "true")
    done = clone.release("1.10.0")
    assert done.returncode == 0, done.stderr
    assert "-----BEGIN PGP SIGNATURE-----" in clone.git("cat-file", "tag", "v1.10.0")
    signed = "gpgsig " in clone.git("cat-file", "commit", "HEAD")
    assert signed == (setting == "commit.gpgSign")
