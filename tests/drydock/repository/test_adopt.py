"""`make adopt`: the template becomes a service of one's own, and nothing is lost on the way."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

import adopt
import adopted
import forks
import owners
import template
import without_database
from checkouts import CHECKOUT, copy, environment, make
from database import HAS_DATABASE
from forks import ANSWERS, PLACEHOLDERS, Repository

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return forks.template(tmp_path_factory.mktemp("template") / "checkout")


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture(scope="module")
def begun(original: Repository) -> Repository:
    """A fork without the template's history, which nobody changes."""
    return original.without_history(original.path.with_name("begun"))


@pytest.fixture
def fork(begun: Repository, tmp_path: Path) -> Repository:
    return begun.copy(tmp_path / "fork")


def test_the_service_is_named_everywhere_and_nothing_is_left_to_fill_in(fork: Repository) -> None:
    said = fork.succeed("adopt", SAMPLE="remove", TEMPLATE="https://git.example/t", **ANSWERS)
    assert "left to do" not in said
    assert fork.make("adopted").returncode == 0
    found = adopted.values(fork.read)
    del found["version"]
    assert found == {
        "name": "notes-service",
        "description": "Keeps notes: $5 a month, it's cheap",
        "repository": "https://git.example/acme/notes-service",
        "owners": "@acme/notes @ann",
        "security contact": "security@acme.example",
        "copyright holder": "Acme & Sons, Inc.",
    }
    for name, content in fork.files().items():
        kept = {PLACEHOLDERS["copyright holder"]} if name == "LICENSE" else set()
        if owners.owner(name) != owners.TEMPLATE:
            assert not [old for old in PLACEHOLDERS.values() if old.encode() in content] or kept
    assert "IMAGE:-notes-service}" in fork.read("compose.yaml")
    assert "# via notes-service (pyproject.toml)" in fork.read("requirements/runtime.txt")
    assert fork.read("README.md").startswith("# notes-service\n\nKeeps notes: $5 a month")
    assert "[Unreleased]: https://git.example/acme/notes-service/commits" in fork.read(
        "CHANGELOG.md"
    )
    assert 'version = "0.1.0"' in fork.read("pyproject.toml")


def test_no_file_of_the_template_s_names_the_service() -> None:
    """But the list of what is to be filled in, and tests: nobody has to rename it there."""
    listed = subprocess.check_output(["git", "ls-files"], cwd=CHECKOUT, text=True).splitlines()
    named = [
        name
        for name in listed
        if owners.owner(name) == owners.TEMPLATE
        and not name.startswith(("scripts/adopted.py", "tests/"))
        and (CHECKOUT / name).is_file()
        and PLACEHOLDERS["name"].encode() in (CHECKOUT / name).read_bytes()
    ]
    assert named == []


def test_the_template_s_line_of_the_licence_stays(fork: Repository) -> None:
    fork.succeed("adopt", HOLDER="Acme")
    lines = fork.read("LICENSE").splitlines()
    assert re.fullmatch(r"Copyright \(c\) 20\d\d Acme", lines[2])
    assert lines[3] == "Copyright (c) 2026 The Drydock authors"
    fork.commit()
    fork.succeed("adopt", HOLDER="Acme Two")
    assert fork.read("LICENSE").splitlines()[2:4] == [lines[2] + " Two", lines[3]]


def test_the_sample_goes_with_its_tests_its_migration_and_its_part(fork: Repository) -> None:
    fork.succeed("adopt", SAMPLE="remove")
    assert not [name for name in fork.files() if "blogs" in name]
    assert not (fork.path / "src/app/blogs").exists()
    assert fork.read("src/app/__init__.py") == 'parts = ("app.index",)\n'
    assert fork.read("src/app/index.py") == forks.OWN["src/app/index.py"]


def test_without_a_terminal_what_is_not_given_stays_and_is_named(fork: Repository) -> None:
    said = fork.succeed("adopt", NAME="notes-service")
    assert (fork.path / "src/app/blogs/views.py").exists()
    for key in ("description", "repository", "owners", "security contact"):
        assert PLACEHOLDERS[key] in said
    assert "make adopt SAMPLE=remove" in said
    assert "make adopt TEMPLATE=address" in said


