"""A hold on an image's file system, read from its export or its layers: nothing runs in it."""

from __future__ import annotations

import contextlib
import tarfile
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

from common import die, output

if TYPE_CHECKING:
    from collections.abc import Iterator

WHITEOUT = ".wh."  # OCI image specification, layer.md: "Whiteouts"
OPAQUE = ".wh..wh..opq"
# What the engine lays into each container: files, and what is below these folders.
OF_THE_ENGINE = {"/.dockerenv", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/etc/mtab"}
FILLED = ("/dev/", "/proc/", "/sys/")


class Root:
    """The image's whole file system, by absolute path without following links."""

    def __init__(self, *layers: Path) -> None:
        """Read tar files, each laid over those before it: an export is one, an image has several.

        Compressed ones are read as well, but slowly: each read begins at the start.
        """
        self.members: dict[str, tarfile.TarInfo] = {}
        self._tars: dict[str, tarfile.TarFile] = {}
        self._open = [tarfile.open(layer) for layer in layers]  # noqa: SIM115 (see close())
        for tar in self._open:
            self._lay(tar)

    def _lay(self, tar: tarfile.TarFile) -> None:
        members = {"/" + m.name.removeprefix("./").rstrip("/"): m for m in tar.getmembers()}
        # What a layer removes is of those below it, wherever in the tar file it says so.
        for path in list(members):
            folder, _, name = path.rpartition("/")
            if name.startswith(WHITEOUT):
                del members[path]
                gone = f"{folder}/{name.removeprefix(WHITEOUT)}"
                self._remove(f"{folder}/" if name == OPAQUE else gone)
        for path, member in members.items():
            if path in self.members and self.members[path].isdir() and not member.isdir():
                self._remove(path)
            self.members[path] = member
            self._tars[path] = tar

    def _remove(self, path: str) -> None:
        """Remove a path with all below it; one that ends in a slash: only what is below it."""
        below = path.rstrip("/") + "/"
        for other in [p for p in self.members if p == path or p.startswith(below)]:
            del self.members[other]

    def close(self) -> None:
        """Close the tar files."""
        for tar in self._open:
            tar.close()

    def __contains__(self, path: str) -> bool:
        """Whether there is something of that path, links not followed."""
        return path in self.members

    def real(self, path: str) -> str:
        """The path with every link in it followed, as the kernel would."""
        done = ""
        rest = path.strip("/").split("/")
        while rest:
            part = rest.pop(0)
            if part in ("", "."):
                continue
            if part == "..":
                done = done.rpartition("/")[0]
                continue
            here = f"{done}/{part}"
            member = self.members.get(here)
            if member is not None and member.issym():
                if member.linkname.startswith("/"):
                    done = ""
                rest = [*member.linkname.split("/"), *rest]
            else:
                done = here
        return done

    def files(self) -> Iterator[tuple[str, tarfile.TarInfo]]:
        """The files, hard links among them; no directories and no symbolic links."""
        return ((path, m) for path, m in self.members.items() if m.isfile() or m.islnk())

    def read(self, path: str) -> bytes:
        """The bytes of a file."""
        stream: IO[bytes] | None = self._tars[path].extractfile(self.members[path])
        assert stream is not None
        return stream.read()


@contextlib.contextmanager
def exported(image: str) -> Iterator[Root]:
    """Open an image that the engine has, all layers in one; nothing of it runs."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "root.tar")
        # A command has to be named where the image has none; it is never run.
        container = output("docker", "create", image, "nothing")
        if container is None:
            die(f"{image}: the engine makes no container of it, so its files can't be read")
        try:
            if output("docker", "export", "--output", str(file), container) is None:
                die(f"{image} can't be exported to {file}; is the disk full?")
        finally:
            output("docker", "rm", "--volumes", container)
        root = Root(file)
        for path in list(root.members):
            if path in OF_THE_ENGINE or path.startswith(FILLED):
                del root.members[path]
        try:
            yield root
        finally:
            root.close()
