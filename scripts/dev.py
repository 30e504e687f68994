"""Run the stack for development, in the foreground, until Ctrl-C.

The sources are mounted into the containers, where werkzeug's reloader sees an edit; what else runs
the image is restarted from here. What the image is made of is watched as well, and so are
migrations: when they change, the image is built again, the database migrated, and each container
replaced if its image is another one.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import engine
import image
import stack
import stand_ins
from common import ROOT, die, entry, say

if TYPE_CHECKING:
    from types import FrameType

WATCHED = (
    *("Dockerfile", "pyproject.toml", ".flaskenv", "gunicorn.conf.py", "deploy/dev/serve.py"),
    "deploy/remove_unused.py",
    *(
        f"requirements/{name}.txt"
        for name in ("build", "database", "debug", "driver", "runtime", "tracing")
    ),
    *(f"requirements/{name}.list" for name in ("database", "debian", "optional", "unused")),
)
# Half seconds without an edit before the others are restarted: the page is to show it first.
QUIET_TURNS = 4


def times(*files: Path) -> dict[Path, int]:
    """When each file was last written; 0 while an editor is replacing it."""
    return {file: file.stat().st_mtime_ns if file.exists() else 0 for file in files}


def versions() -> dict[Path, int]:
    """What has to change for a new image, or for a migration.

    Migrations are not what the reloader is for: they run before the service starts.
    """
    migrations = (ROOT / "src/app/migrations/versions").glob("*.py")
    return times(*(ROOT / name for name in WATCHED), *migrations)


def sources() -> dict[Path, int]:
    """What has to change for a restart of what does not reload by itself."""
    return times(*(ROOT / "src").rglob("*.py"))


def configure(override: Path) -> list[str]:
    """Have compose read `override`, and keep a project of its own: other data, other networks.

    Returns the services of the image that go on running: app, and what a fork adds.
    """
    found = stack.config()["services"]
    own = found["app"]["image"]
    running = stack.services()
    changes: dict[str, dict[str, object]] = {
        name: {
            "image": image.name("dev"),
            "environment": {"APP_ENV": "development", "LOG_FORMAT": "text"},
            "volumes": [f"{ROOT}/src:/src:ro"],
        }
        for name, service in found.items()
        if service.get("image") == own
    }
    # A debugger's; on this machine only, for whoever attaches may run anything.
    changes["app"]["ports"] = [f"127.0.0.1:{debug_port()}:5678"]
    changes["app"]["networks"] = ["outer"]  # besides its own, where no port can be published
    override.write_text(json.dumps({"services": changes}))  # which is YAML, too
    os.environ["COMPOSE_PROJECT_NAME"] = stack.projects()[1]
    files = ["compose.yaml", *([stand_ins.LINK.name] if stand_ins.LINK.exists() else [])]
    os.environ["COMPOSE_FILE"] = os.pathsep.join([*files, str(override)])
    return running


def debug_port() -> str:
    """Where on this machine a debugger finds the service."""
    return os.environ.get("DEBUG_PORT") or "5678"


def start() -> None:
    """Build and start what has changed."""
    image.build("dev")
    stack.config.cache_clear()  # the files that compose reads are others now, or were edited
    done = stack.start()
    if done.returncode != 0:
        if any(word in done.stderr for word in ("already allocated", "address already in use")):
            die("PORT or DEBUG_PORT is in use on this machine: make dev PORT=8081 DEBUG_PORT=5679")
        stack.fail("the stack did not become healthy", done, *stack.unhealthy())


def stopped(_signal: int, _frame: FrameType | None) -> None:
    """End as with Ctrl-C."""
    raise KeyboardInterrupt


def main() -> None:
    """Run for as long as nobody says stop."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stopped)
    with (ROOT / stand_ins.TARGET).open() as lock:
        # Two would share containers, and the first to end would take them from the other.
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            die("`make dev` runs already in this checkout")
        serve()


def serve() -> None:
    """Start, show what the services print, follow changes; stop in the end."""
    stack.port()  # so that an error in it is reported before the build
    engine.main()
    stack.check_modes()
    stand_ins.put_in_place()
    stack.make_secrets()
    with tempfile.TemporaryDirectory() as folder:
        services = configure(Path(folder, "compose.json"))
        others = [name for name in services if name != "app"]  # that one reloads by itself
        logs: dict[str, subprocess.Popen[bytes]] = {}
        try:
            seen = versions(), sources()
            pending = 0  # turns until what was edited is restarted
            start()
            address = stack.gateway()[0]
            say(
                f"the page is at {address}, a debugger can attach at localhost:{debug_port()};"
                " Ctrl-C ends"
            )
            while True:
                for service in services:
                    follow(service, logs)
                time.sleep(0.5)
                now = versions(), sources()
                if now[0] != seen[0]:
                    start_again()
                elif others and now[1] != seen[1]:
                    pending = QUIET_TURNS
                elif pending:
                    pending -= 1
                    if pending == 0:
                        stack.compose("restart", *others)
                seen = now
        finally:
            say("stopping; the data is kept ...")
            stack.compose("down")
            for each in logs.values():
                each.terminate()
                each.wait()


def follow(service: str, logs: dict[str, subprocess.Popen[bytes]]) -> None:
    """Show what the service prints, unless that goes on already."""
    if service not in logs or logs[service].poll() is not None:
        # Ends with the container that it follows.
        command = (*stack.COMPOSE, "logs", "--follow", "--no-log-prefix", "--since=1s", service)
        logs[service] = subprocess.Popen(command)


def start_again() -> None:
    """Build and start what has changed, or go on as before."""
    try:
        start()
    except SystemExit:
        say("the service runs unchanged; correct the error and save again")


if __name__ == "__main__":
    with entry():
        main()