@pytest.mark.parametrize("answers", [ANSWERS | {"SAMPLE": "remove"}, {"NAME": "notes-service"}, {}])
def test_a_second_run_changes_nothing(fork: Repository, answers: dict[str, str]) -> None:
    fork.succeed("adopt", **answers)
    fork.commit("Adopt it")
    fork.write("README.md", fork.read("README.md") + "\nWhat we wrote ourselves.\n")
    fork.edit("pyproject.toml", 'version = "0.1.0"', 'version = "1.2.3"')
    fork.commit()
    assert "changed 0 files" in fork.succeed("adopt", **answers)
    assert fork.git("status", "--porcelain") == ""


def test_a_fork_that_was_made_by_hand_keeps_its_texts(fork: Repository) -> None:
    fork.edit("pyproject.toml", f'name = "{PLACEHOLDERS["name"]}"', 'name = "ours"')
    begun = fork.commit()
    fork.succeed("adopt", TEMPLATE="https://git.example/t", OWNERS="@acme/notes")
    assert fork.git("diff", "--name-only") == ".github/CODEOWNERS"
    assert f'commit = "{begun}"' in fork.read(owners.RECORD)


def test_what_was_left_out_can_be_given_later(fork: Repository) -> None:
    """Also another name: the result is that of one run."""
    at_once = fork.copy(fork.path.with_name("at-once"))
    at_once.succeed("adopt", SAMPLE="remove", TEMPLATE="https://git.example/t", **ANSWERS)
    fork.succeed("adopt", NAME="first", DESCRIPTION="The first.")
    fork.commit()
    fork.succeed("adopt", **ANSWERS)
    fork.commit()
    fork.succeed("adopt", SAMPLE="remove", TEMPLATE="https://git.example/t")
    assert fork.files() == at_once.files()


def test_a_dry_run_writes_nothing_and_shows_all(fork: Repository) -> None:
    answers = ANSWERS | {"SAMPLE": "remove"}
    shown = fork.make("adopt", DRY_RUN="1", **answers)
    assert shown.returncode == 0
    assert fork.git("status", "--porcelain") == ""
    copied = fork.copy(fork.path.with_name("copied"))
    patch = copied.path.with_name("patch")
    patch.write_text(shown.stdout)
    # An empty file has no lines that a diff could show.
    copied.git("apply", str(patch))
    copied.git("rm", "--quiet", "--ignore-unmatch", "src/app/blogs/__init__.py")
    fork.succeed("adopt", **answers)
    assert copied.files() == fork.files()


def at(repository: Repository) -> tuple[str, str]:
    return repository.git("rev-parse", "HEAD"), repository.git("status", "--porcelain")


def test_the_commit_that_a_fork_begins_with_is_recorded(
    original: Repository, fork: Repository, tmp_path: Path
) -> None:
    clone = original.clone(tmp_path / "clone")
    for repository, address in ((fork, ""), (clone, str(original.path))):
        begun, _ = at(repository)
        repository.succeed("adopt", REPOSITORY="https://git.example/me/mine")
        record = repository.read(owners.RECORD)
        assert f'repository = "{address}"\ncommit = "{begun}"\n' in record


@pytest.mark.parametrize(
    ("remotes", "own", "address"),
    [
        ({"upstream": "git@git.example:t/t.git"}, "", "git@git.example:t/t.git"),
        ({"upstream": "ssh://git@git.example/t/t"}, "git.example/a/b", "ssh://git@git.example/t/t"),
        ({"origin": "https://git.example/t/t"}, "git.example/me/mine", "https://git.example/t/t"),
        ({"origin": "git@git.example:me/mine.git"}, "git.example/me/mine", ""),
        ({"origin": "https://git.example/t/t"}, "", ""),
        ({}, "git.example/me/mine", ""),
    ],
)
def test_the_template_s_address_is_that_of_a_remote_which_is_not_the_fork_s(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    remotes: dict[str, str],
    own: str,
    address: str,
) -> None:
    fork = Repository(tmp_path)
    fork.git("init", "--quiet")
    for name, url in remotes.items():
        fork.git("remote", "add", name, url)
    monkeypatch.setattr(template, "ROOT", tmp_path)
    assert template.remote_address(own and f"https://{own}") == address


def test_no_password_is_recorded() -> None:
    text = template.Record("https://me:token@git.example/t/t", "0" * 40).text()
    assert 'repository = "https://git.example/t/t"\n' in text


