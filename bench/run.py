"""This image beside its peers, in one run.

make bench                      all of it; writes docs/benchmarks.md
make bench-quick                the most important, printed alone
make bench ONLY=cost ROUNDS=3   one part, printed alone
"""

from __future__ import annotations

import argparse
import json
import resource
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import image as project
import memory
import page
import parts
import servers
import shapes
import sizes
import start
import wrk
from about import about
from common import ROOT, die, entry, say
from comparisons import APART, COMPARISONS, QUICK, measure
from containers import RUN, sweep
from processes import heed_interrupts

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from comparisons import Figures
    from servers import Images

ROUNDS, QUICK_ROUNDS, STARTS = 5, 2, 8
PARTS = (*COMPARISONS, *APART, "starts", "parts", "sizes", "memory")
PAGE = ROOT / "docs/benchmarks.md"
FOLDER = ROOT / "docs/benchmarks"


def end(_number: int, _frame: FrameType | None) -> None:
    """Let a SIGTERM remove the containers too."""
    raise KeyboardInterrupt


def arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="the most important alone")
    parser.add_argument("--rounds", type=int, help=f"{ROUNDS} by default, {QUICK_ROUNDS} if quick")
    parser.add_argument("--only", choices=PARTS, help="one part")
    options = parser.parse_args()
    if options.rounds is not None and options.rounds < 1:
        parser.error(f"--rounds: {options.rounds} is less than 1")
    return options


def compare(images: Images, name: str, rounds: int) -> Figures:
    """Make one of the comparisons, and print it."""
    figures = measure(images, (COMPARISONS | APART)[name], rounds)
    print(page.throughput(figures), flush=True)
    return figures


def single(images: Images, name: str, rounds: int) -> None:
    """One part, printed."""
    others: dict[str, Callable[[], str]] = {
        "starts": lambda: page.starts(start.measure(images, rounds)),
        "parts": lambda: parts.table(images, rounds),
        "sizes": lambda: page.sizes(sizes.measure()),
        "memory": lambda: page.memory(memory.measure(images)),
    }
    if name in others:
        print(others[name]())
    else:
        compare(images, name, rounds)


def quick(images: Images, rounds: int) -> None:
    """The most important, printed."""
    figures = {name: measure(images, each, rounds) for name, each in QUICK.items()}
    for found in figures.values():
        print(page.throughput(found))
    print(page.ratios(figures))


def everything(images: Images, rounds: int) -> None:
    """All, written."""
    results: page.Results = {
        "about": about(images, rounds),
        "figures": {name: compare(images, name, rounds) for name in COMPARISONS},
        "starts": start.measure(images, STARTS),
        "sizes": sizes.measure(),
        "memory": memory.measure(images),
    }
    write(images, results)


def write(images: Images, results: page.Results) -> None:
    """Write the page, its figures and its plots.

    Raises:
        SystemExit: if the plots are not drawn; the rest is written by then.

    """
    text = json.dumps(results, indent=1) + "\n"
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "figures.json").write_text(text)
    PAGE.write_text(page.document(results))
    program = Path(__file__).with_name("plots.py").read_text()
    # Matplotlib keeps a list of fonts, which the user of this image has no place for.
    command = ["docker", "run", "--rm", "--interactive", "--env", "MPLCONFIGDIR=/tmp"]
    command += [images.peers, "python3", "-c", program]
    drawn = subprocess.run(command, input=text, stdout=subprocess.PIPE, text=True, check=False)
    if drawn.returncode != 0:
        die("the plots were not drawn; what was measured is written")
    for name, svg in json.loads(drawn.stdout).items():
        (FOLDER / f"{name}.svg").write_text(svg)
    say(f"wrote {PAGE.relative_to(ROOT)} and what it shows")


def main() -> None:
    """Run, and leave nothing behind."""
    options = arguments()
    heed_interrupts()
    signal.signal(signal.SIGTERM, end)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    wrk.need_wrk()
    project.find()
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    began = time.monotonic()
    try:
        with servers.prepared(project.name(), shapes.ON) as images:
            if options.only:
                single(images, options.only, rounds)
            elif options.quick:
                quick(images, rounds)
            else:
                everything(images, rounds)
    except AssertionError as problem:  # a server or a docker command that failed
        die(str(problem))
    finally:
        sweep(RUN)
        say(f"{(time.monotonic() - began) / 60:.1f} minutes")


if __name__ == "__main__":
    with entry():
        main()
