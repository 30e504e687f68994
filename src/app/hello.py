"""The greeting."""

from __future__ import annotations

from marshmallow import Schema, fields

from app.settings import Settings
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
    return {"message": f"Hello, {name}!", "environment": Settings.current().app_env}
