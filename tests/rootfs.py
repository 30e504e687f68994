"""A hold on an image's file system, read from its export: nothing has to run in it."""

from __future__ import annotations

import tarfile
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Root:
    """The image's whole file system, by absolute path without following links."""

    def __init__(self, file: Path) -> None:
        self._tar = tarfile.open(file)  # noqa: SIM115 (see close())
        self.members = {"/" + m.name.rstrip("/"): m for m in self._tar.getmembers()}

    def close(self) -> None:
        self._tar.close()

    def __contains__(self, path: str) -> bool:
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
        return ((path, m) for path, m in self.members.items() if m.isfile() or m.islnk())

    def read(self, path: str) -> bytes:
        stream: IO[bytes] | None = self._tar.extractfile(self.members[path])
        assert stream is not None
        return stream.read()
