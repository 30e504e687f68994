"""From `docker run` to the first 200, in parts: where the time of a cold start goes.

    python3 bench/parts.py [--image NAME] [--rounds N]

Needs the image alone. Each round starts the service twice: as it is, which creates and migrates its
embedded database, and with a volume where that is done already. Bare Python, started and ended in a
container of the same image in the same round, is the yardstick: a machine is never the same twice.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import socket
import statistics
import subprocess
import time
import uuid
from datetime import datetime

# In the container, in place of the command `gunicorn`: the same, with the time at three points.
LAUNCH = """
import time
points = {"interpreter": time.time()}
import app, drydock.factory, drydock.server.hooks, drydock.server.logger, gunicorn.app.wsgiapp
app.service.import_parts()
points["imports"] = time.time()
build = drydock.factory.build
def timed(*arguments):
    began = time.time()
    built = build(*arguments)
    points["settings"], points["application"] = began, time.time()
    import json
    print(json.dumps(points), flush=True)
    return built
drydock.factory.build = timed
import sys
sys.argv = ["gunicorn"]
gunicorn.app.wsgiapp.run()
"""
PARTS = {
    "container": "the engine, until the process starts",
    "interpreter": "CPython, until the first line",
    "imports": "the service's and gunicorn's modules",
    "settings": "gunicorn.conf.py: settings, limits, logs",
    "application": "the application; in a new container also the database",
    "workers": "sockets, workers, the first response",
}


def docker(*arguments: str) -> str:
    """Run a docker command and return what it prints."""
    return subprocess.check_output(["docker", *arguments], text=True)


def responds(port: int) -> bool:
    """Whether the service responds with a 200 by now."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/livez")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def start(image: str, volume: str | None) -> dict[str, float]:
    """Start the service once; the seconds that each part took."""
    name = f"bench-{uuid.uuid4().hex[:12]}"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["--network", "host", "--env", f"APP_PORT={port}", "--env", "METRICS_PORT=0"]
    options += ["--volume", f"{volume}:/data"] if volume else []
    began = time.time()
    try:
        docker("run", "--detach", "--name", name, *options, image, "python3", "-c", LAUNCH)
        while not responds(port):
            if time.time() - began > 60:
                raise SystemExit(f"error: {image} does not respond:\n{docker('logs', name)}")
            time.sleep(0.002)
        ended = time.time()
        lines = docker("logs", name).splitlines()
        points = next(json.loads(line) for line in lines if '"interpreter"' in line)
        stamp = docker("inspect", "--format", "{{.State.StartedAt}}", name).strip()
    finally:
        remove = ["docker", "rm", "--force", "--volumes", name]
        subprocess.run(remove, check=False, stdout=subprocess.DEVNULL)
    # Nanoseconds, of which Python takes six digits.
    started = datetime.fromisoformat(stamp.partition(".")[0] + "+00:00").timestamp()
    started += float("0." + stamp.partition(".")[2].rstrip("Z"))
    times = [began, started, *(points[p] for p in list(PARTS)[1:5]), ended]
    return dict(zip(PARTS, (b - a for a, b in itertools.pairwise(times)), strict=True))


def bare(image: str) -> float:
    """The seconds that a container takes which only starts Python."""
    began = time.time()
    docker("run", "--rm", image, "python3", "-c", "pass")
    return time.time() - began


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--image", default="flask-microservice")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    volume = f"bench-{uuid.uuid4().hex[:12]}"
    fresh, again, yardstick = [], [], []
    try:
        start(options.image, volume)  # makes the database
        for _ in range(options.rounds):
            yardstick.append(bare(options.image))
            fresh.append(start(options.image, None))
            again.append(start(options.image, volume))
    finally:
        remove = ["docker", "volume", "rm", "--force", volume]
        subprocess.run(remove, check=False, stdout=subprocess.DEVNULL)
    unit = statistics.median(yardstick)
    print(f"Python alone, started and ended in a container: {unit * 1000:.0f} ms, here 1.00\n")
    print("| Part | New, ms | Ratio | With its data, ms | Ratio | |\n|---|---|---|---|---|---|")
    rows = [*PARTS.items(), ("all", "")]
    for part, meaning in rows:
        cells = []
        for runs in (fresh, again):
            seconds = [run.get(part, sum(run.values())) for run in runs]
            middle = statistics.median(seconds)
            cells += [f"{middle * 1000:.0f}", f"{middle / unit:.2f}"]
        print(f"| {part} | {' | '.join(cells)} | {meaning} |")


if __name__ == "__main__":
    main()
