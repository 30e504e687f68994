"""The plots of docs/benchmarks.md: reads the figures as JSON, writes the SVG files as JSON.

Runs in the peers' image, which has the library, so that nobody's machine needs it.
"""

from __future__ import annotations

import io
import json
import statistics
import sys
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

# The same figures give the same files; text stays text.
mpl.rcParams.update({"svg.hashsalt": "drydock", "svg.fonttype": "none", "font.size": 9})
OURS, THEIRS = "#0b6e4f", "#8fa3ad"
KEPT = "64 connections"


def middle(samples: list[dict[str, float]], key: str) -> float:
    """The median of the rounds."""
    return statistics.median(sample[key] for sample in samples)


def colour(title: str) -> str:
    """One for this image, one for all others."""
    return OURS if title.startswith("this image") else THEIRS


def svg(figure: Figure) -> str:
    """The file's text."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None}, bbox_inches="tight")
    return file.getvalue()


def bars(rounds: dict[str, list[float]], what: str) -> str:
    """A bar for each median, a line from the lowest to the highest."""
    figure = Figure(figsize=(8, 0.6 + 0.28 * len(rounds)))
    axes = figure.subplots()
    titles = list(rounds)[::-1]
    values = [statistics.median(rounds[title]) for title in titles]
    ends = [
        [value - min(rounds[title]) for title, value in zip(titles, values, strict=True)],
        [max(rounds[title]) - value for title, value in zip(titles, values, strict=True)],
    ]
    colours = [colour(title) for title in titles]
    axes.barh(titles, values, xerr=ends, color=colours, error_kw={"linewidth": 1})
    axes.set_xlabel(what)
    axes.spines[["top", "right"]].set_visible(False)
    return svg(figure)


def lines(points: dict[str, dict[float, float]], x: str, y: str) -> str:
    """A line for each server."""
    figure = Figure(figsize=(8, 3.5))
    axes = figure.subplots()
    for title, values in points.items():
        width = 2.5 if title.startswith("this image") else 1.2
        axes.plot(list(values), list(values.values()), "o-", label=title, linewidth=width)
    axes.set_xscale("log", base=2)
    ticks = sorted({number for values in points.values() for number in values})
    axes.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
    axes.set_ylim(bottom=0)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return svg(figure)


def latencies(figures: dict[str, Any]) -> str:
    """From p50 by p99 to p99.9, on a scale of powers."""
    figure = Figure(figsize=(8, 0.6 + 0.28 * len(figures)))
    axes = figure.subplots()
    for title in list(figures)[::-1]:
        values = [middle(figures[title][KEPT], key) for key in ("p50", "p99", "p999")]
        axes.plot(values, [title] * 3, "-", color=colour(title), zorder=1)
        for value, mark in zip(values, "o|x", strict=True):
            axes.plot(value, title, mark, color=colour(title), markersize=7)
    axes.set_xscale("log")
    axes.set_xlabel("p50 (o), p99 (|), p99.9 (x), ms, at 64 connections")
    axes.spines[["top", "right"]].set_visible(False)
    return svg(figure)


def main() -> None:
    """Read, draw, write."""
    results = json.load(sys.stdin)
    figures = results["figures"]
    greeting = {
        title: [sample["rate"] for sample in loads[KEPT]]
        for title, loads in figures["greeting"].items()
    }
    workers: dict[str, dict[float, float]] = {}
    for title, loads in figures["workers"].items():
        name, _, number = title.rpartition(" x ")
        workers.setdefault(name, {})[int(number)] = middle(loads[KEPT], "rate")
    connections = {
        title: {float(number): middle(samples, "rate") for number, samples in loads.items()}
        for title, loads in figures["connections"].items()
    }
    files = {
        "throughput": bars(greeting, "Requests/s of /hello/<name> at 64 kept connections"),
        "latency": latencies(figures["greeting"]),
        "workers": lines(workers, "workers", "requests/s"),
        "connections": lines(connections, "kept connections", "requests/s"),
        "starts": bars(results["starts"], "ms from docker run to the first 200"),
    }
    json.dump(files, sys.stdout)


if __name__ == "__main__":
    main()
