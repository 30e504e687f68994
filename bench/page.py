"""docs/benchmarks.md, from what a run has measured and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, TypedDict, cast

import shapes
import tables
from comparisons import GREETING, PATHS

if TYPE_CHECKING:
    from collections.abc import Collection

    from comparisons import Figures
    from memory import Memory
    from shapes import Shape
    from sizes import Size

KEPT, EACH, MIXED = GREETING[2].title, GREETING[4].title, PATHS[-1].title
YARDSTICK = "this image, `import flask, gunicorn` and one answer"


class Results(TypedDict, total=False):
    """All that a run has measured; docs/benchmarks/figures.json holds it."""

    about: dict[str, str]
    figures: dict[str, Figures]
    starts: dict[str, list[float]]
    sizes: dict[str, Size]
    memory: dict[str, Memory]


class Aim(NamedTuple):
    """What is compared with what, in which figures; and the ratio that is aimed at."""

    ours: Shape
    theirs: Shape
    load: str
    aim: str
    key: Literal["rate", "p99"] = "rate"
    part: str = "greeting"


AIMS = (
    Aim(shapes.ON, shapes.SYNC_OFF, KEPT, "1.3 or more"),
    Aim(shapes.ON, shapes.GTHREAD_OFF, KEPT, "1.15 or more"),
    Aim(shapes.ON, shapes.GTHREAD_ON, KEPT, "2.0 or more"),
    Aim(shapes.ON, shapes.GRANIAN_ON, KEPT, "1.3 or more"),
    Aim(shapes.ON, shapes.SYNC_OFF, EACH, "0.9 or more"),
    Aim(shapes.OFF, shapes.GRANIAN_OFF, KEPT, "0.6 or more"),
    Aim(shapes.ON, shapes.SYNC_OFF, KEPT, "1.0 or less", "p99"),
    Aim(shapes.ON, shapes.GTHREAD_OFF, KEPT, "1.0 or less", "p99"),
    Aim(shapes.ON, shapes.GTHREAD_OFF, MIXED, "1.5 or less", "p99", "paths"),
)

HEAD = """\
# Beside its peers

`make bench` measures this and writes this page, its plots and `docs/benchmarks/figures.json`, which
has each measurement; `make bench-quick` prints the most important in 5 minutes. Only figures of one
run can be compared: those of different hours differ by a third.

- Every server runs on the same machine as the load, in a container on the host's network. The peers
  are in `bench/peers`: on the same base, with the same Python, Flask and gunicorn, and a plain
  Flask application.
- What they answer is compared first: status, content type, body. If it differs, nothing is timed.
- The servers take turns: in each round each is started anew. A figure is the median of the rounds,
  in brackets the lowest and the highest. A ratio is made in each round; where the rounds do not
  agree on who is ahead, it is called equal.
- Logs go where a user has them: to the engine's default driver, which takes its share of the
  processor.
- wrk sends on each connection the next request when it has the response: latencies are those of a
  server that is fully busy, and those of different servers are at different rates.
