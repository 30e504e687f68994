"""The greeting."""

from __future__ import annotations

from flask import Blueprint, current_app

blueprint = Blueprint("hello", __name__)


@blueprint.get("/hello/<name>")
def hello(name: str) -> dict[str, str]:
    """Greet `name`, and say from which environment."""
    settings = current_app.extensions["settings"]
    return {"message": f"Hello, {name}!", "environment": settings.app_env}
