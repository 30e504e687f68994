"""Get the stack's official images, or stand-ins where no registry can be reached.

The stand-ins are built from Debian's packages, in deploy/stand-ins, with as much of the official
images' interface as is used here. compose.yaml stays as it is: a link makes compose read a file of
deploy/stand-ins after it. Those of the monitoring are one: scripts/observe.py.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import base
from common import ROOT, die, say, step

if TYPE_CHECKING:
    from collections.abc import Iterable

FOLDER = ROOT / "deploy/stand-ins"
LINK = ROOT / "compose.override.yaml"  # compose reads a file of this name by itself
TARGET = "deploy/stand-ins/compose.yaml"
TARGETS = (TARGET, "deploy/stand-ins/without-database.yaml")
WATCH = "deploy/monitoring/compose.yaml"
STACK = {"db": "postgres", "gateway": "gateway"}  # the stand-in for each service
MONITORING = dict.fromkeys(
    ("prometheus", "alertmanager", "postgres-exporter", "blackbox-exporter"), "monitoring"
)


def services() -> list[str]:
    """The services with an official image: a stack may have no database, or one of elsewhere."""
    return named_in("compose.yaml", STACK)


def monitoring() -> list[str]:
    """The same of the monitoring."""
    return named_in(WATCH, MONITORING)


def named_in(file: str, names: Iterable[str]) -> list[str]:
    """Those of the services that are in a compose file."""
    text = (ROOT / file).read_text()
    return [name for name in names if re.search(rf"^  {name}:$", text, re.MULTILINE)]


def official(service: str) -> str:
    """The image that the service's compose file names: name:tag@digest."""
    file = WATCH if service in MONITORING else "compose.yaml"
    pattern = rf"^  {service}:\n(?:(?!  \w).*\n)*?    image: (\S+@sha256:\w{{64}})$"
    found = re.search(pattern, (ROOT / file).read_text(), re.MULTILINE)
    if not found:
        die(f"{file}: no image with a digest for the service {service}")
    return found[1]


def stand_in(service: str) -> str:
    """The stand-in's name."""
    return f"drydock-stand-in-{(STACK | MONITORING)[service]}"


def build(service: str) -> None:
    """Build the stand-in for the service's official image."""
    name = stand_in(service)
    file = FOLDER / f"{(STACK | MONITORING)[service]}.Dockerfile"
    # Always, since the cache makes it cheap and its folder may have changed. Without provenance,
    # which has the time in it: the image would be new each time, and its container replaced.
    command = ["docker", "build", "--provenance=false", "--tag", name, "--file", str(file)]
    step(f"building {name}", [*command, *base.build_options(), str(FOLDER)])


def image(service: str) -> str:
    """The official image, if the engine has it or can pull it; else a stand-in, built here."""
    if base.is_at_hand(official(service)):
        return official(service)
    build(service)
    return stand_in(service)


def put_in_place() -> bool:
    """Have compose use the stand-ins if, and only if, the official images can't be had.

    Returns whether that is so.
    """
    wanted = not all(base.is_at_hand(official(service)) for service in services())
    if wanted:  # all of them, since the one file names all
        for service in services():
            build(service)
    target = TARGETS[0 if "db" in services() else 1] if wanted else None
    if target != linked():
        remove_link()
        if target and (LINK.exists() or LINK.is_symlink()):
            die(f"{LINK.name} is yours, but here it has to be a link to {target}: move it away")
        if target:
            LINK.symlink_to(target)
            say(f"{LINK.name}: a link, so that compose takes the stand-ins")
    return wanted


def linked() -> str | None:
    """Where the link leads, if it is one that was made here."""
    target = str(LINK.readlink()) if LINK.is_symlink() else None
    return target if target in TARGETS else None


def remove_link() -> None:
    """Have compose take the official images again."""
    if linked():
        LINK.unlink()
