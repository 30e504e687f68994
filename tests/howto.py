"""The how-tos, followed as a reader does: files written, changes made, commands typed.

A fenced block of a document in docs/ is one of these, which its language tells:

- `sh` is typed in the checkout, and ends at the first command that fails. What stands below
  `make debug` is typed into the shell that this opens.
- `text` is what the `sh` before it prints: all its lines, in this order; `...` stands for anything.
  Where one of them says "error:" or "FAILED", the commands have to fail.
- `diff` changes the file that a line `@@ FILE @@` names. What begins with a space or - has to stand
  there exactly once, and becomes what begins with a space or +. Where all begins with a +, it is
  put at the file's end.
- Any other is the whole of the file that its first line names, as in `# src/app/notes.py`.
"""

from __future__ import annotations

import dataclasses
import re
import subprocess
import time
from types import MappingProxyType
from typing import TYPE_CHECKING

from checkouts import CHECKOUT, environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FENCE = re.compile(r"```(\w*)")
SECONDS = 1800  # for one block, on a slow machine


@dataclasses.dataclass(frozen=True)
class Block:
    """A block of a document, and where it stands."""

    place: str  # docs/extend.md:12
    section: str  # the heading above it
    language: str
    text: str


def blocks(document: str) -> Iterator[Block]:
    """The fenced blocks of a document, in their order."""
    section, begin = "", 0
    language: str | None = None
    lines: list[str] = []
    for number, line in enumerate((CHECKOUT / document).read_text().splitlines(), 1):
        fence = FENCE.match(line)
        if language is None and fence:
            language, begin, lines = fence[1], number, []
        elif language is not None and fence:
            text = "".join(f"{each}\n" for each in lines)
            yield Block(f"{document}:{begin}", section, language, text)
            language = None
        elif language is not None:
            lines.append(line)
        elif line.startswith("## "):
            section = line.removeprefix("## ")


def sections(document: str) -> list[str]:
    """The headings of a document below which there is something to follow, in their order."""
    return list(dict.fromkeys(block.section for block in blocks(document)))


@dataclasses.dataclass(frozen=True)
class Reader:
    """Somebody who follows a document in a checkout, with what a shell there has for variables.

    What a document can only give an example of, a server's name for one, is among the `values` of
    `follow`, with what the reader has in its place.
    """

    checkout: Path
    variables: Mapping[str, str]

    def follow(
        self, document: str, section: str, values: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Do all that a section says.

        Raises:
            AssertionError: with the block's line, if that can't be done or ends otherwise than the
                document says.

        """
        found = [block for block in blocks(document) if block.section == section]
        assert found, f"{document} has no blocks below {section!r}"
        if values:  # in one go: a value may have in it what is an example elsewhere
            examples = re.compile("|".join(map(re.escape, sorted(values, key=len, reverse=True))))
            found = [
                dataclasses.replace(
                    block, text=examples.sub(lambda match: values[match[0]], block.text)
                )
                for block in found
            ]
        for block, after in zip(found, [*found[1:], None], strict=True):
            expected = after.text if after and after.language == "text" else ""
            if block.language == "sh":
                self.type(block, expected)
            elif block.language == "diff":
                self.change(block)
            elif block.language != "text":
                self.write(block)

    def type(self, block: Block, expected: str) -> None:
        """Type commands; check that they end and print what the document says."""
        text, typed = block.text, None
        if text.startswith("make debug\n"):
            text, _, typed = text.partition("\n")
        began = time.monotonic()
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.checkout,
            env=environment(**self.variables),
            input=typed or "",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=SECONDS,
        )
        print(f"{time.monotonic() - began:6.1f} s  {block.place}  {text.splitlines()[0]}")
        told = f"{block.place}: {text}\n{done.stdout[-10_000:]}"
        to_fail = "error:" in expected or "FAILED" in expected
        assert (done.returncode != 0) == to_fail, told
        rest = done.stdout
        for line in expected.splitlines():
            pattern = ".*?".join(map(re.escape, line.split("...")))
            match = re.search(pattern, rest)
            assert match, f"{line!r} is not in what follows\n{told}"
            rest = rest[match.end() :]

    def change(self, block: Block) -> None:
        """Change files as the block says."""
        _, *hunks = re.split(r"^@@ (.+) @@\n", block.text, flags=re.MULTILINE)
        assert hunks, f"{block.place}: names no file"
        for name, hunk in zip(hunks[::2], hunks[1::2], strict=True):
            lines = hunk.splitlines(keepends=True)
            lines = [line if line.strip() else " \n" for line in lines]  # an editor's trimmed one
            old = "".join(line[1:] for line in lines if line[0] in " -")
            new = "".join(line[1:] for line in lines if line[0] in " +")
            file = self.checkout / name
            text = file.read_text() if file.exists() else ""
            assert not old or text.count(old) == 1, f"{block.place}: not once in {name}: {old}"
            file.write_text(text.replace(old, new) if old else text + new)

    def write(self, block: Block) -> None:
        """Write the file that the block names and is."""
        first, _, text = block.text.partition("\n")
        assert re.fullmatch(r"# [\w.-][\w./-]*", first), f"{block.place}: names no file"
        file = self.checkout / first.removeprefix("# ")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
