"""What logs and metrics cost: throughput as a ratio to the quiet service, in the same run.

    python3 bench/throughput.py [--image NAME] [--rounds N]

Needs wrk (a Debian package of that name) and the image. Each variant is a container on the host's
network, so that no proxy is measured; the variants take turns, since a machine is never the same
twice, and the median of the rounds counts.
"""

from __future__ import annotations

import argparse
import re
import socket
import statistics
import subprocess
import sys
import time
import uuid

# Recycling would stop a worker in the middle of a round.
COMMON = {"WEB_CONCURRENCY": "2", "WEB_MAX_REQUESTS": "0"}
# The engine reads and stores what a container prints on the same cores; the service's own share of
# the cost shows when nobody reads.
DISCARD = """
import os
os.dup2(os.open("/dev/null", os.O_WRONLY), 1)
os.execvp("gunicorn", ["gunicorn"])
"""
VARIANTS = {
    "quiet": {"LOG_LEVEL": "warning", "METRICS_PORT": "0"},
    "metrics": {"LOG_LEVEL": "warning"},
    "metrics, JSON access log": {},
    "metrics, gunicorn's own access log": {
        "GUNICORN_CMD_ARGS": "--logger-class gunicorn.glogging.Logger"
    },
}


def requests_per_second(
    image: str, variables: dict[str, str], seconds: int, *, engine_logs: bool
) -> float:
    """Load one variant with 64 connections, after a warm-up of a second."""
    name = f"bench-{uuid.uuid4().hex[:12]}"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = COMMON | variables | {"APP_PORT": str(port)}
    if "METRICS_PORT" not in variables:
        environment["METRICS_PORT"] = str(port + 1 if port < 65535 else port - 1)
    options = [word for pair in environment.items() for word in ("--env", "=".join(pair))]
    address = f"http://127.0.0.1:{port}/hello/bench"
    start = ["docker", "run", "--detach", "--name", name, "--network", "host", *options, image]
    start += [] if engine_logs else ["python3", "-c", DISCARD]
    try:
        subprocess.run(start, check=True, stdout=subprocess.DEVNULL)
        state = ["docker", "inspect", "--format", "{{.State.Health.Status}}", name]
        for _ in range(200):
            if subprocess.check_output(state, text=True) == "healthy\n":
                break
            time.sleep(0.1)
        else:
            sys.exit(f"error: {image} does not become healthy with {variables}")
        wrk = ["wrk", "--threads", "1", "--connections", "64", "--duration"]
        subprocess.run([*wrk, "1s", address], check=True, stdout=subprocess.DEVNULL)
        printed = subprocess.check_output([*wrk, f"{seconds}s", address], text=True)
    finally:
        remove = ["docker", "rm", "--force", "--volumes", name]
        subprocess.run(remove, check=False, stdout=subprocess.DEVNULL)
    found = re.search(r"Requests/sec:\s+([\d.]+)", printed)
    if not found or "Non-2xx" in printed:
        sys.exit(f"error: wrk failed on {variables}:\n{printed}")
    return float(found[1])


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--image", default="flask-microservice")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of each measurement")
    parser.add_argument("--engine-logs", action="store_true", help="let the engine read the logs")
    options = parser.parse_args()
    measured: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for number in range(options.rounds):
        for name, variables in VARIANTS.items():
            measured[name].append(
                requests_per_second(
                    options.image, variables, options.seconds, engine_logs=options.engine_logs
                )
            )
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
    baseline = statistics.median(measured["quiet"])
    print("| variant | requests/s | ratio | lowest to highest |\n| --- | --- | --- | --- |")
    for name, values in measured.items():
        middle = statistics.median(values)
        spread = f"{min(values) / baseline:.2f} to {max(values) / baseline:.2f}"
        print(f"| {name} | {middle:,.0f} | {middle / baseline:.2f} | {spread} |")


if __name__ == "__main__":
    main()
