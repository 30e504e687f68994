"""The service's own tests; the machinery's are in tests/drydock and need none of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from app import service
from app.settings import Settings
from applications import builder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from flask.testing import FlaskClient

    from applications import Build


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Build]:
    """Builds the application from settings by their names, with an empty database."""
    with builder(service, Settings, tmp_path) as build:
        yield build


@pytest.fixture
def client(build: Build) -> FlaskClient:
    return build().test_client()
