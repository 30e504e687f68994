"""What the documents say is proved by a test: the tests that they name are there."""

from __future__ import annotations

import ast
import fnmatch
import re
from functools import cache
from typing import TYPE_CHECKING

import pytest

from checkouts import CHECKOUT

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENTS = [CHECKOUT / "README.md", CHECKOUT / "SECURITY.md", *sorted(CHECKOUT.glob("docs/*.md"))]
TESTS = [CHECKOUT / "tests/drydock", CHECKOUT / "tests/app"]


@cache
def defined() -> dict[Path, set[str]]:
    """The names of the test functions in each file of tests."""
    return {
        file: {
            node.name
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        }
        for folder in TESTS
        for file in folder.rglob("test_*.py")
    }


def unknown(line: str) -> list[str]:
    """The tests that a line names, in `code`, and that are not there.

    A test is looked for in the file that the line names before it, if it does; * stands for more.
    """
    missing, files = [], list(defined())
    for word in re.findall(r"`((?:[\w*]+/)*test_[\w*]+(?:\.py)?)`", line):
        if word.endswith(".py"):
            files = [file for file in defined() if f"/{file}".endswith(f"/{word}")]
            found = bool(files)
        else:
            found = any(fnmatch.filter(defined()[file], word) for file in files)
        if not found:
            missing.append(word)
    return missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_test_that_a_document_names_is_there(document: Path) -> None:
    assert not [word for line in document.read_text().splitlines() for word in unknown(line)]


def rows(document: str, heading: str) -> list[list[str]]:
    """The rows of the document's tables whose first column has that heading."""
    found: list[list[str]] = []
    inside = False
    for line in (CHECKOUT / document).read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            inside = False
        elif cells[0] == heading:
            inside = True
        elif inside and set(line) - set("|- "):
            found.append(cells)
    return found


def test_each_recommendation_of_sections_4_and_5_has_its_test_or_its_reason() -> None:
    table = rows("docs/cis.md", "No.")
    numbers = [f"4.{n}" for n in range(1, 13)] + [f"5.{n}" for n in range(1, 33)]
    assert [row[0] for row in table] == numbers
    for number, _, state, why in table:
        assert state in ("yes", "no", "host", "operator"), number
        assert "`test_" in why or state in ("host", "operator"), number
        assert why, number


def test_each_threat_has_the_test_of_what_stops_it() -> None:
    table = rows("docs/threat-model.md", "Threat")
    assert len(table) > 10
    assert not [threat for threat, _, test in table if "`test_" not in test]
