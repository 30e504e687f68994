"""What this service is and what it offers."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
from typing import TYPE_CHECKING, Any

from flask import Blueprint, current_app

if TYPE_CHECKING:
    from flask.blueprints import BlueprintSetupState

blueprint = Blueprint("info", __name__)


@blueprint.record_once
def _collect(state: BlueprintSetupState) -> None:
    """Gather once, at start, what does not change while the process lives."""
    settings = state.app.extensions["settings"]
    # The package and its command are `app` in every fork; the distribution has the service's name.
    (command,) = importlib.metadata.entry_points(group="console_scripts", name="app")
    assert command.dist is not None  # noqa: S101 (true of every installed distribution)
    name = command.dist.name
    state.app.extensions["info"] = {
        "name": name,
        "version": command.dist.version,
        "revision": settings.app_revision,
        "environment": settings.app_env,
        "python_version": platform.python_version(),
        "started_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


@blueprint.get("/")
def index() -> dict[str, Any]:
    """Greet, and list the paths that can be read."""
    paths = {
        rule.rule for rule in current_app.url_map.iter_rules() if "GET" in (rule.methods or ())
    }
    return {"message": "Hello from Docker!", "paths": sorted(paths)}


@blueprint.get("/GetMyInfo")
def get_my_info() -> dict[str, Any]:
    """Describe the running service."""
    info: dict[str, Any] = current_app.extensions["info"]
    return info
