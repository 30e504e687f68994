"""What logs and metrics cost: throughput as a ratio to the quiet service, in the same run.

    python3 bench/throughput.py [--image NAME] [--rounds N]

Needs wrk (a Debian package of that name) and the image. The variants take turns, since a machine is
never the same twice, and the median of the rounds counts.
"""

from __future__ import annotations

import argparse
import statistics
import sys

from container import running, wrk

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


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--image", default="flask-microservice")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of each measurement")
    parser.add_argument("--engine-logs", action="store_true", help="let the engine read the logs")
    options = parser.parse_args()
    command = () if options.engine_logs else ("python3", "-c", DISCARD)
    measured: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for number in range(options.rounds):
        for name, variables in VARIANTS.items():
            with running(options.image, variables, *command) as (_, port):
                wrk(port, 1)
                measured[name].append(wrk(port, options.seconds))
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
    baseline = statistics.median(measured["quiet"])
    print("| variant | requests/s | ratio | lowest to highest |\n| --- | --- | --- | --- |")
    for name, values in measured.items():
        middle = statistics.median(values)
        spread = f"{min(values) / baseline:.2f} to {max(values) / baseline:.2f}"
        print(f"| {name} | {middle:,.0f} | {middle / baseline:.2f} | {spread} |")


if __name__ == "__main__":
    main()
