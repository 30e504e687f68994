"""docs/promises.md: no promise without its tests, no test without its promise."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

import pytest

import promises
from checkouts import CHECKOUT, environment

if TYPE_CHECKING:
    from pathlib import Path

PROVED = '[image]\ntitle = "The image"\nabout = "It ..."\n[image.promises]\n'
MODULE = '''"""What it is about."""

def test_it_s_small():
    """To the byte.

    And more.
    """

def test_it_can_t_grow(): ...
'''


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with one file of tests and one promise."""
    (tmp_path / "tests/drydock/image").mkdir(parents=True)
    (tmp_path / "tests/drydock/image/test_size.py").write_text(MODULE)
    (tmp_path / promises.LIST).write_text(PROVED + '"is `small`" = ["test_size.py"]\n')
    monkeypatch.setattr(promises, "ROOT", tmp_path)
    monkeypatch.setattr(promises, "TESTS", tmp_path / "tests/drydock")
    return tmp_path


def fails_with(message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        promises.document()
    assert capsys.readouterr().err == f"error: {message}\n"


def test_a_promise_unfolds_to_the_sentences_of_its_tests(tree: Path) -> None:
    text = promises.document()
    assert "- [The image](#the-image)\n" in text
    assert "<details><summary>is <code>small</code></summary>\n" in text
    assert "](../tests/drydock/image/test_size.py)\n" in text
    assert "\n- It's small. To the byte.\n- It can't grow.\n" in text
    (tree / promises.LIST).write_text('[image]\ntitle = "The image"\nabout = "It ..."\n')
    assert "<details><summary>What it is about.</summary>\n" in promises.document()


def test_a_promise_without_a_test_is_an_error(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / promises.LIST).write_text(PROVED + '"is red" = ["test_size.py::test_red*"]\n')
    where = "tests/promises.toml, [image.promises]"
    fails_with(f"{where}: test_size.py::test_red* is no test of tests/drydock", capsys)


def test_a_test_without_a_promise_is_an_error(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / promises.LIST).write_text(PROVED + '"is small" = ["test_size.py::test_it_s*"]\n')
    where = "tests/drydock/image/test_size.py"
    what = "test_it_can_t_grow proves no promise; name it in tests/promises.toml"
    fails_with(f"{where}: {what}", capsys)


def test_a_file_without_a_docstring_or_a_section_is_an_error(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / "tests/drydock/more").mkdir()
    (tree / "tests/drydock/more/test_x.py").write_text("def test_x(): ...\n")
    what = "has no docstring; its first line is in docs/promises.md"
    fails_with(f"tests/drydock/more/test_x.py: {what}", capsys)
    (tree / "tests/drydock/more/test_x.py").write_text('"""X."""\n')
    fails_with("tests/promises.toml: no section for tests/drydock/more", capsys)


def test_each_test_is_in_the_document() -> None:
    """Found in another way than by the code that writes it, wherever a test may be."""
    text = (CHECKOUT / "docs/promises.md").read_text()
    files = sorted((CHECKOUT / "tests/drydock").rglob("test_*.py"))
    assert len(files) > 50
    for file in files:
        name = file.relative_to(CHECKOUT / "tests/drydock").as_posix()
        link = f"\n[{name}](../tests/drydock/{name})\n"
        assert link in text
        listed = "".join(part.partition("\n\n[")[0] for part in text.split(link)[1:])
        names = [
            node.name
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        ]
        for test in (test for test in names if test.lower().startswith("test")):
            assert f"\n- {promises.Test(name, test, '').sentence()}" in listed, f"{name}::{test}"


@pytest.mark.parametrize("section", ["image", "chaos", "stack"])
def test_make_test_proves_each_promise(section: str) -> None:
    """At least one test of each is not `slow`: only a part of its proof is left to other verbs."""
    rooms = {"image", "chaos", "stack", "unit", "repository"}
    _, tests = promises.collect()
    slow = {
        (file.relative_to(CHECKOUT / "tests/drydock").as_posix(), node.name)
        for file in (CHECKOUT / "tests/drydock").glob("*/test_*.py")
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.FunctionDef)
        and "pytest.mark.slow" in map(ast.unparse, node.decorator_list)
    }
    assert slow
    listed = tomllib.loads((CHECKOUT / promises.LIST).read_text())[section]["promises"]
    for promise, patterns in listed.items():
        found = [test for each in patterns for test in promises.proving(each, section, tests)]
        kept = [test for test in found if (test.file, test.name) not in slow]
        assert any(test.file.partition("/")[0] in rooms for test in kept), promise


@pytest.mark.long
def test_pytest_collects_the_tests_that_are_listed() -> None:
    # With each test's file as a module of its own, since some have the same name.
    options = ("--collect-only", "-q", "--import-mode=importlib", "-p", "no:cacheprovider")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "tests/drydock"],
        cwd=CHECKOUT,
        env=environment(TEST_FULL="1"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    collected = set(re.findall(r"^tests/drydock/(\S+?)::(\w+)", done.stdout, re.MULTILINE))
    _, tests = promises.collect()
    assert collected == {(test.file, test.name) for test in tests}
