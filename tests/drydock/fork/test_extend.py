"""docs/extend.md, followed in a fork from its first line to its last."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import howto

if TYPE_CHECKING:
    from forks import Fork

EXTEND = "docs/extend.md"


@pytest.mark.parametrize("section", howto.sections(EXTEND))
def test_it_can_be_followed(adopted: Fork, section: str) -> None:
    """Its commands are typed, its code is written, and what it says comes out."""
    adopted.follow(EXTEND, section)
