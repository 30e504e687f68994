"""The README is short, and its figures are measured ones; each document is in the index."""

from __future__ import annotations

import re

from checkouts import CHECKOUT

README = CHECKOUT / "README.md"


def test_every_document_is_in_the_index() -> None:
    index = (CHECKOUT / "docs/README.md").read_text()
    for file in CHECKOUT.glob("docs/*.md"):
        assert file.name == "README.md" or f"]({file.name})" in index, file.name


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
