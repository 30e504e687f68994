"""The greeting."""

from __future__ import annotations

from flask import current_app
from marshmallow import Schema, fields

from drydock.api import Blueprint

blueprint = Blueprint("hello", __name__, description="The greeting")


class Greeting(Schema):
    """A greeting."""

    message = fields.String(required=True)
    environment = fields.String(required=True)


@blueprint.route("/hello/<name>")
@blueprint.problems(404)
@blueprint.response(200, Greeting)
def hello(name: str) -> dict[str, str]:
    """Greet somebody, and say from which environment."""
    settings = current_app.extensions["settings"]
    return {"message": f"Hello, {name}!", "environment": settings.app_env}
