"""What this project's worker costs or saves: against gunicorn's own gthread, in the same run.

    python3 bench/server.py throughput|memory [--image NAME]

Needs wrk (a Debian package of that name) and the image. Containers on the host's network, so that
no proxy is measured; variants take turns, since a machine is never the same twice, and the median
of the rounds counts.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import socket
import statistics
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMON = {"WEB_CONCURRENCY": "2", "WEB_MAX_REQUESTS": "0", "LOG_LEVEL": "warning"}
WORKERS = {"this worker": "app.server.worker.Worker", "gthread": "gthread"}
# Small answers on kept connections; a connection for each request; many connections.
LOADS = {
    "64 kept": ("--connections", "64"),
    "512 kept": ("--connections", "512"),
    "64, one request each": ("--connections", "64", "--header", "Connection: close"),
}


@contextlib.contextmanager
def running(image: str, worker_class: str) -> Iterator[tuple[str, int]]:
    """A container whose workers are of that class, and its port."""
    name = f"bench-{uuid.uuid4().hex[:12]}"
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("", 0)) as second:
        port, metrics_port = first.getsockname()[1], second.getsockname()[1]
    environment = COMMON | {
        "APP_PORT": str(port),
        "METRICS_PORT": str(metrics_port),
        "GUNICORN_CMD_ARGS": f"--worker-class {worker_class}",
    }
    options = [word for pair in environment.items() for word in ("--env", "=".join(pair))]
    start = ["docker", "run", "--detach", "--name", name, "--network", "host", *options, image]
    try:
        subprocess.run(start, check=True, stdout=subprocess.DEVNULL)
        state = ["docker", "inspect", "--format", "{{.State.Health.Status}}", name]
        for _ in range(200):
            if subprocess.check_output(state, text=True) == "healthy\n":
                break
            time.sleep(0.1)
        else:
            sys.exit(f"error: {image} does not become healthy with {worker_class}")
        yield name, port
    finally:
        remove = ["docker", "rm", "--force", "--volumes", name]
        subprocess.run(remove, check=False, stdout=subprocess.DEVNULL)


def wrk(port: int, seconds: float, *options: str) -> float:
    """Requests answered a second."""
    address = f"http://127.0.0.1:{port}/hello/bench"
    command = ["wrk", "--threads", "1", *options, "--duration", f"{seconds}s", address]
    printed = subprocess.check_output(command, text=True)
    found = re.search(r"Requests/sec:\s+([\d.]+)", printed)
    if not found or "Non-2xx" in printed:
        sys.exit(f"error: wrk failed:\n{printed}")
    return float(found[1])


def throughput(image: str, rounds: int) -> None:
    """Print the ratio for each load."""
    measured: dict[tuple[str, str], list[float]] = {}
    for number in range(rounds):
        for name, worker_class in WORKERS.items():
            with running(image, worker_class) as (_, port):
                wrk(port, 1, "--connections", "64")
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
                served += wrk(port, seconds, "--connections", "64") * seconds
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