def test_a_hosts_repository_is_the_same_by_each_address() -> None:
    addresses = (
        "https://git.example/me/mine",
        "https://me:token@git.example:8443/me/mine.git/",
        "git@git.example:me/mine.git",
        "ssh://git@git.example:22/me/mine",
    )
    assert {template.place(address) for address in addresses} == {"git.example/me/mine"}


def test_what_a_shell_happens_to_export_is_not_taken(fork: Repository) -> None:
    """NAME is the machine's name on some systems, and REPOSITORY a pipeline's."""
    done = make("--silent", "adopt", checkout=fork.path, NAME="machine", REPOSITORY="a/b")
    assert done.returncode == 0, done.stderr
    assert adopted.values(fork.read)["name"] == PLACEHOLDERS["name"]


def test_the_begun_readme_leads_to_what_is_there(fork: Repository) -> None:
    fork.succeed("adopt", NAME="notes-service")
    links = re.findall(r"\]\((?!https:)([^)#]+)(?:#([^)]+))?\)", fork.read("README.md"))
    assert links
    for path, anchor in links:
        headings = re.findall(r"^#+ (.+)$", fork.read(path), re.MULTILINE)
        assert not anchor or anchor in {heading.lower().replace(" ", "-") for heading in headings}


def test_no_document_of_the_template_s_leads_into_a_file_of_the_fork_s() -> None:
    """Its headings are the fork's to change."""
    for document in (CHECKOUT / "docs").glob("*.md"):
        for path in re.findall(r"\]\(\.\./([^)#]+)#", document.read_text()):
            assert owners.owner(path) != owners.FORK, document.name


def dirty(fork: Repository) -> None:
    fork.write("stray", "")


def later_migration(fork: Repository) -> None:
    fork.write("src/app/migrations/versions/0002_notes.py", "")
    fork.commit()


def other_parts(fork: Repository) -> None:
    fork.write("src/app/__init__.py", "parts = ()\n")
    fork.commit()


def broken_record(fork: Repository) -> None:
    fork.write(owners.RECORD, "commit = ")
    fork.commit()


def record_without_commit(fork: Repository) -> None:
    fork.write(owners.RECORD, 'commit = "main"\n')
    fork.commit()


def fine(_: Repository) -> None:
    pass


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("NAME", "", "lower-case letters"),
        ("NAME", "Notes", "lower-case letters"),
        ("NAME", "notes--service", "lower-case letters"),
        ("NAME", "notes_service", "lower-case letters"),
        ("NAME", "1notes", "lower-case letters"),
        ("NAME", "a" * 64, "lower-case letters"),
        ("SAMPLE", "yes", "keep or remove"),
        ("REPOSITORY", "git@git.example:a/b", "its address as a browser opens it"),
        ("REPOSITORY", "https://git.example/a/b.git", "its address as a browser opens it"),
        ("OWNERS", "acme", "@user or @organization/team"),
        ("CONTACT", "Ann", "an e-mail address"),
        ("DESCRIPTION", 'It "works"', 'one line, without " and'),
        ("HOLDER", "A\\", "who holds the copyright: one line"),
        ("TEMPLATE", "--upload-pack=x", "the address that git fetches the template from"),
        ("DRY_RUN", "yes", "1 or 0"),
    ],
)
def test_a_value_that_can_t_be_is_refused(name: str, value: str, expected: str) -> None:
    assert adopt.wrong(name, value).startswith(f"{name}={value}: expected {expected}")


@pytest.mark.parametrize(
    ("prepare", "variables", "message"),
    [
        (fine, {"NAME": "Notes"}, "NAME=Notes: expected lower-case letters"),
        (fine, {"NAME": "flask"}, "NAME=flask: that is a package that the service needs"),
        (fine, {"HOLDER": "A\nB"}, "HOLDER=A B: expected who holds the copyright: one line"),
        (fine, {"OWNER": "@a"}, "make adopt knows no OWNER: expected one of NAME, DESCRIPTION"),
        (dirty, {"NAME": "a"}, "the checkout is not clean: commit, or take back"),
        (later_migration, {"SAMPLE": "remove"}, "0002_notes.py: is a migration after the sample's"),
        (other_parts, {"SAMPLE": "remove"}, 'expected "app.blogs" once in `parts`'),
        (broken_record, {"NAME": "a"}, ".template.toml: Invalid value"),
        (record_without_commit, {"NAME": "a"}, '.template.toml: expected a line `commit = "..."`'),
    ],
)
def test_what_is_wrong_is_said_in_one_line_and_nothing_is_changed(
    fork: Repository,
    prepare: Callable[[Repository], None],
    variables: dict[str, str],
    message: str,
) -> None:
    prepare(fork)
    before = at(fork)
    done = fork.make("adopt", **variables)
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("make: ")]
    assert line.startswith("error: ")
    assert message in line
    assert at(fork) == before


