"""Show what changed from one image to another, in Markdown: packages, sizes, files."""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import contents
import image
import rootfs
from common import entry, output

if TYPE_CHECKING:
    from rootfs import Root

LARGEST = 10  # of the changed files, so many are named


@dataclass(frozen=True)
class File:
    """What a file is, besides its name and its times."""

    kind: str  # a letter of tar's
    mode: str
    owner: str
    content: str  # its hash, or what a link points to
    size: int  # bytes


def files(root: Root) -> dict[str, File]:
    """Return all that is not a folder, by its path."""
    found = {}
    for path, member in root.members.items():
        if not member.isdir():
            digest = hashlib.sha256(root.read(path)).hexdigest() if member.isreg() else ""
            found[path] = File(
                kind=member.type.decode(),
                mode=f"{member.mode:o}",
                owner=f"{member.uid}:{member.gid}",
                content=digest or member.linkname,
                size=member.size,
            )
    return found


@dataclass
class Side:
    """One of the two images."""

    name: str
    digests: list[str]  # of its layers, unpacked
    sizes: list[tuple[int, int]]  # of the same: compressed and unpacked bytes
    packages: dict[str, str]  # name and version, each name with whose package it is
    files: dict[str, File]


def side(name: str) -> Side:
    """Read an image, which is pulled if it is not here."""
    image.find(name)
    layers = output("docker", "image", "inspect", "--format", "{{json .RootFS.Layers}}", name)
    with rootfs.exported(name) as root:
        packages = {f"{key} (Debian)": version for key, version in contents.debian(root).items()}
        packages |= {
            f"{package.name} (Python)": package.version
            for package in contents.distributions(root).values()
        }
        found = files(root)
    return Side(name, json.loads(layers or "[]"), image.sizes(name), packages, found)


def table(*rows: tuple[str, ...]) -> str:
    """Write a table of Markdown; its first row is the heading."""
    heading, *others = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([heading, "|" + " --- |" * len(rows[0]), *others])


def size(bytes_: int) -> str:
    """A size in kB, as the other tools here count them."""
    return f"{bytes_ / 1e3:,.1f} kB"


def difference(old: int, new: int) -> str:
    """By how many bytes it has grown."""
    return f"{new - old:+,} bytes" if new != old else "as large"


def sizes(old: Side, new: Side) -> str:
    """What a registry stores and a host unpacks, then each layer compressed."""
    rows = [("Size", "From", "To", "Change")]
    for what, column in (("whole, compressed", 0), ("whole, unpacked", 1)):
        before, after = (sum(layer[column] for layer in one.sizes) for one in (old, new))
        rows.append((what, size(before), size(after), difference(before, after)))
    layers = itertools.zip_longest(old.digests, new.digests)
    for number, (before_digest, after_digest) in enumerate(layers):
        before, after = (
            one.sizes[number][0] if number < len(one.sizes) else 0 for one in (old, new)
        )
        change = "the same" if before_digest == after_digest else difference(before, after)
        rows.append((f"layer {number + 1}, compressed", size(before), size(after), change))
    return table(*rows)


def packages(old: Side, new: Side) -> str:
    """Those whose version changed, that are new, that are gone."""
    names = sorted(old.packages.keys() | new.packages.keys())
    versions = [
        (name, old.packages.get(name, "none"), new.packages.get(name, "none")) for name in names
    ]
    changed = [row for row in versions if row[1] != row[2]]
    return table(("Package", "From", "To"), *changed) if changed else "No package changed."


def what(old: File | None, new: File | None) -> str:
    """What happened to a file that is not the same on both sides."""
    if old is None or new is None:
        return "added" if old is None else "removed"
    parts = ("kind", "mode", "owner", "content")
    return ", ".join(part for part in parts if getattr(old, part) != getattr(new, part))


def changed_files(old: Side, new: Side) -> str:
    """How many, and the largest of them."""
    paths = sorted(old.files.keys() | new.files.keys())
    pairs = {path: (old.files.get(path), new.files.get(path)) for path in paths}
    changed = {path: pair for path, pair in pairs.items() if pair[0] != pair[1]}
    if not changed:
        return "No file changed."
    largest = sorted(changed, key=lambda p: -max(f.size for f in changed[p] if f))[:LARGEST]
    rows = [
        (f"`{path}`", what(*changed[path]), *(size(f.size) if f else "none" for f in changed[path]))
        for path in largest
    ]
    added = sum(pair[0] is None for pair in changed.values())
    removed = sum(pair[1] is None for pair in changed.values())
    return (
        f"Files: {added} added, {removed} removed, {len(changed) - added - removed} changed"
        f" of {len(old.files)}. The largest:\n\n" + table(("File", "What", "From", "To"), *rows)
    )


def main() -> None:
    """Compare the two that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old")
    parser.add_argument("new")
    arguments = parser.parse_args()
    names = image.checked(arguments.old, "OLD"), image.checked(arguments.new, "NEW")
    old, new = map(side, names)
    print(f"## What changed from `{old.name}` to `{new.name}`\n")
    print(packages(old, new), sizes(old, new), changed_files(old, new), sep="\n\n")


if __name__ == "__main__":
    with entry():
        main()
