"""This image beside its peers, in one run.

    make bench          all of it; writes docs/benchmarks.md
    make bench-quick    the most important, printed alone
    make bench ONLY=cost ROUNDS=3

Each server answers as the first one does, or nothing of it is timed.
"""

from __future__ import annotations

import argparse
import resource
import signal
import time
from typing import TYPE_CHECKING

import image as project
import load
import servers
import shapes
import tables
from common import die, entry, say
from comparisons import COMPARISONS, QUICK, measure
from containers import RUN, sweep
from processes import heed_interrupts

if TYPE_CHECKING:
    from types import FrameType

ROUNDS = 5
QUICK_ROUNDS = 2


def end(_number: int, _frame: FrameType | None) -> None:
    """Let a SIGTERM remove the containers too."""
    raise KeyboardInterrupt


def arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--only", nargs="+", metavar="PART")
    return parser.parse_args()


def run(options: argparse.Namespace) -> None:
    """Measure and print, one part after the other."""
    chosen = QUICK if options.quick else COMPARISONS
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    with servers.prepared(project.name(), servers.build_peers(), shapes.ON) as images:
        for name, comparison in chosen.items():
            if not options.only or name in options.only:
                figures = measure(images, comparison, rounds)
                print(tables.throughput(figures))
                print(tables.latencies(figures), flush=True)


def main() -> None:
    """Run, and leave nothing behind."""
    options = arguments()
    heed_interrupts()
    signal.signal(signal.SIGTERM, end)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    load.need_wrk()
    project.find()
    began = time.monotonic()
    try:
        run(options)
    except AssertionError as problem:  # of a docker command
        die(str(problem))
    finally:
        sweep(RUN)
        say(f"{(time.monotonic() - began) / 60:.1f} minutes")


if __name__ == "__main__":
    with entry():
        main()
