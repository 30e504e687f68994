"""Applications for unit tests: each with a database that is its own, and empty at first."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from flask.testing import FlaskClient
from sqlalchemy import text

import drydock
from drydock import State, database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from flask import Flask
    from werkzeug.test import TestResponse

    Build = Callable[..., Flask]


class ClosingClient(FlaskClient):
    """Reads and closes each response, as a server does."""

    def open(self, *arguments: Any, **options: Any) -> TestResponse:
        return super().open(*arguments, **{"buffered": True, **options})


@contextlib.contextmanager
def builder(
    service: drydock.Service, settings: type[drydock.Settings], folder: Path
) -> Iterator[Build]:
    """Give a function that builds the service's application from settings by their names.

    Its database is SQLite in `folder`, or the PostgreSQL server that TEST_DATABASE_URL names.
    """
    address = os.environ.get("TEST_DATABASE_URL") or f"sqlite:///{folder}/test.sqlite"
    if address.startswith("postgresql"):
        engine = database.connect(drydock.Settings(database_url=address))
        with engine.begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
        engine.dispose()
    built = []

    def build(**values: Any) -> Flask:
        defaults = {"app_env": "staging", "app_revision": "abc123", "api_token": "t0ken"}
        chosen = settings(**{"database_url": address, **defaults, **values})
        service.migrate(chosen)
        app = service.create_app(chosen)
        app.test_client_class = ClosingClient
        built.append(app)
        return app

    yield build
    for app in built:
        State.of(app).engine.dispose()