"""


def plot(name: str, what: str) -> str:
    """A link to a plot."""
    return f"\n![{what}](benchmarks/{name}.svg)\n"


def ratios(figures: dict[str, Figures]) -> str:
    """The ratios that this image is judged by."""
    rows = []
    for aim in AIMS:
        by_server = figures[aim.part]
        pair = (
            [sample[aim.key] for sample in by_server[shape.title][aim.load]]
            for shape in (aim.ours, aim.theirs)
        )
        what = {"rate": "requests/s", "p99": "p99"}[aim.key]
        ratio = tables.ratio(*pair)
        rows.append([aim.ours.title, aim.theirs.title, aim.load, what, ratio, aim.aim])
    return tables.table(["This", "to that", "Load", "What", "Ratio", "Aim"], rows)


def throughput(figures: Figures, by: str = "") -> str:
    """Requests a second and latencies; `by` says what the columns are."""
    return f"{tables.throughput(figures, by)}\n{tables.latencies(figures, by)}"


def commands() -> str:
    """What each server is started by."""

    def code(words: Collection[str]) -> str:
        return f"`{' '.join(words)}`" if words else ""

    rows = (
        [shape.title, code(shape.command), code(tuple(map("=".join, shape.variables.items())))]
        for shape in shapes.ALL
    )
    return tables.table(["Server", "Command", "Variables"], rows)


def starts(found: dict[str, list[float]]) -> str:
    """The cold starts."""
    unit = found[YARDSTICK]
    rows = ([name, tables.spread(ms), tables.ratio(ms, unit)] for name, ms in found.items())
    return tables.table(["Start", "ms", "Ratio to the import"], rows)


def sizes(found: dict[str, Size]) -> str:
    """What the images hold, and how they are built."""
    numbers = cast("dict[str, dict[str, float]]", found)  # all that a Size has, by its name
    heads = {
        "compressed_mb": "Compressed, MB",
        "unpacked_mb": "Unpacked, MB",
        "debian_packages": "Debian packages",
        "python_packages": "Python packages",
        "files": "Files",
        "cold_s": "Build without layers, s",
        "warm_s": "Build again, s",
        "change_s": "Build after a change of one line, s",
        "pushed_kb": "Pushed for it, compressed, kB",
    }
    rows = []
    for key, head in heads.items():
        values = [size[key] for size in numbers.values()]
        rows.append([head, *(f"{v:,}" if isinstance(v, int) else tables.number(v) for v in values)])
    return tables.table(["", *found], rows)


def memory(found: dict[str, Memory]) -> str:
    """What workers take."""
    rows = (
        [
            name,
            tables.number(m["one_worker_mb"]),
            tables.number(m["a_worker_more_mb"]),
            f"{m['smallest_mib']:,}",
        ]
        for name, m in found.items()
    )
    heads = ("With 1 worker, MB", "A worker more, MB", "Smallest `--memory` for 64, MiB")
    return tables.table(["Everything in it", *heads], rows)


def by_workers(figures: Figures) -> str:
    """A row for each server, a column for each number of workers."""
    numbers = sorted({title.rpartition(" x ")[2] for title in figures}, key=int)
    names = dict.fromkeys(title.rpartition(" x ")[0] for title in figures)
    rows = (
        [name, *(tables.cell(figures[f"{name} x {number}"][KEPT]) for number in numbers)]
        for name in names
    )
    return tables.table(["Requests/s by workers", *numbers], rows)


def document(results: Results) -> str:
    """The text of the page."""
    figures = results["figures"]
    machine = tables.table(["Machine", ""], ([*item] for item in results["about"].items()))
    return "\n".join(
        (
            HEAD,
            machine,
            "## In short\n",
            ratios(figures) + plot("throughput", "Requests/s at 64 connections"),
            "## `/hello/<name>`\n",
            throughput(figures["greeting"]) + plot("latency", "Latencies at 64 connections"),
            "## Other paths\n",
            "Without access logs but for this image with everything on, which logs no `/livez`."
            " 64 connections; in the last column 32, while 32 others request what takes 50 ms.\n",
            throughput(figures["paths"]),
            throughput(figures["postgres"]),
            "## How it grows\n",
            by_workers(figures["workers"]) + plot("workers", "Requests/s by workers"),
            throughput(figures["connections"], " by connections")
            + plot("connections", "Requests/s by connections"),
            "## Cold start\n",
            "From `docker run` to the first 200.\n",
            starts(results["starts"]) + plot("starts", "Cold starts"),
            "## Size and builds\n",
            sizes(results["sizes"]),
            "## Memory\n",
            memory(results["memory"]),
            "## The servers\n",
            "This image is hardened as compose.yaml does it, but for more memory and processes.\n",
            commands(),
        )
    )
