"""What the repository's documents refer to: links, anchors, verbs, programs, files."""

from __future__ import annotations

import re
import sys
from collections import Counter
from functools import cache
from pathlib import Path

from checkouts import CHECKOUT

DOCUMENTS = [*CHECKOUT.glob("*.md"), *CHECKOUT.glob(".github/*.md"), *CHECKOUT.glob("docs/*.md")]
# The template's own; what is in a fork's folders is the fork's to rename and to delete.
FOLDERS = ("bench", "deploy", "docs", "scripts", "src/drydock", "tests/drydock")


FENCED = re.compile(r"^( *)```[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^|\n\n)((?: {4}.*\n?)+)")
INLINE = re.compile(r"`([^`]+)`")


def without_code(text: str) -> str:
    """Markdown without its code, where nothing is a link."""
    return INLINE.sub("", INDENTED.sub("\n\n", FENCED.sub("", text)))


def code(text: str) -> list[str]:
    """Each line of a document's blocks of code, and each `code` within a line."""
    plain = FENCED.sub("", text)
    blocks = [block for _, block in FENCED.findall(text)] + INDENTED.findall(plain)
    return [line.strip() for block in blocks for line in block.splitlines()] + INLINE.findall(plain)


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a document."""
    found: Counter[str] = Counter()
    names = set()
    for heading in re.findall(r"^#+ (.+)$", FENCED.sub("", text), re.MULTILINE):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        name = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        names.add(f"{name}-{found[name]}" if found[name] else name)
        found[name] += 1
    return names


def broken_links(file: Path, text: str) -> list[str]:
    """The links of a document that lead to no file, or to no heading, of this checkout."""
    plain, file = without_code(text), file.resolve()
    targets = re.findall(r"\]\(([^()\s]*)\)", plain)
    targets += re.findall(r"^\[[^]]+\]: (\S+)", plain, re.MULTILINE)
    broken = []
    for target in targets:
        if re.match(r"https?://|mailto:", target):
            continue
        path, _, anchor = target.partition("#")
        to = (file.parent / path).resolve() if path else file
        there = to.exists() and to.is_relative_to(CHECKOUT.resolve())
        if there and anchor:
            there = anchor in anchors(text if to == file else to.read_text(errors="replace"))
        if not there:
            broken.append(target)
    return broken


@cache
def verbs() -> set[str]:
    """The targets of the Makefile that a person types."""
    lines = re.findall(r"^([a-z][a-z -]*):(?!=)", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
    return {verb for line in lines for verb in line.split()}


def unknown_verbs(text: str) -> list[str]:
    """What stands after `make` in the code of a document and is no verb."""
    found = []
    for line in code(text):
        for words in re.findall(r"(?:^|[\s(])make((?: +[a-z][a-z-]*(?![\w=.]))+)", line):
            found += [word for word in words.split() if word not in verbs()]
    return found


def missing_paths(text: str) -> list[str]:
    """The template's files and the installed programs that a document's code names in vain."""
    lines = "\n".join(code(text))
    programs = set(re.findall(r"\.venv/bin/([\w-]+)", lines)) - {"activate"}
    installed = Path(sys.executable).parent
    paths = re.findall(rf"(?<![\w/.])((?:{'|'.join(FOLDERS)})/[\w./*-]+)", lines)
    return [
        *(f".venv/bin/{name}" for name in programs if not (installed / name).exists()),
        *(path for path in paths if not any(CHECKOUT.glob(path.rstrip("./")))),
    ]
