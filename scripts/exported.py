"""What is in an image, read from its exported file system: nothing of it has to run."""

from __future__ import annotations

import contextlib
import email.parser
import re
import subprocess
import tarfile
import tempfile
from typing import TYPE_CHECKING

from common import die, output

if TYPE_CHECKING:
    from collections.abc import Iterator

# What the engine lays into each container.
ENGINE_S = frozenset(
    {".dockerenv", "dev/console", "etc/hostname", "etc/hosts", "etc/mtab", "etc/resolv.conf"}
)
# One control file for each Debian package, as distroless images have them.
STATUS = re.compile(r"var/lib/dpkg/status\.d/(?!.*\.md5sums$)[^/]+")
METADATA = re.compile(r".*/[^/]+\.dist-info/METADATA")


@contextlib.contextmanager
def open_root(image: str) -> Iterator[tarfile.TarFile]:
    """Open the file system of an image that the engine has, all layers in one.

    The names in it have no slash before them.
    """
    # A command has to be named where the image has none; it is never run.
    container = output("docker", "create", image, "nothing")
    if container is None:
        die(f"{image}: the engine makes no container of it, so its files can't be read")
    try:
        with tempfile.TemporaryFile() as file:
            subprocess.run(["docker", "export", container], stdout=file, check=True)
            file.seek(0)
            with tarfile.open(fileobj=file) as root:
                yield root
    finally:
        output("docker", "rm", "--volumes", container)


def headers(root: tarfile.TarFile, names: re.Pattern[str]) -> Iterator[dict[str, str]]:
    """Yield the header fields of each file with such a name: a control file's, a wheel's."""
    for member in root:
        if member.isfile() and names.fullmatch(member.name):
            stream = root.extractfile(member)
            assert stream is not None
            text = stream.read().decode("utf-8", errors="replace")
            yield dict(email.parser.HeaderParser().parsestr(text).items())


def debian(root: tarfile.TarFile) -> dict[str, str]:
    """Return the version of each Debian package."""
    return {found["Package"]: found["Version"] for found in headers(root, STATUS)}


def python(root: tarfile.TarFile) -> dict[str, str]:
    """Return the version of each Python package."""
    return {found["Name"]: found["Version"] for found in headers(root, METADATA)}
