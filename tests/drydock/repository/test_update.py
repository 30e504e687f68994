"""`make update`: a fork takes the template's releases, keeps what is its own, and loses nothing."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import adopted
import forks
import owners
import update
from checkouts import environment
from forks import ANSWERS, Repository

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# A place in each file that the template and its forks change, with room between them.
BLOCK = "".join(f"# line {number}\n" for number in range(1, 13))
BOTH_CHANGE = (
    "pyproject.toml",
    "compose.yaml",
    "gunicorn.conf.py",
    "requirements/debian.list",
    "deploy/seccomp.json",
    "SECURITY.md",
    ".github/workflows/ci.yml",
    "requirements/runtime.txt",
    ".env.example",
    "docs/settings.md",
)
NOTES = """# Changelog

## [Unreleased]

## [1.2.0] - 2026-03-01

### Upgrade notes

- Set `C`.

## [1.1.0] - 2026-02-01

### Added

- B.

### Upgrade notes

- Set `B`,
  or not.

## [1.0.0] - 2026-01-01

### Upgrade notes

- Set `A`.

[Unreleased]: https://git.example/t/t/compare/v1.2.0...HEAD
"""


def release(template: Repository, version: str, line: str) -> None:
    """Change what a release changes: one line of each file, each version that is locked, texts."""
    for name in BOTH_CHANGE:
        template.edit(name, f"{line}\n", f"{line} as of {version}\n")
    for lock in sorted((template.path / "requirements").glob("*.txt")):
        name = str(lock.relative_to(template.path))
        template.write(name, template.read(name).replace(" \\\n", f".{version[2]} \\\n"))
    project = template.read("pyproject.toml")
    values = {"version": version}
    template.write("pyproject.toml", adopted.filled("pyproject.toml", project, {}, values))
    template.edit("docs/changed.md", f"{line}\n", f"{line} as of {version}\n")
    template.write(f"docs/new-{version}.md", "New.\n")
    template.write("src/app/index.py", f"greeting = {version!r}\n")
    template.write("README.md", f"# The template {version}\n")
    notes = NOTES[NOTES.index(f"## [{version}]") :]
    template.write("CHANGELOG.md", f"# Changelog\n\n{notes}")
    template.commit(f"Release {version}")
    template.git("tag", "-am", version, f"v{version}")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """The template with three releases, and a commit after the last one."""
    template = forks.template(tmp_path_factory.mktemp("template") / "checkout")
    for name in BOTH_CHANGE:
        template.write(name, template.read(name) + BLOCK)
    template.write("docs/changed.md", BLOCK)
    template.write("docs/old.md", BLOCK)
    release(template, "1.0.0", "# line 1")
    template.write("src/app/extra.py", "extra = 1\n")
    template.git("rm", "--quiet", "docs/old.md")
    release(template, "1.1.0", "# line 2")
    release(template, "1.2.0", "# line 4")
    template.write("docs/unreleased.md", "Not yet.\n")
    template.write("CHANGELOG.md", NOTES)
    template.commit()
    return template


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


def at_release(template: Repository, target: Path, tag: str) -> Repository:
    clone = template.clone(target)
    clone.git("switch", "--quiet", "--force-create", "main", tag)
    return clone


def adopt(fork: Repository, template: Repository) -> None:
    fork.succeed("adopt", SAMPLE="remove", TEMPLATE=str(template.path), **ANSWERS)
    fork.commit("Adopt it")


def make_it_ours(fork: Repository) -> None:
    """Edits in every place where the documents allow them."""
    for name in BOTH_CHANGE:
        fork.edit(name, "# line 11\n", "# line 11, and ours\n")
    fork.edit("pyproject.toml", 'version = "0.1.0"', 'version = "3.2.1"')
    fork.edit("requirements/runtime.txt", "# line 12\n", "# line 12\nhumanize==4.0 \\\n")
    fork.edit("README.md", "make up ", "make -j up ")
    fork.edit("CHANGELOG.md", "[Unreleased]\n", "[Unreleased]\n\n### Added\n\n- Notes.\n")
    fork.edit(".github/CODEOWNERS", "* @", "/src @ann\n* @")
    fork.write("src/app/index.py", "greeting = 'Notes!'\n")
    fork.write("src/app/notes.py", "notes = 1\n")
    fork.write("tests/app/test_notes.py", "notes = 1\n")
    fork.write("docs/ours.md", "Ours.\n")
    fork.commit("Make it ours")


@pytest.fixture(scope="module")
def old(template: Repository, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A fork of the first release, from GitHub's "Use this template", which nobody changes."""
    folder = tmp_path_factory.mktemp("old")
    fork = at_release(template, folder / "clone", "v1.0.0").without_history(folder / "fork")
    adopt(fork, template)
    make_it_ours(fork)
    return fork


