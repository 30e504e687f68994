from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def image(probe: str) -> str:
    """Only the tests' own service has the paths that these tests request."""
    return probe
