"""The how-tos' reader: what `make fork` follows the documents with notices where one is wrong."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

import howto
from checkouts import CHECKOUT

if TYPE_CHECKING:
    from pathlib import Path

HEAD = "# Title\n\n## Add it\n\n"


@pytest.fixture
def reader(tmp_path: Path) -> howto.Reader:
    (tmp_path / "there.py").write_text("one = 1\ntwo = 2\ntwo = 2\n")
    return howto.Reader(tmp_path, {"NAME": "Ann"})


def follow(reader: howto.Reader, text: str, **values: str) -> None:
    document = reader.checkout / "document.md"
    document.write_text(HEAD + text)
    reader.follow(str(document), "Add it", values)


@pytest.mark.parametrize(
    "text",
    [
        "```sh\necho $NAME\necho b\n```\n\nprints\n\n```text\nAnn\nb\n```\n",
        "```sh\necho one two three\n```\n\n```text\none ... three\n```\n",
        "```sh\necho error: no; false\n```\n\n```text\nerror: no\n```\n",
        "```python\n# new/more.py\nthree = 3\n```\n\n```sh\ngrep -x 'three = 3' new/more.py\n```\n",
        "```diff\n@@ there.py @@\n-one = 1\n+one = 7\n```\n\n```sh\ngrep 7 there.py\n```\n",
        "```diff\n@@ .env @@\n+A=1\n@@ .env @@\n+B=2\n```\n\n```sh\ngrep B=2 .env\n```\n",
        "```sh\necho example\n```\n\n```text\nvalue\n```\n",
    ],
)
def test_what_is_right_can_be_followed(reader: howto.Reader, text: str) -> None:
    follow(reader, text, example="value")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("```sh\nfalse\necho a\n```\n", "document.md:5: false"),
        ("```sh\nfalse | cat\n```\n", "document.md:5: false | cat"),
        ("```sh\necho $UNSET\n```\n", "UNSET: unbound variable"),
        ("```sh\necho a\n```\n\n```text\nb\n```\n", "'b' is not in what follows"),
        ("```sh\necho a b\n```\n\n```text\nb\na\n```\n", "'a' is not in what follows"),
        ("```sh\necho error: no\n```\n\n```text\nerror: no\n```\n", "echo error: no"),
        ("```diff\n@@ there.py @@\n-gone = 1\n+one = 7\n```\n", "not once in there.py: gone = 1"),
        ("```diff\n@@ there.py @@\n-two = 2\n+one = 7\n```\n", "not once in there.py: two = 2"),
        ("```diff\n+one = 7\n```\n", "document.md:5: names no file"),
        ("```python\none = 7\n```\n", "document.md:5: names no file"),
        ("```python\n# /there.py\n```\n", "document.md:5: names no file"),
        ("Nothing to type.\n", "has no blocks below 'Add it'"),
    ],
)
def test_what_is_wrong_is_noticed(reader: howto.Reader, text: str, told: str) -> None:
    with pytest.raises(AssertionError) as failed:
        follow(reader, text)
    assert told in str(failed.value)


def test_each_how_to_with_something_to_type_is_followed() -> None:
    """By its headings, wherever a test of a fork follows them."""
    words = {
        node.value
        for file in (CHECKOUT / "tests/drydock/fork").glob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    for document in ("docs/operate.md", "docs/deploy.md"):
        for section in howto.sections(document):
            assert section in words, f"{document}, {section}: no test follows it"
    assert "docs/extend.md" in words  # as a whole
