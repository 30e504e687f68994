"""`make adopted`: what a fork has to fill in is found, in each place, and nothing else is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

import adopted
from checkouts import CHECKOUT, copy, make
from forks import Repository, unfill

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("place", adopted.PLACES, ids=lambda place: f"{place.file}-{place.key}")
def test_the_line_of_each_placeholder_is_known(place: adopted.Place) -> None:
    """In the template, and in a fork that has not filled it in: else nobody would be told."""
    file = CHECKOUT / place.file
    text = file.read_text() if file.exists() else ""
    found = re.search(place.pattern, text, re.MULTILINE)
    assert found or place.placeholder not in text


def fill(file: Path, pattern: str, value: str) -> None:
    text = file.read_text()
    found = re.search(pattern, text, re.MULTILINE)
    assert found
    file.write_text(text[: found.start(1)] + value + text[found.end(1) :])


def test_each_place_is_named_with_its_line_until_it_is_filled_in(tmp_path: Path) -> None:
    checkout = copy(tmp_path / "checkout")
    unfill(Repository(checkout))
    done = make("--silent", "adopted", checkout=checkout)
    lines = done.stdout.splitlines()
    assert done.returncode != 0
    assert len(lines) == len(adopted.PLACES)
    assert f"error: {len(lines)} values are still the template's" in done.stderr
    for place, line in zip(adopted.PLACES, lines, strict=True):
        name, number, _ = line.split(":", 2)
        assert name == place.file
        assert place.placeholder in (checkout / name).read_text().splitlines()[int(number) - 1]
        assert line.endswith(place.wanted)
    for left, place in enumerate(adopted.PLACES, 1 - len(adopted.PLACES)):
        fill(checkout / place.file, place.pattern, "their-own")
        assert len(adopted.unfilled(checkout)) == -left
    done = make("--silent", "adopted", checkout=checkout)
    assert done.returncode == 0
    assert done.stdout == ""


def test_what_a_fork_has_deleted_is_not_asked_for(tmp_path: Path) -> None:
    checkout = copy(tmp_path / "checkout")
    unfill(Repository(checkout))
    for name in ("LICENSE", ".github/CODEOWNERS"):
        (checkout / name).unlink()
    assert len(adopted.unfilled(checkout)) == len(adopted.PLACES) - 2


def test_a_holder_beside_the_template_s_is_enough(tmp_path: Path) -> None:
    """Its licence asks forks to keep its line."""
    checkout = copy(tmp_path / "checkout")
    unfill(Repository(checkout))
    file = checkout / "LICENSE"
    before = len(adopted.unfilled(checkout))
    file.write_text("Copyright (c) 2027 A Company\n" + file.read_text())
    assert len(adopted.unfilled(checkout)) == before - 1
