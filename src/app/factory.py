"""Puts the application together: the one list of the service's parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Flask

from app import errors, health, hello, info

if TYPE_CHECKING:
    from app.settings import Settings


def build(settings: Settings) -> Flask:
    """Build the application: its parts, and the settings where each part finds them."""
    # Neither templates nor static files: a file that appears there must not be served.
    app = Flask("app", static_folder=None, template_folder=None)
    app.extensions["settings"] = settings
    errors.init_app(app)
    for part in (hello, info, health):
        app.register_blueprint(part.blueprint)
    return app
