"""Whether the fork's service has a database: the one place that tells the tests.

The declaration is the lock with what a database needs: without that file the image has nothing of
it (docs/without-database.md). What is marked `database` then has nothing to prove.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

LOCK = Path(__file__).parents[1] / "requirements/database.txt"
HAS_DATABASE = LOCK.exists()
NOTE = (
    f"no database: there is no requirements/{LOCK.name}, and what is marked `database` is left out"
)


def ignored(path: Path) -> bool | None:
    """Whether not to read a file: one that is marked as a whole may import what is not there."""
    if HAS_DATABASE or path.suffix != ".py":
        return None
    return "\npytestmark = pytest.mark.database\n" in path.read_text() or None


def needs_one(item: pytest.Item) -> bool:
    """Whether a test needs a database: it is marked, or it asks for a server."""
    asks = "database" in getattr(item, "fixturenames", ())
    return asks or item.get_closest_marker("database") is not None


def leave_out(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests that need a database, where there is none."""
    if HAS_DATABASE:
        return
    left_out = [item for item in items if needs_one(item)]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)
