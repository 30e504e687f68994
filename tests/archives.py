"""A small archive of Debian packages, dated as Debian's is, and copies of this checkout on it."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import urllib3

import base
from checkouts import copy
from containers import docker, eventually, inspect, started, unique

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE = Path(__file__).with_name("archive.Dockerfile")
# As the official base has it; all other packages come from the base's own archive. The first line
# keeps another run's layers out, which had another archive at the same address.
SOURCES = """\
# {name}
Types: deb
# {archive}/archive/debian/20251215T000000Z
URIs: {archive}/debian
Suites: trixie
Components: main
Signed-By: /etc/apt/keyrings/small.asc

Types: deb
# {archive}/archive/debian-security/20251215T000000Z
URIs: {archive}/debian-security
Suites: trixie-security
Components: main
Signed-By: /etc/apt/keyrings/small.asc
"""
DOCKERFILE = """\
FROM {base}
RUN cd /etc/apt/sources.list.d && for file in *.sources; do \\
    if [ -e "$file" ]; then mv "$file" "own-$file"; fi; done
COPY --from={archive} /srv/key.asc /etc/apt/keyrings/small.asc
COPY debian.sources /etc/apt/sources.list.d/
"""


def build(image: str, folder: Path, file: str = "Dockerfile") -> None:
    """Build a helper image."""
    options = ("--quiet", "--provenance=false", "--tag", image, "--file", str(folder / file))
    docker("build", *options, *base.build_options(), str(folder))


class Archive:
    """The archive, served by a container of its own on the engine's network."""

    def __init__(self, container: str, image: str) -> None:
        self.container = container
        self.image = image
        (network,) = inspect(container)["NetworkSettings"]["Networks"].values()
        self.address = f"http://{network['IPAddress']}"

    def security(self, state: str) -> None:
        """Let its security archive be as it was `before` or `after` the second version came."""
        docker("exec", self.container, "ln", "-sfn", state, "/srv/debian-security")

    def answers(self) -> bool:
        try:
            found = urllib3.request("GET", f"{self.address}/key.asc", retries=False, timeout=5)
        except urllib3.exceptions.HTTPError:
            return False
        return found.status == 200


@contextlib.contextmanager
def served() -> Iterator[Archive]:
    """Make the archive and serve it."""
    image = unique("archive") + ":latest"
    build(image, FILE.parent, FILE.name)
    try:
        with started(image) as container:
            archive = Archive(container.name, image)
            eventually(archive.answers, 30, "the archive answers")
            yield archive
    finally:
        docker("image", "rm", "--force", image, check=False)


@contextlib.contextmanager
def checkout(archive: Archive, folder: Path) -> Iterator[Path]:
    """A copy of this checkout that stands on a base with the archive's address in it.

    That has the place which a stand-in has where no registry can be reached.
    """
    name, digest = unique("base"), "0" * 64
    image = base.stand_in(f"{name}@sha256:{digest}")
    context = folder / "base"
    context.mkdir()
    (context / "debian.sources").write_text(SOURCES.format(name=name, archive=archive.address))
    (context / "Dockerfile").write_text(DOCKERFILE.format(base=base.image(), archive=archive.image))
    build(image, context)
    try:
        made = copy(folder / "checkout")
        text = (made / "Dockerfile").read_text()
        (made / "Dockerfile").write_text(text.replace(base.reference(), f"{name}@sha256:{digest}"))
        yield made
    finally:
        docker("image", "rm", "--force", image, check=False)


def of_one_package(image: str, folder: Path, version: str) -> str:
    """Build an image of nothing but the archive's package in that version; return its name."""
    package, context = "media-types", folder / "one"
    context.mkdir()
    (context / package).write_text(f"Package: {package}\nVersion: {version}\n")
    (context / "Dockerfile").write_text(
        f"FROM scratch\nCOPY {package} /var/lib/dpkg/status.d/{package}\n"
    )
    build(image, context)
    return package
