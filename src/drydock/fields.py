"""What most resources need of requests and tables: paging, ids, printable text, aware times."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from marshmallow import Schema, fields, validate
from sqlalchemy import DateTime
from sqlalchemy.types import TypeDecorator
from werkzeug.exceptions import NotFound

from drydock.validators import Printable

if TYPE_CHECKING:
    from sqlalchemy import Dialect

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


class AwareDateTime(TypeDecorator[datetime.datetime]):
    """A time that is aware of its time zone, always UTC when it is read.

    SQLite keeps no time zone and gives naive times back, PostgreSQL those of the connection's zone.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(
        self, value: datetime.datetime | None, dialect: Dialect
    ) -> datetime.datetime | None:
        """Take an aware time to the database, in UTC.

        Raises:
            ValueError: if it is naive: which moment it means is not known.

        """
        if value is None:
            return None
        if value.utcoffset() is None:
            raise ValueError(f"{value!r} has no time zone")
        value = value.astimezone(datetime.UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(
        self, value: datetime.datetime | None, dialect: Dialect
    ) -> datetime.datetime | None:
        """Return the time in UTC."""
        if value is None:
            return None
        if dialect.name == "sqlite":
            return value.replace(tzinfo=datetime.UTC)
        return value.astimezone(datetime.UTC)
