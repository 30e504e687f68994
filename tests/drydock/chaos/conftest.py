from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def image(probe: str) -> str:
    """What these tests ask for only the tests' own service answers."""
    return probe
