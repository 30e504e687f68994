"""What each file of an image belongs to: a Debian package, a Python distribution, the build.

The image's own lists are read: /var/lib/dpkg/status.d and each RECORD. The contract and the SBOM
both stand on this.
"""

from __future__ import annotations

import base64
import csv
import dataclasses
import email
import fnmatch
import hashlib
import re
from typing import TYPE_CHECKING

import bounds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rootfs import Root

STATUS = "/var/lib/dpkg/status.d/"

# Files that are in no package's list, as regular expressions, and why.
OF_THE_BUILD = {
    r"/etc/(passwd|group)": "names the user; packages' own scripts do not run",
    r"/etc/ssl/certs/ca-certificates\.crt": "the files of ca-certificates, as one",
    rf"{STATUS}.*": "the list of the Debian packages itself",
    r"/app/(gunicorn\.conf\.py|\.flaskenv)": "the server's settings, of this repository",
    r"/opt/venv/pyvenv\.cfg": "makes the virtual environment one",
    r"/opt/venv/lib/python3\.\d+/site-packages/sitecustomize\.py": "of this repository",
}
# Python's own extension modules: what an `import` finds.
EXTENSION = re.compile(r"\.(cpython-3\d+-[\w-]+|abi3)\.so$")


@dataclasses.dataclass(frozen=True, order=True)
class Package:
    """What scanners look up: `kind` is the package URL's type, `deb` or `pypi`."""

    kind: str
    name: str
    version: str

    def __str__(self) -> str:
        """As a person reads it."""
        return f"{self.name} {self.version}"


def canonical(name: str) -> str:
    """The name of a Python distribution as package indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def packages(root: Root) -> list[str]:
    """The names of the Debian packages."""
    found = [p.removeprefix(STATUS) for p in root.members if p.startswith(STATUS)]
    return [name for name in found if not name.endswith(".md5sums")]


def stanza(root: Root, package: str) -> dict[str, str]:
    """The fields of a Debian package's control file that take one line."""
    text = root.read(STATUS + package).decode()
    return dict(re.findall(r"^([\w-]+): (.*)$", text, re.MULTILINE))


def debian(root: Root) -> dict[str, str]:
    """The version of each Debian package."""
    return {name: stanza(root, name)["Version"] for name in packages(root)}


def distributions(root: Root) -> dict[str, Package]:
    """The Python distributions, by the path of what is known of each: ...dist-info."""
    found = {}
    for path in root.members:
        folder, _, name = path.rpartition("/")
        if folder.endswith(".dist-info") and name == "METADATA":
            metadata = email.message_from_bytes(root.read(path))
            package = Package("pypi", canonical(metadata["Name"]), metadata["Version"])
            found[folder] = package
    return found


def listed(root: Root) -> Iterator[tuple[Package, str, str]]:
    """Each file that a package lists: the package, the path, and the hash as `hashed` gives it.

    An empty hash is any: a RECORD can't have its own.
    """
    for name, version in debian(root).items():
        package = Package("deb", name, version)
        for line in root.read(f"{STATUS}{name}.md5sums").decode().splitlines():
            digest, _, path = line.partition("  ")
            yield package, root.real("/" + path), digest
    for folder, package in distributions(root).items():
        site, record = folder.rpartition("/")[0], f"{folder}/RECORD"
        lines = root.read(record).decode().splitlines() if record in root else []
        for name, digest, _ in csv.reader(lines):
            yield package, root.real(f"{site}/{name}"), digest


def hashed(data: bytes, like: str) -> str:
    """The hash of the same kind as `like`: Debian's, or RECORD's (sha256=...), or none."""
    if not like.startswith("sha256="):
        return like and hashlib.md5(data, usedforsecurity=False).hexdigest()
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode()
    return "sha256=" + digest.rstrip("=")


def source_of(path: str) -> str:
    """The path of the source that a file of bytecode was made of."""
    folder, _, name = path.rpartition("/__pycache__/")
    return f"{folder}/{name.rpartition('.cpython-')[0]}.py"


def problems(root: Root) -> list[str]:
    """A line for each file that is nobody's, or not as its package made it; none: all is well."""
    found = []
    known = set()
    for package, path, digest in listed(root):
        known.add(path)
        if path not in root:
            found.append(f"{path}: {package} lists it, and it is not there")
        elif hashed(root.read(path), digest) != digest:
            found.append(f"{path}: not as {package} made it")
    chosen = bounds.of_the_fork().get("no-package", {})
    used = set()
    for path, _ in root.files():
        matching = {pattern for pattern in chosen if fnmatch.fnmatchcase(path, pattern)}
        used |= matching
        by_the_build = any(re.fullmatch(pattern, path) for pattern in OF_THE_BUILD)
        compiled = path.endswith(".pyc") and source_of(path) in root
        if not (path in known or compiled or by_the_build or matching):
            found.append(f"{path}: belongs to no package of the image")
    where = "pyproject.toml, [tool.drydock.no-package]"
    found += [f"{where}: {pattern} has no reason" for pattern in chosen if not chosen[pattern]]
    return found + [f"{where}: {pattern} is no file's path" for pattern in set(chosen) - used]


def bundled(root: Root) -> dict[str, Package]:
    """The shared libraries that wheels bring along, by path, and the wheel's distribution."""
    owners = {path: package for package, path, _ in listed(root)}
    return {
        path: owners[path]
        for path, _ in root.files()
        if "/site-packages/" in path
        and path in owners
        and not EXTENSION.search(path)
        and root.read(path).startswith(b"\x7fELF")
    }
