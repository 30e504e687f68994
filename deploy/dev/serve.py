"""The development server of `make dev`: restarts after each edit, and lets a debugger attach."""

from __future__ import annotations

import os
import traceback
from typing import TYPE_CHECKING

from werkzeug.serving import run_simple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


def broken(_environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Stand in for an application that could not be loaded, until the next edit repairs it."""
    start_response("500 INTERNAL SERVER ERROR", [("Content-Type", "text/plain; charset=utf-8")])
    return [problem.encode()]


def load() -> WSGIApplication:
    """Load the application; whatever is wrong with it must not end the server."""
    global problem
    try:
        from app import create_app

        return create_app()
    except (Exception, SystemExit):
        problem = traceback.format_exc()
        print(problem, flush=True)
        return broken


problem = ""

if __name__ == "__main__":
    application: WSGIApplication = broken
    # In the process that serves, not in its parent, which watches and restarts it.
    if os.environ.get("WERKZEUG_RUN_MAIN") == "true":
        import debugpy

        # In this process: another one would still hold the port after the next restart.
        debugpy.listen(("0.0.0.0", 5678), in_process_debug_adapter=True)
        application = load()
    run_simple(
        os.environ["APP_HOST"],
        int(os.environ.get("APP_PORT") or 5000),
        application,
        threaded=True,
        use_reloader=True,
        # By the files' times: not on every machine does a container get events for changes outside
        # of it. The interval is annotated as an int here, as a float where it is used, for
        # time.sleep(); a whole second would be half of what an edit may take.
        reloader_type="stat",
        reloader_interval=0.2,  # type: ignore[arg-type]
    )
