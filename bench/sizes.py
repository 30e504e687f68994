"""What an image holds, how long it takes to build, and what a change of one line pushes."""

from __future__ import annotations

import re
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import base
import image as project
from checkouts import copy
from common import say, step
from containers import docker, inspect, unique

if TYPE_CHECKING:
    from collections.abc import Iterator

# The Dockerfile, its target, and a file in which a line changes, from the checkout's root.
RECIPES = {
    "this image": ("Dockerfile", "runtime", "src/app/__init__.py"),
    "slim image": ("bench/peers/Dockerfile", "slim", "bench/peers/plain.py"),
}


class Size(TypedDict):
    """One image. MB and kB are 10^6 and 10^3 bytes, s are seconds."""

    compressed_mb: float
    unpacked_mb: float
    debian_packages: int
    python_packages: int
    files: int
    cold_s: float
    warm_s: float
    change_s: float
    pushed_kb: float


def layers(image: str) -> dict[str, tuple[int, int]]:
    """The layers by their digests: bytes compressed and unpacked."""
    digests: list[str] = inspect(image)["RootFS"]["Layers"]
    return dict(zip(digests, project.sizes(image), strict=True))


def members(image: str) -> Iterator[tarfile.TarInfo | bytes]:
    """What is in the image's file system; of dpkg's list of packages, the content."""
    name = unique("bench")
    docker("create", "--name", name, image)
    try:
        with tempfile.TemporaryFile() as file:
            subprocess.run(["docker", "export", name], stdout=file, check=True)
            file.seek(0)
            with tarfile.open(fileobj=file) as archive:
                for member in archive:
                    yield member
                    if member.name == "var/lib/dpkg/status":
                        content = archive.extractfile(member)
                        yield content.read() if content else b""
    finally:
        docker("rm", "--volumes", name)


def contents(image: str) -> tuple[int, int, int]:
    """How many Debian packages, Python packages and files the image has."""
    debian = python = files = 0
    for member in members(image):
        if isinstance(member, bytes):
            debian += len(re.findall(rb"^Package: ", member, re.MULTILINE))
        elif member.isfile():
            files += 1
            python += member.name.endswith(".dist-info/METADATA")
            debian += bool(re.match(r"var/lib/dpkg/status\.d/(?!.*\.md5sums)", member.name))
    return debian, python, files


def build(checkout: Path, title: str, tag: str, *options: str) -> float:
    """Build the image in the checkout; the seconds that it took."""
    file, target, _ = RECIPES[title]
    command = ["docker", "build", "--provenance=false", "--target", target, "--tag", tag]
    command += ["--file", str(checkout / file), *options]
    command += [*base.build_options(), *project.secrets(), str(checkout)]
    began = time.monotonic()
    step(f"building {title} {' '.join(options)}".strip(), command)
    return time.monotonic() - began


def measure() -> dict[str, Size]:
    """Build each image anew, again, and with a line more; look into it.

    "Cold" is without layers of earlier builds, but with the base and with pip's downloads.
    """
    found: dict[str, Size] = {}
    with tempfile.TemporaryDirectory() as folder:
        checkout = copy(Path(folder) / "checkout")
        for title, (_, _, source) in RECIPES.items():
            tag = f"{unique('bench')}:latest"
            try:
                cold = build(checkout, title, tag, "--no-cache")
                warm = build(checkout, title, tag)
                say(f"looking into {title}")
                before = layers(tag)
                debian, python, files = contents(tag)
                with (checkout / source).open("a") as file:
                    file.write("# A change.\n")
                change = build(checkout, title, tag)
                after = layers(tag)
            finally:
                docker("image", "rm", "--force", tag, check=False)
            compressed, unpacked = (sum(column) for column in zip(*before.values(), strict=True))
            pushed = sum(size for digest, (size, _) in after.items() if digest not in before)
            found[title] = {
                "compressed_mb": compressed / 1e6,
                "unpacked_mb": unpacked / 1e6,
                "debian_packages": debian,
                "python_packages": python,
                "files": files,
                "cold_s": cold,
                "warm_s": warm,
                "change_s": change,
                "pushed_kb": pushed / 1e3,
            }
    return found
