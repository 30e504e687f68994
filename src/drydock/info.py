"""What this service is and what it offers."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
from typing import TYPE_CHECKING, Any

from flask import current_app
from marshmallow import Schema, fields

from drydock.api import Blueprint, route_template

if TYPE_CHECKING:
    from drydock.settings import Settings

blueprint = Blueprint("info", __name__, description="About the service")


class Index(Schema):
    """The greeting and the paths."""

    message = fields.String(required=True)
    paths = fields.List(fields.String, required=True)


class Info(Schema):
    """The running service."""

    name = fields.String(required=True)
    version = fields.String(required=True)
    revision = fields.String(required=True, allow_none=True)
    environment = fields.String(required=True)
    python_version = fields.String(required=True)
    started_at = fields.String(required=True, metadata={"format": "date-time"})


def collect(settings: Settings) -> dict[str, Any]:
    """Gather, once at start, what does not change while the process lives."""
    # The package and its command are `app` in every fork; the distribution has the service's name.
    (command,) = importlib.metadata.entry_points(group="console_scripts", name="app")
    assert command.dist is not None  # noqa: S101 (true of every installed distribution)
    return {
        "name": command.dist.name,
        "version": command.dist.version,
        "revision": settings.app_revision,
        "environment": settings.app_env,
        "python_version": platform.python_version(),
        "started_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


@blueprint.route("/")
@blueprint.problems()
@blueprint.response(200, Index)
def index() -> dict[str, Any]:
    """Greet, and list the paths that can be read."""
    rules = current_app.url_map.iter_rules()
    paths = {route_template(rule.rule) for rule in rules if "GET" in (rule.methods or ())}
    return {"message": "Hello from Docker!", "paths": sorted(paths)}


@blueprint.route("/GetMyInfo")
@blueprint.problems()
@blueprint.response(200, Info)
def get_my_info() -> dict[str, Any]:
    """Describe the running service."""
    info: dict[str, Any] = current_app.extensions["info"]
    return info
