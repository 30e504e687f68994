"""The text of docs/promises.md: each promise with its tests, and each test in its place.

The promises are in tests/promises.toml, the sentences of the tests are their own names and
docstrings, read by `ast`: nothing is imported. A promise without a test is an error, and so is a
test of an image, a stack, the pipeline or traces that proves none.
"""

from __future__ import annotations

import ast
import dataclasses
import fnmatch
import html
import itertools
import re
import tomllib
from typing import TYPE_CHECKING

from common import ROOT, die

if TYPE_CHECKING:
    from collections.abc import Iterator

LIST = "tests/promises.toml"
TESTS = ROOT / "tests/drydock"

DOCUMENT = """\
# Promises

What the template promises, and the tests that prove it. Unfold a promise to see them: a test's name
is the sentence. `make docs` writes this file from `tests/promises.toml` and from the names and
docstrings of the tests. `make lint` fails at a promise without a test, and at a test of the image,
the stack, the pipeline or the traces without a promise. How the tests are run is in
[testing.md](testing.md).

{contents}"""


@dataclasses.dataclass(frozen=True)
class Test:
    """A test function: its file below tests/drydock, its name, what its docstring adds."""

    file: str
    name: str
    docstring: str

    def sentence(self) -> str:
        """The name as a sentence, and the docstring's first paragraph."""
        words = self.name.removeprefix("test_").replace("_", " ")
        words = re.sub(r" ([st])(?= |$)", r"'\1", words)
        return f"{words[0].upper()}{words[1:]}. {self.docstring}".rstrip()


def first_paragraph(node: ast.Module | ast.FunctionDef) -> str:
    """Its docstring up to the first empty line, on one line; empty if there is none."""
    return " ".join((ast.get_docstring(node) or "").partition("\n\n")[0].split())


def collect() -> tuple[dict[str, str], list[Test]]:
    """What each file of tests/drydock is about, and all test functions, in their order."""
    about, tests = {}, []
    for path in sorted(TESTS.glob("*/test_*.py")):
        file = path.relative_to(TESTS).as_posix()
        module = ast.parse(path.read_text())
        about[file] = first_paragraph(module)
        if not about[file]:
            die(f"tests/drydock/{file}: has no docstring; its first line is in docs/promises.md")
        tests += [
            Test(file, node.name, first_paragraph(node))
            for node in module.body
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        ]
    return about, tests


def proving(pattern: str, section: str, tests: list[Test]) -> list[Test]:
    """The tests that a pattern of the list names, such as `test_x.py::test_y_*`."""
    file, _, name = pattern.partition("::")
    file = file if "/" in file else f"{section}/{file}"
    found = [
        test for test in tests if test.file == file and fnmatch.fnmatch(test.name, name or "*")
    ]
    return found or die(f"{LIST}, [{section}.promises]: {pattern} is no test of tests/drydock")


def folded(title: str, tests: list[Test]) -> str:
    """A title that unfolds to its tests, by file."""
    summary = re.sub("`(.+?)`", r"<code>\1</code>", html.escape(title, quote=False))
    text = f"<details><summary>{summary}</summary>\n"
    for file, members in itertools.groupby(tests, lambda test: test.file):
        text += f"\n[{file}](../tests/drydock/{file})\n\n"
        text += "".join(f"- {test.sentence()}\n" for test in members)
    return f"{text}\n</details>\n"


def by_promise(section: str, promises: dict[str, list[str]], tests: list[Test]) -> Iterator[str]:
    """Each promise of a section with the tests that prove it."""
    proved: set[Test] = set()
    for promise, patterns in promises.items():
        found = [test for pattern in patterns for test in proving(pattern, section, tests)]
        proved.update(found)
        yield folded(promise, sorted(set(found), key=tests.index))
    for test in tests:
        if test.file.startswith(f"{section}/") and test not in proved:
            die(f"tests/drydock/{test.file}: {test.name} proves no promise; name it in {LIST}")


def by_file(section: str, about: dict[str, str], tests: list[Test]) -> Iterator[str]:
    """Each file of a section with its tests."""
    for file, sentence in about.items():
        if file.startswith(f"{section}/"):
            yield folded(sentence, [test for test in tests if test.file == file])


def document() -> str:
    """The text of docs/promises.md.

    Raises:
        SystemExit: a promise has no test, a test no promise, or a file no docstring.
    """
    about, tests = collect()
    sections = tomllib.loads((ROOT / LIST).read_text())
    missing = {file.partition("/")[0] for file in about} - set(sections)
    if missing:
        die(f"{LIST}: no section for tests/drydock/{min(missing)}")
    titles, text = [], ""
    for section, content in sections.items():
        title = content["title"]
        titles.append(f"- [{title}](#{title.lower().replace(' ', '-')})")
        text += f"\n## {title}\n\n{content['about']}\n\n"
        promises = content.get("promises")
        if promises:
            text += "".join(by_promise(section, promises, tests))
        else:
            text += "".join(by_file(section, about, tests))
    return DOCUMENT.format(contents="\n".join(titles) + "\n") + text
