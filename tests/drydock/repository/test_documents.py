"""The documents: what they link to, and what they tell to type, is there; the README is short."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

import documents
from checkouts import CHECKOUT, make

if TYPE_CHECKING:
    from pathlib import Path

README = CHECKOUT / "README.md"
each_document = pytest.mark.parametrize(
    "document", documents.DOCUMENTS, ids=lambda file: str(file.relative_to(CHECKOUT))
)


@each_document
def test_every_link_leads_to_a_file_and_a_heading(document: Path) -> None:
    """Those to other places are not tried: no test needs the internet."""
    assert not documents.broken_links(document, document.read_text())


@each_document
def test_every_verb_is_one_of_the_makefile_s(document: Path) -> None:
    assert not documents.unknown_verbs(document.read_text())


@each_document
def test_every_file_and_program_that_is_named_is_there(document: Path) -> None:
    assert not documents.missing_paths(document.read_text())


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("See [it](docs/server.md#stop), [that](#try-it), [all](https://example.org/x).", []),
        ("See [it](docs/serve.md).", ["docs/serve.md"]),
        ("![A picture](docs/serve.svg)", ["docs/serve.svg"]),
        ("See [it](docs/server.md#stops).", ["docs/server.md#stops"]),
        ("See [it](LICENSE#mit).", ["LICENSE#mit"]),
        ("See [it](../outside.md).", ["../outside.md"]),
        ("[it]: docs/serve.md\n", ["docs/serve.md"]),
        ("`a[0](x)`\n\n    b[0](y)\n\n```\nc[0](z)\n```\n", []),
    ],
)
def test_a_broken_link_is_noticed(text: str, broken: list[str]) -> None:
    assert documents.broken_links(README, f"{text}\n\n## Try it\n") == broken


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("`make up PORT=1`, `make lint unit`, and make of it what you like.", []),
        ("`make upp`", ["upp"]),
        ("So:\n\n    PORT=1 make lint unitt IMAGE=x\n", ["unitt"]),
        ("```\nmake upp && make help\n```\n", ["upp"]),
    ],
)
def test_a_verb_that_is_none_is_noticed(text: str, unknown: list[str]) -> None:
    assert documents.unknown_verbs(text) == unknown


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("`scripts/docs.py`, `deploy/`, `tests/drydock/*/test_page.py`, `.venv/bin/pytest`", []),
        ("`scripts/gone.py`", ["scripts/gone.py"]),
        (
            "So:\n\n    .venv/bin/nose tests/drydock/none\n",
            [".venv/bin/nose", "tests/drydock/none"],
        ),
    ],
)
def test_a_path_that_is_none_is_noticed(text: str, missing: list[str]) -> None:
    assert documents.missing_paths(text) == missing


def test_every_document_is_in_the_index() -> None:
    index = (CHECKOUT / "docs/README.md").read_text()
    for file in CHECKOUT.glob("docs/*.md"):
        assert file.name == "README.md" or f"]({file.name})" in index, file.name


def test_the_hooks_run_what_lint_runs() -> None:
    """On some files or on all, but by the same words: else a commit passes and CI does not."""
    entries = re.findall(
        r"^ +entry: (.+)$", (CHECKOUT / ".pre-commit-config.yaml").read_text(), re.MULTILINE
    )
    recipe = make("--dry-run", "lint").stdout.splitlines()
    assert entries
    for entry in entries:
        assert not documents.unknown_verbs(f"`{entry}`")
        assert entry == "make lint" or entry.removesuffix(" --force-exclude") in recipe, entry


def own_readme() -> str:
    """The template's own; empty in a fork, whose README is the fork's."""
    text = README.read_text()
    return text if text.startswith("# Drydock") else ""


def test_the_readme_is_read_in_five_minutes() -> None:
    lines = own_readme().splitlines()
    assert len(lines) <= 120
    assert not [line for line in lines if len(line) > 120]


def test_the_readme_s_figures_are_measured_ones() -> None:
    """Each figure of its comparison stands in the document that says how it was measured."""
    sources = ("docs/benchmarks.md", "docs/server.md")
    measured = "".join((CHECKOUT / name).read_text() for name in sources)
    table = own_readme().partition("\n## Beside the usual image\n")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("|")][2:]
    assert len(rows) > 5 or not own_readme()
    for row in rows:
        for figure in re.findall(r"\d[\d,.]*\d|\d", row.partition("|")[2].partition("|")[2]):
            assert re.search(rf"(?<![\d,.]){re.escape(figure)}(?![\d]|[,.]\d)", measured), row
