"""What this project's worker costs or saves: against gunicorn's own gthread, in the same run.

    python3 bench/server.py throughput|memory [--image NAME]

Needs wrk (a Debian package of that name) and the image. The variants take turns, since a machine is
never the same twice, and the median of the rounds counts.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
from pathlib import Path

from container import running, wrk

WORKERS = {
    name: {"LOG_LEVEL": "warning", "GUNICORN_CMD_ARGS": f"--worker-class {kind}"}
    for name, kind in (("this worker", "drydock.server.worker.Worker"), ("gthread", "gthread"))
}
# Small responses on kept connections, few and many; a connection for each request.
LOADS = {
    "16 kept": ("--connections", "16"),
    "64 kept": ("--connections", "64"),
    "512 kept": ("--connections", "512"),
    "64, one request each": ("--header", "Connection: close"),
}


def throughput(image: str, rounds: int) -> None:
    """Print the ratio for each load."""
    measured: dict[tuple[str, str], list[float]] = {}
    for number in range(rounds):
        for name, variables in WORKERS.items():
            with running(image, variables) as (_, port):
                wrk(port, 1)
                for load, options in LOADS.items():
                    measured.setdefault((load, name), []).append(wrk(port, 3, *options))
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
    print("| load | gthread, requests/s | this worker | ratio | lowest to highest |")
    print("| --- | --- | --- | --- | --- |")
    for load in LOADS:
        ours, stock = (measured[load, name] for name in WORKERS)
        base = statistics.median(stock)
        spread = f"{min(ours) / base:.2f} to {max(ours) / base:.2f}"
        middle = statistics.median(ours)
        print(f"| {load} | {base:,.0f} | {middle:,.0f} | {middle / base:.2f} | {spread} |")


def memory(image: str, requests: int) -> None:
    """Print each worker's PSS, and the engine's figure, after some requests and after many."""
    with running(image, WORKERS["this worker"]) as (name, port):
        served = 0.0
        for aim in (1_000, 10_000, requests // 2, requests):
            while served < aim:
                seconds = 1 if aim <= 10_000 else 5
                served += wrk(port, seconds) * seconds
            shown = subprocess.check_output(["docker", "top", name, "-o", "pid"], text=True)
            sizes = []
            for pid in shown.split()[2:]:  # after the heading and the arbiter
                text = Path(f"/proc/{pid}/smaps_rollup").read_text()
                found = re.search(r"^Pss: +(\d+)", text, re.MULTILINE)
                sizes.append(int(found[1]) / 1000 if found else 0.0)
            shown = ", ".join(f"{size:.1f}" for size in sizes)
            stats = ["docker", "stats", "--no-stream", "--format", "{{.MemUsage}}", name]
            whole = subprocess.check_output(stats, text=True).partition(" ")[0]
            print(f"after {served:,.0f} requests: {shown} MB; docker stats: {whole}")


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("throughput", "memory"))
    parser.add_argument("--image", default="flask-microservice")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=200_000)
    options = parser.parse_args()
    if options.what == "throughput":
        throughput(options.image, options.rounds)
    else:
        memory(options.image, options.requests)


if __name__ == "__main__":
    main()
