"""How much a run proves: with TEST_FULL=1, as `make test-full` has it, all at length.

Without it each promise is proved as well, but with fewer rounds, examples and connections: enough
to notice what is broken. With TEST_QUICK=1, as `make test` has it, without what is marked `slow`.
"""

from __future__ import annotations

import os

FULL = bool(os.environ.get("TEST_FULL"))
QUICK = bool(os.environ.get("TEST_QUICK")) and not FULL


def rounds(full: int, short: int) -> range:
    """So many, by whether this run is a full one."""
    return range(full if FULL else short)
