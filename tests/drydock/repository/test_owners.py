"""Whose each file is: the one list names each file once, and nothing that is not there."""

from __future__ import annotations

import fnmatch
import subprocess

import pytest

import owners
from checkouts import CHECKOUT

FILES = subprocess.run(
    ["git", "ls-files"], cwd=CHECKOUT, capture_output=True, text=True, check=True
).stdout.splitlines()


def test_every_file_has_exactly_one_owner() -> None:
    assert FILES
    assert {path: owners.owners(path) for path in FILES if len(owners.owners(path)) > 1} == {}


@pytest.mark.parametrize(
    ("path", "owner"),
    [
        ("src/app/notes/views.py", owners.FORK),
        ("tests/app/test_notes.py", owners.FORK),
        (".github/CODEOWNERS", owners.FORK),
        ("pyproject.toml", owners.SHARED),
        (".github/workflows/ci.yml", owners.SHARED),
        ("requirements/debian.list", owners.SHARED),
        ("requirements/runtime.txt", owners.GENERATED),
        ("src/drydock/api.py", owners.TEMPLATE),
        ("tests/drydock/unit/test_api.py", owners.TEMPLATE),
        ("tests/api.py", owners.TEMPLATE),
        ("Dockerfile", owners.TEMPLATE),
        ("docs/README.md", owners.TEMPLATE),
    ],
)
def test_a_file_is_whose_the_documents_say(path: str, owner: str) -> None:
    assert owners.owner(path) == owner


@pytest.mark.parametrize("pattern", [p for many in owners.PATTERNS.values() for p in many])
def test_no_pattern_is_for_nothing(pattern: str) -> None:
    """The record is a fork's alone. A fork may have no code left in a folder, or no such file."""
    if not (CHECKOUT / owners.RECORD).exists() and pattern != owners.RECORD:
        assert fnmatch.filter(FILES, pattern)