@pytest.fixture(scope="module")
def fresh(template: Repository, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a fork that began with the newest release."""
    fork = at_release(template, tmp_path_factory.mktemp("fresh") / "fork", "v1.2.0")
    adopt(fork, template)
    make_it_ours(fork)
    return fork.files()


@pytest.fixture
def fork(old: Repository, tmp_path: Path) -> Repository:
    return old.copy(tmp_path / "fork")


def cloned(template: Repository, _: Repository, target: Path) -> Repository:
    fork = at_release(template, target, "v1.0.0")
    adopt(fork, template)
    make_it_ours(fork)
    return fork


def with_commits_before(template: Repository, _: Repository, target: Path) -> Repository:
    """It had a commit of its own when it was adopted, on a file of the template's."""
    fork = at_release(template, target.with_name("clone"), "v1.0.0").without_history(target)
    fork.edit("docs/changed.md", "# line 9\n", "# line 9, and ours\n")
    fork.commit()
    adopt(fork, template)
    make_it_ours(fork)
    return fork


def without_history(_: Repository, old: Repository, target: Path) -> Repository:
    return old.copy(target)


def own(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: text for name, text in files.items() if owners.owner(name) == owners.FORK}


@pytest.mark.parametrize(
    "begin",
    [
        without_history,
        *(pytest.param(each, marks=pytest.mark.slow) for each in (cloned, with_commits_before)),
    ],
)
def test_a_fork_two_releases_behind_becomes_a_fresh_one_but_for_its_own(
    template: Repository,
    old: Repository,
    fresh: dict[str, bytes],
    tmp_path: Path,
    begin: Callable[[Repository, Repository, Path], Repository],
) -> None:
    fork = begin(template, old, tmp_path / "fork")
    before = own(fork.files())
    said = fork.succeed("update")
    assert "git diff --cached" in said
    after = fork.files()
    newest = template.git("rev-parse", "v1.2.0^{commit}")
    assert f'commit = "{newest}"' in fork.read(owners.RECORD)
    del before[owners.RECORD]
    assert before.items() <= own(after).items()
    assert own(after).keys() - before.keys() == {owners.RECORD}

    edited = after["docs/changed.md"]
    after["docs/changed.md"] = edited.replace(b"# line 9, and ours\n", b"# line 9\n")
    assert (after["docs/changed.md"] != edited) == (begin is with_commits_before)
    expected, found = fresh.keys() - own(fresh).keys(), after.keys() - own(after).keys()
    assert found == expected
    assert [name for name in found if after[name] != fresh[name]] == []
    assert "docs/old.md" not in found
    # All is staged and committed at once; then there is nothing to do.
    fork.git("commit", "--quiet", "--message", "Update it")
    assert fork.git("status", "--porcelain") == ""
    assert "already up to date" in fork.succeed("update")


def test_the_upgrade_notes_of_each_release_in_between_are_shown(fork: Repository) -> None:
    said = fork.succeed("update")
    assert said.startswith(
        "[1.2.0] - 2026-03-01\n\n- Set `C`.\n\n[1.1.0] - 2026-02-01\n\n- Set `B`,\n  or not.\n\n"
    )
    assert "Set `A`" not in said


def test_what_the_template_changed_of_its_sample_is_shown_and_not_taken(fork: Repository) -> None:
    said = fork.succeed("update")
    (command,) = [line for line in said.splitlines() if line.startswith("git diff ")]
    assert command.endswith(" -- src/app/index.py")
    assert "+greeting = '1.2.0'" in fork.git(*command.split()[1:])
    assert fork.read("src/app/index.py") == "greeting = 'Notes!'\n"
    assert not (fork.path / "src/app/extra.py").exists()


@pytest.mark.slow
def test_any_release_branch_or_commit_can_be_named(fork: Repository, template: Repository) -> None:
    fork.succeed("update", TEMPLATE="@v1.1.0")
    assert (fork.path / "docs/new-1.1.0.md").exists()
    assert not (fork.path / "docs/new-1.2.0.md").exists()
    fork.commit()
    fork.succeed("update", TEMPLATE=f"{template.path}@main")
    assert (fork.path / "docs/unreleased.md").exists()
    fork.commit()
    # Newer than the newest release: nothing is taken back.
    assert "already up to date" in fork.succeed("update")
    assert at(fork)[1] == ""


def test_a_fork_that_began_after_the_newest_release_has_it(
    template: Repository, tmp_path: Path
) -> None:
    fork = template.clone(tmp_path / "clone").without_history(tmp_path / "fork")
    adopt(fork, template)
    assert "already up to date" in fork.succeed("update")
    assert at(fork)[1] == ""


def at(repository: Repository) -> tuple[str, str]:
    return repository.git("rev-parse", "HEAD"), repository.git("status", "--porcelain")


def test_what_both_changed_is_a_conflict_and_nothing_is_lost(fork: Repository) -> None:
    fork.edit("docs/changed.md", "# line 4\n", "# line 4 as we want it\n")
    fork.edit("docs/old.md", "# line 5\n", "# line 5 as we want it\n")  # which the template deletes
    fork.commit()
    before, files = at(fork), fork.files()
    done = fork.make("update")
    assert done.returncode != 0
    assert "2 files were changed there and here" in done.stderr
    assert "docs/changed.md\ndocs/old.md\n" in done.stdout
    assert fork.git("diff", "--name-only", "--diff-filter=U").split() == [
        "docs/changed.md",
        "docs/old.md",
    ]
    text = fork.read("docs/changed.md")
    ours, theirs = text.index("# line 4 as we want it\n"), text.index("# line 4 as of 1.2.0\n")
    assert text.index("<<<<<<< HEAD\n") < ours < text.index("=======\n") < theirs
    assert "(template v1.2.0)\n" in text[theirs:]
    assert "# line 2 as of 1.1.0\n" in text
    assert "# line 5 as we want it\n" in fork.read("docs/old.md")
    assert (fork.path / "docs/new-1.2.0.md").exists()

    fork.git("reset", "--quiet", "--hard")
    assert at(fork) == before
    assert fork.files() == files

    fork.make("update")
    fork.write("docs/changed.md", BLOCK)
    fork.commit("Update it")
    assert "already up to date" in fork.succeed("update")


def test_of_what_a_verb_writes_the_forks_stays_and_the_verb_is_named(fork: Repository) -> None:
    lock = fork.read("requirements/test.txt").replace(" \\\n", ".99 \\\n")
    fork.write("requirements/test.txt", lock)
    fork.git("rm", "--quiet", "requirements/slim.txt")
    fork.edit(".env.example", "# line 4\n", "# line 4 as we want it\n")
    fork.commit()
    said = fork.succeed("update")
    kept = ".env.example, requirements/slim.txt, requirements/test.txt"
    assert f"yours was kept of {kept}: write it anew, `make lock docs`" in said
    assert fork.read("requirements/test.txt") == lock
    assert not (fork.path / "requirements/slim.txt").exists()
    assert "# line 4 as we want it\n" in fork.read(".env.example")
    assert fork.git("diff", "--name-only") == ""


def test_what_stops_it_halfway_takes_all_back(fork: Repository) -> None:
    """Ctrl-C, after the merge."""
    code = """
import sys
sys.path.insert(0, "scripts")
import update
def stop():
    raise KeyboardInterrupt
update.keep_generated = stop
with update.entry():
    update.main()
"""
    before, files = at(fork), fork.files()
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=fork.path,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 130
    assert "interrupted\n" in done.stderr
    assert at(fork) == before
    assert fork.files() == files


@pytest.mark.parametrize(
    ("given", "address", "ref"),
    [
        ("https://host/t", "https://host/t", None),
        ("https://host/t@v1.2.0", "https://host/t", "v1.2.0"),
        ("https://me@host/t@feature/x", "https://me@host/t", "feature/x"),
        ("git@host:t/t.git", "git@host:t/t.git", None),
        ("git@host:t/t.git@main", "git@host:t/t.git", "main"),
        ("../template@main", "../template", "main"),
        ("@v1.2.0", "", "v1.2.0"),
        ("", "", None),
    ],
)
def test_an_address_is_told_from_a_ref(given: str, address: str, ref: str | None) -> None:
    found = update.SOURCE.fullmatch(given)
    assert found
    assert found.groups() == (address, ref)


def fine(_: Repository) -> None:
    pass


def dirty(fork: Repository) -> None:
    fork.write("stray", "")


def no_record(fork: Repository) -> None:
    fork.git("rm", "--quiet", owners.RECORD)
    fork.commit()


def no_address(fork: Repository) -> None:
    found = [line for line in fork.read(owners.RECORD).splitlines() if line.startswith("commit")]
    fork.write(owners.RECORD, "\n".join(found) + "\n")
    fork.commit()


def unknown_commit(fork: Repository) -> None:
    commit = fork.read(owners.RECORD).split('commit = "')[1][:40]
    fork.edit(owners.RECORD, commit, "1" * 40)
    fork.commit()


def another_beginning(fork: Repository) -> None:
    """As where the template's files were copied, among others, without its history."""
    fork.git("checkout", "--quiet", "--orphan", "new")
    start = fork.commit()
    commit = fork.read(owners.RECORD).split('commit = "')[1][:40]
    fork.edit(owners.RECORD, commit, start)
    fork.commit()


@pytest.mark.parametrize(
    ("prepare", "given", "message"),
    [
        (dirty, "", "the checkout is not clean: commit, or take back"),
        (no_record, "", "there is no .template.toml: `make adopt` writes it"),
        (no_address, "", ".template.toml names no address: make update TEMPLATE=address"),
        (fine, "/nowhere", "/nowhere can't be reached: fatal: '/nowhere' does not appear to be a"),
        (fine, "@v9.9.9", "has no v9.9.9: fatal: couldn't find remote ref v9.9.9"),
        (fine, "@-x", "TEMPLATE=@-x: expected a tag, a branch or a commit behind the @"),
        (fine, "a@b@c", "TEMPLATE=a@b@c: expected address@ref, as in https://host/template@v1.2.0"),
        (fine, "-x", "TEMPLATE=-x: expected address@ref"),
        (fine, ".", "has no release yet: name a branch or a commit, TEMPLATE=address@ref"),
        (unknown_commit, "", f"the commit {'1' * 40} is neither here nor at"),
        (another_beginning, "", "nor one before it is one of"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_and_nothing_is_changed(
    fork: Repository, prepare: Callable[[Repository], None], given: str, message: str
) -> None:
    prepare(fork)
    before = at(fork)
    done = fork.make("update", **({"TEMPLATE": given} if given else {}))
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("make: ")]
    assert line.startswith("error: ")
    assert message in line
    assert at(fork) == before