def test_no_repository_and_no_commit_are_one_line(fork: Repository) -> None:
    shutil.rmtree(fork.path / ".git")
    assert "run `git init`, and commit" in fork.make("adopt", NAME="a").stderr
    fork.git("init", "--quiet")
    assert "this repository has no commit" in fork.make("adopt", NAME="a").stderr


def test_what_stops_it_halfway_takes_all_back(fork: Repository) -> None:
    """Ctrl-C, while it writes the last but one of its files."""
    code = """
import pathlib, sys
sys.argv = ["adopt.py", "NAME", "SAMPLE"]
sys.path.insert(0, "scripts")
import adopt
writes = pathlib.Path.write_text
def stop(path, *rest):
    if path.name == ".template.toml":
        writes(path, "half")
        raise KeyboardInterrupt
    return writes(path, *rest)
pathlib.Path.write_text = stop
with adopt.entry():
    adopt.main()
"""
    before = at(fork)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=fork.path,
        env=environment(NAME="notes-service", SAMPLE="remove"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (130, "interrupted\n")
    assert at(fork) == before
    assert not (fork.path / owners.RECORD).exists()


@pytest.mark.parametrize("none", ["y", "n"])
def test_at_a_terminal_it_asks_for_what_is_not_given(fork: Repository, none: str) -> None:
    """Enter leaves a value; a wrong answer is asked for again; nothing that was given is asked."""
    ours, theirs = pty.openpty()
    typed = ("Keeps notes", "nowhere", "https://git.example/a/b", "", "a@acme.example", "Acme", "y")
    os.write(ours, "".join(f"{line}\n" for line in (*typed, none)).encode())
    done = subprocess.run(
        ["make", "--silent", "adopt", "NAME=notes-service", f"PYTHON={sys.executable}"],
        cwd=fork.path,
        env=environment(CI=""),
        stdin=theirs,
        capture_output=True,
        text=True,
        check=False,
    )
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 0, done.stderr
    assert "NAME (" not in done.stderr
    assert "REPOSITORY=nowhere: expected its address" in done.stderr
    found = adopted.values(fork.read)
    assert found["description"] == "Keeps notes"
    assert found["repository"] == "https://git.example/a/b"
    assert found["owners"] == PLACEHOLDERS["owners"]
    assert found["copyright holder"] == "Acme"
    assert not (fork.path / "src/app/blogs").exists()
    lock = without_database.LOCK
    assert (lock in fork.files()) == (HAS_DATABASE and none == "n")


@pytest.mark.slow
@pytest.mark.parametrize("less", [{"SAMPLE": "remove"}, {"DATABASE": "none"}])
def test_the_real_sample_goes_as_well(tmp_path: Path, less: dict[str, str]) -> None:
    """Its names are those that adopt knows. A fork has no such sample, or has made it its own."""
    if (CHECKOUT / owners.RECORD).exists():
        return
    fork = Repository(copy(tmp_path / "fork"))
    fork.begin()
    fork.succeed("adopt", NAME="notes-service", **less)
    own = {
        name: text
        for name, text in fork.files().items()
        if name.startswith(("src/app/", "tests/app/"))
    }
    assert not [name for name, text in own.items() if b"blog" in text.lower() or "blog" in name]
    code = "import app; print(sorted(app.create_app().blueprints))"
    path: dict[str, Any] = {"PYTHONPATH": str(fork.path / "src"), "DATA_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment(**path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "hello" in done.stdout
    # What is left of its tests is green.
    tests = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "tests/app"]
    done = subprocess.run(
        tests, cwd=fork.path, env=environment(**path), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
