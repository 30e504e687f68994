"""An image in a folder, as `docker save` and skopeo write it: an OCI image layout.

https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
import shutil
from typing import TYPE_CHECKING, Any

from common import capture, die

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Layout:
    """A folder, and the one image for one platform that is in it."""

    folder: Path
    descriptor: dict[str, Any]
    manifest: dict[str, Any]
    config: dict[str, Any]

    @property
    def digest(self) -> str:
        """The manifest's: what a registry knows the image by."""
        found: str = self.descriptor["digest"]
        return found

    def layers(self, into: Path) -> list[Path]:
        """Write the layers into a folder, uncompressed; the lowest comes first."""
        files = []
        for number, layer in enumerate(self.manifest["layers"]):
            source, file = verified(self.folder, layer["digest"]), into / f"{number}.tar"
            with source.open("rb") as start:
                compressed = start.read(2) == b"\x1f\x8b"
            with (
                gzip.open(source) if compressed else source.open("rb") as stream,
                file.open("wb") as target,
            ):
                shutil.copyfileobj(stream, target)
            files.append(file)
        return files


def save(image: str, folder: Path) -> Path:
    """Write an image of the engine below `folder`, as it is; return the layout's folder."""
    saved, archive = folder / "saved", folder / "image.tar"
    saved.mkdir(parents=True)
    if (done := capture("docker", "save", "--output", str(archive), image)).returncode != 0:
        die(f"{image} can't be saved: {done.stderr.strip()}")
    done = capture("tar", "--extract", f"--file={archive}", f"--directory={saved}")
    if done.returncode != 0:
        die(f"{archive} can't be unpacked: {done.stderr.strip()}")
    archive.unlink()
    return saved


def path_of(folder: Path, digest: str) -> Path:
    """Where the layout has what has that digest."""
    return folder / "blobs" / digest.replace(":", "/")


def verified(folder: Path, digest: str) -> Path:
    """The same, if the content has that digest; else one line, and the end."""
    path = path_of(folder, digest)
    with path.open("rb") as stream:
        actual = "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()
    if actual != digest:
        die(f"{path} was changed: its digest is {actual}")
    return path


def read(folder: Path, digest: str) -> dict[str, Any]:
    """What a manifest, an index or a configuration says."""
    found: dict[str, Any] = json.loads(verified(folder, digest).read_bytes())
    return found


def images(folder: Path, descriptors: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The images that are here whole enough to be read, in indexes as well.

    The engine saves the index of what it pulled by its digest, and of its images only one.
    BuildKit's attestations look like images for the platform unknown/unknown.
    """
    for descriptor in descriptors:
        if descriptor.get("platform", {}).get("os") == "unknown":
            continue
        if not path_of(folder, descriptor["digest"]).exists():
            continue
        content = read(folder, descriptor["digest"])
        if "manifests" in content:
            yield from images(folder, content["manifests"])
        else:
            yield descriptor


def load(folder: Path) -> Layout:
    """The image in a folder; ends with one line where there is none, or more than one."""
    index = folder / "index.json"
    if not index.is_file():
        die(f"{folder} is no OCI image layout: it has no index.json")
    found = list(images(folder, json.loads(index.read_bytes())["manifests"]))
    if len({descriptor["digest"] for descriptor in found}) != 1:
        die(f"{folder} holds {len(found)} images; exactly one is expected")
    manifest = read(folder, found[0]["digest"])
    return Layout(folder, found[0], manifest, read(folder, manifest["config"]["digest"]))
