from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from app import create_app
from app.settings import Settings

if TYPE_CHECKING:
    from flask.testing import FlaskClient


@pytest.fixture
def client() -> FlaskClient:
    return create_app(Settings(app_env="staging", app_revision="abc123")).test_client()
