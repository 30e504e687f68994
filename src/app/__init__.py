"""The service: what it consists of, for the machinery in `drydock` to serve it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import drydock

if TYPE_CHECKING:
    from flask import Flask

service = drydock.Service(
    __name__,
    settings="app.settings:Settings",
    parts=("app.index", "app.hello", "app.blogs"),
    migrations="app.migrations",
    work="app.work:step",
)


def create_app(settings: drydock.Settings | None = None) -> Flask:
    """Build the application. A function, since `flask run` takes no method.

    Raises:
        SystemExit: with one clear line for each thing that is wrong with the environment.

    """
    return service.create_app(settings)
