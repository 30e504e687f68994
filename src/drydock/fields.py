"""What most resources need of requests and tables: paging, ids, printable text, aware times."""

from __future__ import annotations

from typing import TYPE_CHECKING

from marshmallow import Schema, fields, validate
from werkzeug.exceptions import NotFound

from drydock.validators import Printable

if TYPE_CHECKING:
    from drydock.database import AwareDateTime

__all__ = ["LARGEST_ID", "AwareDateTime", "PageArguments", "Paged", "Printable", "storable_id"]

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


def __getattr__(name: str) -> object:
    """Import AwareDateTime when it is asked for: a service without a database has no need of it."""
    if name == "AwareDateTime":
        from drydock.database import AwareDateTime

        return AwareDateTime
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
