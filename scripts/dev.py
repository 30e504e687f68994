"""Run the stack for development, in the foreground, until Ctrl-C.

The sources are mounted into the container, where werkzeug's reloader sees an edit. What the image
is made of is watched here, and so are migrations: when they change, the image is built again, the
database migrated, and the container replaced if its image is another one.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
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
    *("requirements/build.txt", "requirements/runtime.txt", "requirements/debug.txt"),
)


def versions() -> dict[str, int]:
    """When each watched file was last written; 0 while an editor is replacing it."""
    files = [ROOT / name for name in WATCHED]
    # Migrations are not what the reloader is for: they run before the service starts.
    files += (ROOT / "src/app/migrations/versions").glob("*.py")
    return {file.name: file.stat().st_mtime_ns if file.exists() else 0 for file in files}


def configure() -> None:
    """Have compose read the override, and keep a project of its own: other data, other networks."""
    os.environ["DEV_IMAGE"] = image.name("dev")
    os.environ["COMPOSE_PROJECT_NAME"] = stack.projects()[1]
    files = ["compose.yaml", *([stand_ins.LINK.name] if stand_ins.LINK.exists() else [])]
    os.environ["COMPOSE_FILE"] = os.pathsep.join([*files, "deploy/dev/compose.yaml"])


def start() -> None:
    """Build and start what has changed."""
    image.build("dev")
    done = stack.compose("up", "--detach", "--no-build", "--wait")
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
    """Start, show what the service prints, follow changes; stop in the end."""
    address = f"http://localhost:{stack.port()}/"
    engine.main()
    stack.check_modes()
    stand_ins.put_in_place()
    stack.make_secrets()
    configure()
    logs = None
    try:
        seen = versions()
        start()
        debugger = os.environ.get("DEBUG_PORT") or "5678"
        say(f"the page is at {address}, a debugger can attach at localhost:{debugger}; Ctrl-C ends")
        while True:
            if logs is None or logs.poll() is not None:
                # Ends with the container that it follows.
                follow = ("logs", "--follow", "--no-log-prefix", "--since=1s", "app")
                logs = subprocess.Popen([*stack.COMPOSE, *follow])
            time.sleep(0.5)
            if (now := versions()) != seen:
                seen = now
                try:
                    start()
                except SystemExit:
                    say("it goes on as it was; mend it, and save it again")
    finally:
        say("stopping; the data is kept ...")
        stack.compose("down")
        if logs is not None:
            logs.terminate()
            logs.wait()


if __name__ == "__main__":
    with entry():
        main()
