"""Where the notes are kept: in the database, or in a file where there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import HAS_DATABASE

if TYPE_CHECKING or HAS_DATABASE:
    from .table import TakenError, kept
else:
    from .file import TakenError, kept

__all__ = ["TakenError", "kept"]
