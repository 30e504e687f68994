"""What most resources need of requests: paging, ids, printable text."""

from __future__ import annotations

from marshmallow import Schema, fields, validate
from werkzeug.exceptions import NotFound

from drydock.validators import Printable

__all__ = ["LARGEST_ID", "PageArguments", "Paged", "Printable", "storable_id"]

LARGEST_ID = 2**31 - 1  # what PostgreSQL's integer holds


class PageArguments(Schema):
    """Which part of a list."""

    page = fields.Integer(load_default=1, validate=validate.Range(1, 1_000_000))
    page_size = fields.Integer(load_default=20, validate=validate.Range(1, 100))


class Paged(Schema):
    """A part of a list; the list itself is a subclass's."""

    page = fields.Integer(required=True)
    page_size = fields.Integer(required=True)
    total = fields.Integer(required=True, metadata={"description": "How many there are in all."})


def storable_id(number: int, absent: str) -> int:
    """The id, if a row could have it; the database would fail on a larger one.

    Raises:
        NotFound: with `absent` as its detail.

    """
    if number > LARGEST_ID:
        raise NotFound(absent)
    return number
