"""Figures as people read them: medians with their spread, ratios with a word on what they mean."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from comparisons import Figures
    from wrk import Sample


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lines of a Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def number(value: float) -> str:
    """Three digits or more, none of them idle."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f}"


def spread(values: Sequence[float]) -> str:
    """The median, and in brackets the lowest and the highest."""
    if len(values) == 1:
        return number(values[0])
    ends = f"{number(min(values))} to {number(max(values))}"
    return f"{number(statistics.median(values))} ({ends})"


def rates(samples: Sequence[Sample]) -> list[float]:
    """The requests a second of each round."""
    return [sample["rate"] for sample in samples]


def cell(samples: Sequence[Sample]) -> str:
    """Requests a second, and how many failed, if any did."""
    failed = sum(sample["errors"] for sample in samples)
    return spread(rates(samples)) + (f", {failed:,} errors" if failed else "")


def throughput(figures: Figures, by: str) -> str:
    """A row for each server, a column for each load."""
    loads = list(next(iter(figures.values())))
    rows = ([title, *map(cell, by_load.values())] for title, by_load in figures.items())
    return table([f"Requests/s{by}", *loads], rows)


def latencies(figures: Figures, by: str) -> str:
    """The same for p50, p99 and p99.9: the median of the rounds, in ms."""
    loads = list(next(iter(figures.values())))

    def middle(samples: Sequence[Sample]) -> str:
        found = (
            [s["p50"] for s in samples],
            [s["p99"] for s in samples],
            [s["p999"] for s in samples],
        )
        return " / ".join(number(statistics.median(values)) for values in found)

    rows = ([title, *map(middle, by_load.values())] for title, by_load in figures.items())
    return table([f"p50 / p99 / p99.9, ms{by}", *loads], rows)


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """What was measured in one round, divided; equal where the rounds do not agree on who leads."""
    found = [a / b for a, b in zip(ours, theirs, strict=True)]
    middle = statistics.median(found)
    if len(found) == 1:
        return f"{middle:.2f}"
    ends = f"({min(found):.2f} to {max(found):.2f})"
    return f"{middle:.2f} {ends}" + (", equal" if min(found) <= 1 <= max(found) else "")
