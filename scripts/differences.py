"""What differs between two images, down to the layer, the file and what of the file it is."""

from __future__ import annotations

import datetime
import difflib
import hashlib
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import layout
from common import ROOT, capture

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layout import Layout

FILES = 20  # that are named of each layer; one cause often changes hundreds
LINES = 40  # of the text that shows how the first of them differs


class Image:
    """An image in a folder."""

    def __init__(self, found: Layout) -> None:
        """Take the configuration; the layers are read when they are asked for."""
        self._found = found
        self.config = found.config
        self.contents: list[str] = self.config["rootfs"]["diff_ids"]  # hashes, uncompressed
        made = [step for step in self.config["history"] if not step.get("empty_layer")]
        self.instructions = [" ".join(step["created_by"].split()) for step in made]

    def layer(self, number: int) -> tarfile.TarFile:
        """One layer's files; one kind of image store keeps them compressed, the other does not."""
        digest = self._found.manifest["layers"][number]["digest"]
        return tarfile.open(layout.path_of(self._found.folder, digest))

    def read(self, number: int, path: str) -> bytes:
        """What a file of a layer holds."""
        stream = self.layer(number).extractfile(path)
        assert stream is not None
        return stream.read()


def entries(layer: tarfile.TarFile) -> dict[str, dict[str, str]]:
    """What there is to know of each file of a layer, by its path, in the archive's order."""
    found = {}
    for member in layer:
        stream = layer.extractfile(member) if member.isreg() else None
        content = hashlib.sha256(stream.read()).hexdigest()[:12] if stream else ""
        modified = datetime.datetime.fromtimestamp(member.mtime, datetime.UTC)
        found[member.name] = {
            "type": member.type.decode(),
            "content": content,
            "mode": f"{member.mode:o}",
            "owner": f"{member.uid}:{member.gid}",
            "modified": modified.isoformat(),
            "link": member.linkname,
            "device": f"{member.devmajor}:{member.devminor}",
        }
        attributes = {k: v for k, v in member.pax_headers.items() if k.startswith("SCHILY.xattr.")}
        found[member.name] |= attributes
    return found


def of_dicts(first: dict[str, Any], second: dict[str, Any]) -> str:
    """The fields that differ, each with both values; empty if none does."""
    keys = [key for key in {**first, **second} if first.get(key) != second.get(key)]
    return ", ".join(f"{key} {first.get(key)!r} and {second.get(key)!r}" for key in keys)


def of_layers(first: tarfile.TarFile, second: tarfile.TarFile) -> tuple[list[str], str | None]:
    """A line for each file that differs, and the first one whose content does."""
    one, two = entries(first), entries(second)
    lines, content = [], None
    for path in sorted({**one, **two}):
        if path not in one or path not in two:
            lines.append(f"{path}: only in the {'first' if path in one else 'second'}")
        elif said := of_dicts(one[path], two[path]):
            lines.append(f"{path}: {said}")
            if one[path]["content"] != two[path]["content"]:
                content = content or path
    if not lines:
        same = list(one) == list(two)
        lines = ["the same files; " + ("archived in another form" if same else "in another order")]
    return lines, content


def how(path: str, first: bytes, second: bytes) -> list[str]:
    """How a file's two contents differ: by diffoscope where there is one; else the lines."""
    tool = shutil.which("diffoscope") or shutil.which("diffoscope", path=ROOT / ".venv/bin")
    if tool:
        with tempfile.TemporaryDirectory() as folder:
            files = [Path(folder, which, Path(path).name) for which in ("first", "second")]
            for file, content in zip(files, (first, second), strict=True):
                file.parent.mkdir()
                file.write_bytes(content)
            done = capture(tool, "--text", "-", *map(str, files))
        return done.stdout.splitlines() or done.stderr.splitlines()
    try:
        one, two = first.decode().splitlines(), second.decode().splitlines()
    except UnicodeDecodeError:
        return ["it is no text; diffoscope, where it is installed, shows how"]
    return list(difflib.unified_diff(one, two, "first", "second", lineterm="", n=0))


def flat(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Each field of a JSON document, with its path."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from flat(part, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from flat(part, f"{path}[{number}]")
    else:
        yield path, value


def explain(first: Image, second: Image) -> Iterator[str]:
    """Say how two images differ, a line at a time; nothing if only their compression does."""
    for number, (one, two) in enumerate(zip(first.contents, second.contents, strict=False)):
        if one == two:
            continue
        yield f"layer {number + 1}, made by `{first.instructions[number]}`:"
        lines, path = of_layers(first.layer(number), second.layer(number))
        yield from (f"    {line}" for line in lines[:FILES])
        if len(lines) > FILES:
            yield f"    and {len(lines) - FILES} more"
        if path is not None:
            text = how(path, first.read(number, path), second.read(number, path))
            yield f"    how {path} differs:"
            yield from (f"        {line}" for line in text[:LINES])
    if len(first.contents) != len(second.contents):
        yield f"layers: {len(first.contents)} and {len(second.contents)}"
    fields = [
        {k: v for k, v in flat(image.config) if not k.startswith("rootfs.")}
        for image in (first, second)
    ]
    for key in {**fields[0], **fields[1]}:
        if fields[0].get(key) != fields[1].get(key):
            yield f"configuration, {key}: {fields[0].get(key)!r} and {fields[1].get(key)!r}"
