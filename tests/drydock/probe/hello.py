"""What every test can ask for: a greeting, the paths, the facts about the running service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import current_app
from marshmallow import Schema, fields

import drydock
from drydock.api import Blueprint, route_template

from .settings import Settings

if TYPE_CHECKING:
    from drydock.info import Info

blueprint = Blueprint("hello", __name__, description="The greeting")


class Index(Schema):
    """The greeting and the paths."""

    message = fields.String(required=True)
    paths = fields.List(fields.String, required=True)


class InfoSchema(Schema):
    """The running service."""

    name = fields.String(required=True)
    version = fields.String(required=True)
    revision = fields.String(required=True, allow_none=True)
    environment = fields.String(required=True)
    python_version = fields.String(required=True)
    started_at = fields.String(required=True, metadata={"format": "date-time"})


@blueprint.route("/")
@blueprint.problems()
@blueprint.response(200, Index)
def index() -> dict[str, Any]:
    """Greet, and list the paths that can be read."""
    rules = current_app.url_map.iter_rules()
    paths = {route_template(rule.rule) for rule in rules if "GET" in (rule.methods or ())}
    return {"message": Settings.current().greeting, "paths": sorted(paths)}


@blueprint.route("/about")
@blueprint.problems()
@blueprint.response(200, InfoSchema)
def about() -> Info:
    """Describe the running service."""
    return drydock.current().info


class Greeting(Schema):
    """A greeting."""

    message = fields.String(required=True)
    environment = fields.String(required=True)


@blueprint.route("/hello/<name>")
@blueprint.problems(404)
@blueprint.response(200, Greeting)
def hello(name: str) -> dict[str, str]:
    """Greet somebody, and say from which environment."""
    return {"message": f"Hello, {name}!", "environment": Settings.current().app_env}
