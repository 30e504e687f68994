"""The fields of requests that most resources need: ids."""

from __future__ import annotations

import pytest
from werkzeug.exceptions import NotFound

from drydock.fields import LARGEST_ID, storable_id


@pytest.mark.parametrize("number", [0, LARGEST_ID])
def test_an_id_that_fits_is_taken(number: int) -> None:
    assert storable_id(number, "absent") == number


def test_a_larger_id_is_not_found() -> None:
    with pytest.raises(NotFound, match="absent"):
        storable_id(LARGEST_ID + 1, "absent")
