"""What is measured: this project's image and its peers, each as people ship it."""

from __future__ import annotations

import dataclasses
import os

from containers import HARDENED

CPUS = len(os.sched_getaffinity(0))
# As production runs it, with room for more connections than one container there has.
SERVICE_OPTIONS = (*HARDENED, "--memory", "1g", "--pids-limit", "512")
Variables = dict[str, str]
QUIET = {"LOG_LEVEL": "warning", "METRICS_PORT": "0"}
# Not to stop a worker in the middle of a round.
LASTING = {"WEB_MAX_REQUESTS": "0"}


@dataclasses.dataclass(frozen=True)
class Shape:
    """A server to measure.

    Attributes:
        title: its name in tables and errors.
        command: what the container runs.
        variables: its environment; each server finds its port there as well.
        service: whether it runs in the project's image; if not, in the peers' one.
        bare: whether it answers everything with the greeting.

    """

    title: str
    command: tuple[str, ...]
    variables: Variables = dataclasses.field(default_factory=dict)
    service: bool = False
    bare: bool = False


def service(title: str, variables: Variables, workers: int = CPUS) -> Shape:
    """This project's service, with the endpoints of bench/peers/endpoints.py."""
    command = ("gunicorn", "--pythonpath", "/bench", "service:app")
    environment = LASTING | {"WEB_CONCURRENCY": str(workers)} | variables
    return Shape(title, command, environment, service=True)


def gunicorn(title: str, *options: str, log: bool = False) -> Shape:
    """A peer by gunicorn, as it comes."""
    access = ("--access-logfile", "-") if log else ()
    return Shape(title, ("gunicorn", *options, *access, "notes:app"))


def granian(title: str, app: str, *options: str, workers: int = CPUS) -> Shape:
    """A peer by granian, with its own defaults."""
    command = ("granian", "--interface", "wsgi", "--workers", str(workers), *options, app)
    return Shape(title, command, bare=app == "bare:app")


SYNC = ("--workers", str(2 * CPUS + 1))  # gunicorn's own advice
GTHREAD = ("--workers", str(CPUS), "--threads", "4")
THREADS = ("--workers", "1", "--threads", "8", "--timeout", "0")  # Cloud Run's advice
GEVENT = ("--workers", str(CPUS), "--worker-class", "gevent")

ON = service("this image, everything on", {})
OFF = service("this image, quiet", QUIET)
SYNC_OFF = gunicorn("sync workers", *SYNC)
GTHREAD_OFF = gunicorn("gthread", *GTHREAD)
GTHREAD_ON = gunicorn("gthread, access log", *GTHREAD, log=True)
GEVENT_OFF = gunicorn("gevent", *GEVENT)
GRANIAN_OFF = granian("granian", "notes:app")
GRANIAN_ON = granian("granian, access log", "notes:app", "--access-log")

ALL = (
    ON,
    OFF,
    Shape("development server (logs always)", ("flask", "--app", "notes", "run")),
    SYNC_OFF,
    gunicorn("sync workers, access log", *SYNC, log=True),
    gunicorn("1 worker of 8 threads", *THREADS),
    gunicorn("1 worker of 8 threads, access log", *THREADS, log=True),
    GTHREAD_OFF,
    GTHREAD_ON,
    GEVENT_OFF,
    gunicorn("gevent, access log", *GEVENT, log=True),
    GRANIAN_OFF,
    GRANIAN_ON,
    Shape(
        "a bare function on this server",
        ("gunicorn", "--pythonpath", "/bench", "bare:app"),
        LASTING | QUIET | {"WEB_CONCURRENCY": str(CPUS)},
        service=True,
        bare=True,
    ),
    granian("a bare function on granian", "bare:app"),
)
# Without their logs, for what is no matter of logs.
FEW = (ON, OFF, SYNC_OFF, GTHREAD_OFF, GEVENT_OFF, GRANIAN_OFF)

# The engine takes more of the processor for a line than who writes it, unless nobody reads it.
DISCARD = """
import os, sys
os.dup2(os.open("/dev/null", os.O_WRONLY), 1)
os.execvp(sys.argv[1], sys.argv[1:])
"""


def unread(shape: Shape) -> Shape:
    """The same with standard output to /dev/null."""
    command = ("python3", "-c", DISCARD, *shape.command)
    return dataclasses.replace(shape, title=f"{shape.title}, unread", command=command)


# What logs and metrics cost this image, and what its worker does.
JSON = service("metrics, JSON access log", {})
STOCK = service(
    "metrics, gunicorn's own access log",
    {"GUNICORN_CMD_ARGS": "--logger-class gunicorn.glogging.Logger"},
)
COST = (
    OFF,
    service("metrics", {"LOG_LEVEL": "warning"}),
    unread(JSON),
    JSON,
    unread(STOCK),
    STOCK,
)
WORKER = tuple(
    service(name, {"LOG_LEVEL": "warning", "GUNICORN_CMD_ARGS": f"--worker-class {kind}"})
    for name, kind in (("gthread", "gthread"), ("this worker", "drydock.server.worker.Worker"))
)


def of_workers(workers: int) -> tuple[Shape, ...]:
    """The same few with so many workers each."""
    named = f" x {workers}"
    return (
        service(ON.title + named, {}, workers),
        gunicorn(GTHREAD_OFF.title + named, "--workers", str(workers), "--threads", "4"),
        granian(GRANIAN_OFF.title + named, "notes:app", workers=workers),
    )
