from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import pytest
from flask import Flask

import database
from applications import ClosingClient, builder
from drydock import logs
from probe import service
from probe.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from flask.testing import FlaskClient

    from applications import Build


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    return database.ignored(collection_path)


def pytest_report_header() -> str | None:
    return None if database.HAS_DATABASE else database.NOTE


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On PostgreSQL run only what has a database; the rest would prove the same once more."""
    database.leave_out(config, items)
    if os.environ.get("TEST_DATABASE_URL"):
        rest = [item for item in items if "build" not in getattr(item, "fixturenames", ())]
        items[:] = [item for item in items if item not in rest]
        config.hook.pytest_deselected(items=rest)


@pytest.fixture(autouse=True)
def closing_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Flask, "test_client_class", ClosingClient)


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Build]:
    with builder(service, Settings, tmp_path) as build:
        yield build


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
