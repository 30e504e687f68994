"""Every Dockerfile is linted, kept new by Dependabot, and stands on the same base."""

from __future__ import annotations

import json
import re

from checkouts import CHECKOUT, make

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
