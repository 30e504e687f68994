"""Applications for unit tests: each with data that is its own, and empty at first."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from typing import TYPE_CHECKING, Any

from flask.testing import FlaskClient

from drydock import Settings, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from flask import Flask
    from werkzeug.test import TestResponse

    from drydock import BaseSettings, Service

    Build = Callable[..., Flask]


class ClosingClient(FlaskClient):
    """Reads and closes each response, as a server does."""

    def open(self, *arguments: Any, **options: Any) -> TestResponse:
        return super().open(*arguments, **{"buffered": True, **options})


@contextlib.contextmanager
def builder(service: Service, settings: type[BaseSettings], folder: Path) -> Iterator[Build]:
    """Give a function that builds the service's application from settings by their names.

    Its database, if it has one, is SQLite in `folder`, or the PostgreSQL server that
    TEST_DATABASE_URL names. Other data is in `folder` as well, if it has a setting `data_dir`.
    """
    own: dict[str, Any] = {}
    if "data_dir" in (field.name for field in dataclasses.fields(settings)):
        own["data_dir"] = folder
    if service.has_database:
        address = os.environ.get("TEST_DATABASE_URL")
        own["database_url"] = address or f"sqlite:///{folder}/test.sqlite"
        if address:
            empty(address)
    built = []

    def build(**values: Any) -> Flask:
        defaults = {"app_env": "staging", "app_revision": "abc123", "api_token": "t0ken"}
        chosen = settings(**{**own, **defaults, **values})
        if isinstance(chosen, Settings):
            service.migrate(chosen)
        app = service.create_app(chosen)
        app.test_client_class = ClosingClient
        built.append(app)
        return app

    yield build
    for app in built:
        if (engine := State.of(app).database) is not None:
            engine.dispose()


def settings_of(app: Flask) -> Settings:
    """The settings of an application that has a database."""
    settings = State.of(app).settings
    assert isinstance(settings, Settings)
    return settings


def empty(address: str) -> None:
    """Empty the database at a PostgreSQL server."""
    from sqlalchemy import text

    from drydock.database import connect

    engine = connect(Settings(database_url=address))
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()
