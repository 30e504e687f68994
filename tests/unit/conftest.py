from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from app import create_app, database, logs
from app.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from werkzeug.test import TestResponse

    Build = Callable[..., Flask]


class ClosingClient(FlaskClient):
    """Reads and closes each answer, as a server does."""

    def open(self, *arguments: Any, **options: Any) -> TestResponse:
        return super().open(*arguments, **{"buffered": True, **options})


@pytest.fixture(autouse=True)
def closing_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Flask, "test_client_class", ClosingClient)


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Build]:
    """Builds applications whose database is empty at first and this test's own.

    That is SQLite, or the PostgreSQL server that TEST_DATABASE_URL names.
    """
    address = os.environ.get("TEST_DATABASE_URL") or f"sqlite:///{tmp_path}/test.sqlite"
    if address.startswith("postgresql"):
        engine = database.connect(Settings(database_url=address))
        with engine.begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
        engine.dispose()
    built = []

    def build(**values: object) -> Flask:
        defaults = {"app_env": "staging", "app_revision": "abc123", "api_token": "t0ken"}
        settings = Settings(**{"database_url": address, **defaults, **values})  # type: ignore[arg-type]
        database.migrate(settings)
        app = create_app(settings)
        built.append(app)
        return app

    yield build
    for app in built:
        app.extensions["engine"].dispose()


@pytest.fixture
def restored_logging() -> Iterator[None]:
    """For tests that configure logging: pytest's own handlers come back after."""
    handlers, level = logging.root.handlers, logging.root.level
    write = logs.write
    yield
    logs.write = write
    logging.root.handlers = handlers
    logging.root.setLevel(level)
    logging.captureWarnings(capture=False)


@pytest.fixture
def client(build: Build) -> FlaskClient:
    return build().test_client()
