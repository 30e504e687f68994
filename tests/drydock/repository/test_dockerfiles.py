"""Every Dockerfile is linted, kept new by Dependabot, and stands on the same base."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from checkouts import CHECKOUT, make

if TYPE_CHECKING:
    from pathlib import Path

DOCKERFILES = [
    file.relative_to(CHECKOUT)
    for file in CHECKOUT.rglob("*Dockerfile*")
    if not any(part.startswith(".") for part in file.relative_to(CHECKOUT).parts)
]


def test_dependabot_s_folders_are_those_with_dockerfiles() -> None:
    text = (CHECKOUT / ".github/dependabot.yml").read_text()
    (listed,) = re.findall(r"package-ecosystem: docker\n +directories: (\[.*\])", text)
    folders = {
        f"/{file.parent}".removesuffix("/.").removesuffix(".") or "/" for file in DOCKERFILES
    }
    assert set(json.loads(listed)) == folders


def test_every_dockerfile_stands_on_the_same_base() -> None:
    """What is built where no registry can be reached has one stand-in, for one digest."""
    bases = set()
    for file in DOCKERFILES:
        found = re.findall(
            r"^FROM (\S+@sha256:\w{64}) AS base$", (CHECKOUT / file).read_text(), re.MULTILINE
        )
        assert len(found) == 1, file
        bases.update(found)
    assert len(bases) == 1


@pytest.mark.parametrize("file", DOCKERFILES, ids=str)
def test_what_comes_in_is_new_and_verified(file: Path) -> None:
    """Lists and packages in one step, since a cached list is old; and nothing past apt's checks."""
    text = re.sub(r"^ *#.*\n", "", (CHECKOUT / file).read_text(), flags=re.MULTILINE)
    steps = text.replace("\\\n", " ").splitlines()
    for step in steps:
        assert "apt-get update" not in step or re.search(r"apt-get (install|download)\b", step)
        assert not re.match(r"ADD\b", step, re.IGNORECASE), "COPY fetches and unpacks nothing"
    unchecked = re.compile(
        r"allow-unauthenticated|force-yes|trusted=yes|AllowInsecure|--trusted-host|curl [^\n]*\|"
    )
    assert not unchecked.search(text)


def test_python_s_version_stands_in_one_place() -> None:
    text = (CHECKOUT / "Dockerfile").read_text()
    assert (
        len(re.findall(r"\b3\.1\d\b", text))
        == len(re.findall(r"^ARG PYTHON=3\.1\d$", text, re.MULTILINE))
        == 1
    )


def test_every_dockerfile_is_linted() -> None:
    printed = make("--dry-run", "lint").stdout
    (command,) = [line for line in printed.splitlines() if "/hadolint " in line]
    assert {str(file) for file in DOCKERFILES} == set(command.split()[1:])


def test_one_process_compiles_the_bytecode() -> None:
    """Several share the files at random: of eight tries by hand, one had other bytes in a file."""
    text = (CHECKOUT / "Dockerfile").read_text().replace("\\\n", " ")
    calls = re.findall(r"-m compileall ([^&\n]*)", text)
    assert len(calls) == 3
    assert not [call for call in calls if re.search(r"(^| )(-j|--workers)\b", call)]
