"""Times in tables: aware of their zone, whatever the database keeps."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Column, Integer, MetaData, Table, insert, select
from sqlalchemy.exc import StatementError

from drydock import State
from drydock.database import AwareDateTime

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from applications import Build

pytestmark = pytest.mark.database

METADATA = MetaData()
EVENTS = Table("events", METADATA, Column("id", Integer), Column("at", AwareDateTime()))
UTC = datetime.UTC
TOKYO = datetime.timezone(datetime.timedelta(hours=9))


@pytest.fixture
def connection(build: Build) -> Iterator[Connection]:
    """A connection to a database with a table that has times in it."""
    with State.of(build()).engine.begin() as connection:
        METADATA.create_all(connection)
        yield connection


@pytest.mark.parametrize(
    "given",
    [
        datetime.datetime(2026, 1, 31, 23, 59, 59, 123456, UTC),
        datetime.datetime(2026, 2, 1, 8, 0, tzinfo=TOKYO),
        None,
    ],
)
def test_times_come_back_in_utc(connection: Connection, given: datetime.datetime | None) -> None:
    connection.execute(insert(EVENTS).values(at=given))
    found = connection.scalar(select(EVENTS.c.at))
    assert found == given
    if found is not None:
        assert found.tzinfo is UTC
        assert connection.scalar(select(EVENTS.c.id.is_(None)).where(EVENTS.c.at == given))


def test_times_are_ordered_whatever_their_zone(connection: Connection) -> None:
    early = datetime.datetime(2026, 2, 1, 8, 30, tzinfo=TOKYO)
    late = datetime.datetime(2026, 2, 1, 0, 0, tzinfo=UTC)
    connection.execute(insert(EVENTS), [{"at": late}, {"at": early}])
    assert list(connection.scalars(select(EVENTS.c.at).order_by(EVENTS.c.at))) == [early, late]


def test_a_naive_time_is_an_error(connection: Connection) -> None:
    naive = datetime.datetime(2026, 1, 31, tzinfo=UTC).replace(tzinfo=None)
    with pytest.raises(StatementError, match="has no time zone"):
        connection.execute(insert(EVENTS).values(at=naive))


def test_migrations_see_no_difference_in_a_table_of_times(connection: Connection) -> None:
    context = MigrationContext.configure(
        connection, opts={"include_name": lambda name, kind, _: kind != "table" or name == "events"}
    )
    assert compare_metadata(context, METADATA) == []
