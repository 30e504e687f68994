"""From `docker run` to the first 200, in parts: where the time of a cold start goes.

Each round starts the service twice: as it is, which creates and migrates its embedded database, and
with a volume where that is done already.
"""

from __future__ import annotations

import itertools
import json
import statistics
import time
from datetime import datetime
from typing import TYPE_CHECKING

import tables
from common import say
from containers import docker
from start import Start, starting

if TYPE_CHECKING:
    from servers import Images

# In the container, in place of the command `gunicorn`: the same, with the time at three points. The
# garbage collector is off, as by deploy/sitecustomize.py, and gunicorn's order of imports is kept.
LAUNCH = """
import gc, time
gc.disable()
points = {"interpreter": time.time()}
import gunicorn.app.wsgiapp, app, drydock.server.config, drydock.server.worker, drydock.factory
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
COLUMNS = ("New, ms", "With its data, ms")


def once(images: Images, *options: str) -> dict[str, float]:
    """Start the service once; the ms that each part took.

    Raises:
        AssertionError: if it does not answer.

    """
    began = time.time()
    with starting(Start(images.service, options, ("python3", "-c", LAUNCH))) as server:
        ended = time.time()
        lines = docker("logs", server.name).stdout.splitlines()
        points = next(json.loads(line) for line in lines if '"interpreter"' in line)
        stamp = docker("inspect", "--format", "{{.State.StartedAt}}", server.name).stdout.strip()
    # Nanoseconds, of which Python takes six digits.
    whole, _, fraction = stamp.rstrip("Z").partition(".")
    started = datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{fraction}")
    times = [began, started, *(points[part] for part in list(PARTS)[1:5]), ended]
    return {
        part: (b - a) * 1000 for part, (a, b) in zip(PARTS, itertools.pairwise(times), strict=True)
    }


def table(images: Images, rounds: int) -> str:
    """Measure; a row for each part."""
    found: dict[str, list[dict[str, float]]] = {column: [] for column in COLUMNS}
    for number in range(rounds):
        say(f"parts of a start, round {number + 1} of {rounds}")
        for column, options in zip(
            COLUMNS, ((), ("--volume", f"{images.volume}:/data")), strict=True
        ):
            found[column].append(once(images, *options))
    rows = []
    for part, meaning in {**PARTS, "all": ""}.items():
        middles = (
            statistics.median(run.get(part, sum(run.values())) for run in runs)
            for runs in found.values()
        )
        rows.append([part, *map(tables.number, middles), meaning])
    return tables.table(["Part", *COLUMNS, ""], rows)
