"""Reading an image from a folder: its layers as one file system, and nothing that was changed."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

import layout
from rootfs import Root

if TYPE_CHECKING:
    from pathlib import Path

AMD64 = {"os": "linux", "architecture": "amd64"}
UNKNOWN = {"os": "unknown", "architecture": "unknown"}


def tar(*names: str) -> bytes:
    """A layer: `a/` is a directory, `a>b` a link to b, any other a file that has its name in it."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in names:
            path, _, target = name.partition(">")
            member = tarfile.TarInfo(path)
            data = path.encode()
            if target:
                member.type, member.linkname = tarfile.SYMTYPE, target
            elif name.endswith("/"):
                member.type = tarfile.DIRTYPE
            else:
                member.size = len(data)
            archive.addfile(member, io.BytesIO(data if member.isfile() else b""))
    return stream.getvalue()


class Folder:
    """An image layout that is being written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "blobs/sha256").mkdir(parents=True)

    def add(self, content: bytes, **more: Any) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        (self.path / "blobs/sha256" / digest).write_bytes(content)
        return {"digest": f"sha256:{digest}", "size": len(content), **more}

    def image(self, *layers: bytes, **more: Any) -> dict[str, Any]:
        config = self.add(json.dumps({"layers": len(layers), "platform": more}).encode())
        manifest = {"config": config, "layers": [self.add(layer) for layer in layers]}
        return self.add(json.dumps(manifest).encode(), **more)

    def index(self, *descriptors: dict[str, Any]) -> dict[str, Any]:
        return self.add(json.dumps({"manifests": descriptors}).encode())

    def close(self, *descriptors: dict[str, Any]) -> Path:
        (self.path / "index.json").write_text(json.dumps({"manifests": descriptors}))
        return self.path


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "layout")


def paths(folder: Path, into: Path) -> set[str]:
    into.mkdir()
    root = Root(*layout.load(folder).layers(into))
    found = set(root.members)
    root.close()
    return found


def test_layers_are_laid_over_each_other_and_what_one_removes_is_gone(
    folder: Folder, tmp_path: Path
) -> None:
    lower = tar("etc/", "etc/a", "etc/b", "opt/", "opt/x", "opt/y/", "opt/y/z", "lib/", "lib/l")
    upper = tar("etc/.wh.a", "etc/c", "opt/new", "opt/.wh..wh..opq", "./lib>usr/lib")
    found = paths(folder.close(folder.image(lower, gzip.compress(upper))), tmp_path / "layers")
    assert found == {"/etc", "/etc/b", "/etc/c", "/opt", "/opt/new", "/lib"}


def test_a_file_is_the_last_layer_s(folder: Folder, tmp_path: Path) -> None:
    loaded = layout.load(folder.close(folder.image(tar("a", "b"), tar("b"), tar("c>a"))))
    root = Root(*loaded.layers(tmp_path))
    assert [path for path, _ in root.files()] == ["/a", "/b"]
    assert root.read("/b") == b"b"
    assert root.real("/c") == "/a"
    root.close()


def test_the_image_in_an_index_is_found_beside_attestations_and_what_is_not_here(
    folder: Folder,
) -> None:
    image = folder.image(tar("a"), platform=AMD64)
    attestation = folder.image(tar("provenance"), platform=UNKNOWN)
    elsewhere = {"digest": "sha256:" + "0" * 64, "platform": AMD64 | {"architecture": "arm64"}}
    path = folder.close(folder.index(elsewhere, attestation, image))
    assert layout.load(path).digest == image["digest"]


def refused(folder: Path, into: Path, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit):
        layout.load(folder).layers(into)
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    return message


def test_two_images_are_one_too_many(
    folder: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder.close(folder.image(tar("a")), folder.image(tar("b")))
    assert "holds 2 images; exactly one is expected" in refused(path, tmp_path, capsys)


def test_a_folder_of_another_kind_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "is no OCI image layout" in refused(tmp_path, tmp_path, capsys)


@pytest.mark.parametrize("which", ["layers", "config", "manifest"])
def test_a_changed_byte_is_noticed(
    folder: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str], which: str
) -> None:
    descriptor = folder.image(tar("a"))
    path = folder.close(descriptor)
    loaded = layout.load(path)
    digest = {
        "layers": loaded.manifest["layers"][0]["digest"],
        "config": loaded.manifest["config"]["digest"],
        "manifest": descriptor["digest"],
    }[which]
    blob = layout.path_of(path, digest)
    blob.write_bytes(blob.read_bytes().replace(b"a", b"b", 1))
    message = refused(path, tmp_path, capsys)
    assert str(blob) in message
    assert "was changed" in message
