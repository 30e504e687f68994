"""The database: PostgreSQL in production, an embedded SQLite where no address is set."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import functools
import logging
import os
import re
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import Gauge
from sqlalchemy import DateTime, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.types import TypeDecorator

from drydock import embedded, metrics
from drydock.context import current
from drydock.failures import StartError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import URL, Connection, Dialect
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

    from drydock.settings import Settings

log = logging.getLogger("app.database")

MIGRATIONS = Path(__file__).with_name("migrations")  # env.py, for every service
ADVISORY_LOCK = 0x64727964  # any number that all processes of the service agree on
FILE = "app.sqlite"  # in DATA_DIR

connections = Gauge(
    "app_database_connections", "Database connections in use.", multiprocess_mode="livesum"
)
connections_limit = Gauge(
    "app_database_connections_limit", "Database connections allowed.", multiprocess_mode="livesum"
)
metrics.on_entry.append(connections_limit.set)  # one for each thread: see connect()


class DatabaseError(StartError):
    """The database can't be used; the message is one line for the service's operator."""


class Model(DeclarativeBase):
    """What all tables' classes derive from."""


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


def url(settings: Settings) -> URL:
    """The database's address, with the driver that the image has."""
    if settings.database_url is None:
        return make_url(f"sqlite:///{settings.data_dir.absolute() / FILE}")
    given = make_url(settings.database_url)
    if given.drivername == "sqlite":
        return given
    return given.set(
        drivername="postgresql+psycopg", password=given.password or settings.database_password
    )


def connect(settings: Settings) -> Engine:
    """An engine with a connection for each thread of a worker; nothing is connected yet."""
    address = url(settings)
    seconds = settings.database_timeout
    if address.drivername == "sqlite":
        arguments: dict[str, object] = {"timeout": seconds}
    else:
        limits = f"-c statement_timeout={seconds * 1000} -c lock_timeout={seconds * 1000}"
        arguments = {
            "connect_timeout": max(seconds, 2),  # libpq takes 2 where less is given
            # For a server that is gone without closing its connections: TCP would wait 15 minutes.
            "tcp_user_timeout": seconds * 1000,
            "application_name": "app",
        }
        # What the address itself sets takes precedence.
        arguments = {k: v for k, v in arguments.items() if k not in address.query}
        arguments["options"] = f"{limits} {address.query.get('options', '')}"
    engine = create_engine(
        address,
        pool_size=settings.web_threads,
        max_overflow=0,
        pool_timeout=seconds,
        # A connection that has died since its last use is replaced before it is used.
        pool_pre_ping=True,
        # A statement's values are clients' data, which no trace in the log should hold.
        hide_parameters=True,
        connect_args=arguments,
    )
    if address.drivername == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "checkout", _count_out)
    event.listen(engine, "checkin", _count_in)
    # A worker is forked from a process that may have connected; two must not share a connection.
    os.register_at_fork(after_in_child=lambda: engine.dispose(close=False))
    return engine


def _count_out(_connection: object, record: ConnectionPoolEntry, _proxy: object) -> None:
    if record.record_info is not None:
        record.record_info["counted"] = True
        connections.inc()


def _count_in(_connection: object, record: ConnectionPoolEntry) -> None:
    # A connection that failed on its way out comes back in without having been counted.
    if record.record_info is not None and record.record_info.pop("counted", False):
        connections.dec()


def _set_up_sqlite(connection: DBAPIConnection, _record: object) -> None:
    """Let readers work beside a writer, and check references; neither is SQLite's default."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


@contextlib.contextmanager
def transaction() -> Iterator[Session]:
    """A session of the current application, committed in the end, or rolled back on an error."""
    with Session(current().engine) as session, session.begin():
        yield session


class Probe:
    """Checks whether the database can be used, within a timeout."""

    def __init__(self, engine: Engine, versions: Path | None) -> None:
        """Prepare one thread: while a check hangs, the next ones must not start more threads.

        `versions` is the folder of the service's migrations, if it has any.
        """
        self.engine = engine
        self.versions = versions
        self.thread = ThreadPoolExecutor(1, "readiness")

    def _check(self) -> str | None:
        with self.engine.connect() as connection:
            if latest_revision(self.versions) is not None and current_revision(connection) is None:
                return "not migrated; `app migrate` does it"
        return None

    def problem(self, timeout: float) -> str | None:
        """What is wrong with the database; None if it is healthy, known within `timeout` seconds.

        Any revision will do: during a rolling update an older service uses a newer database.
        """
        check = self.thread.submit(self._check)
        try:
            return check.result(timeout)
        except FutureTimeout:
            check.cancel()
            return f"no answer within {timeout:g} seconds"
        except SQLAlchemyError as error:
            return type(error).__name__


@functools.cache
def latest_revision(versions: Path | None) -> str | None:
    """The newest migration, by its file's name: Alembic is slow to import. None without any."""
    names = [file.name for file in versions.glob("[0-9]*.py")] if versions else []
    return max(names).partition("_")[0] if names else None


def current_revision(connection: Connection) -> str | None:
    """The migration that the database is at; None for an empty one."""
    if not connection.dialect.has_table(connection, "alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


def migrate(settings: Settings, versions: Path | None) -> list[str]:
    """Bring the database to the newest revision in `versions` and return the revisions applied.

    Safe when several do it at once: one applies, the others wait for it and find nothing to do.

    Raises:
        DatabaseError: with one line that says why not.

    """
    if settings.database_url is None and (problem := embedded.problem(settings.data_dir)):
        raise DatabaseError(problem)
    engine = connect(settings)
    try:
        with _alone(engine), engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                # The wait for the lock must not count as a slow statement.
                no_limits = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0"
                connection.execute(text(no_limits))
                connection.execute(text(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})"))
            current, latest = current_revision(connection), latest_revision(versions)
            if current is not None and (latest is None or current > latest):
                raise DatabaseError(
                    f"the database is at revision {current}, newer than this version's {latest}; "
                    "run the version that migrated it, or a newer one"
                )
            if versions is None or current == latest:
                return []
            return _upgrade(connection, settings, versions)
    except (SQLAlchemyError, OSError) as error:
        reason = re.sub(r"\s+", " ", str(getattr(error, "orig", None) or error))
        # Without the query, which may hold a password too.
        where = engine.url.set(query={}).render_as_string(hide_password=True)
        raise DatabaseError(f"the database {where} can't be migrated: {reason}") from None
    finally:
        engine.dispose()


@contextlib.contextmanager
def _alone(engine: Engine) -> Iterator[None]:
    """Lock an SQLite file for this process alone; PostgreSQL has locks of its own."""
    if engine.dialect.name != "sqlite":
        yield
        return
    # By itself the driver begins no transaction before DDL, and an interrupted migration would stay
    # half done: https://docs.sqlalchemy.org/en/20/dialects/sqlite.html#pysqlite-serializable
    event.listen(engine, "connect", lambda raw, _: setattr(raw, "isolation_level", None))
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    with Path(f"{engine.url.database}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _upgrade(connection: Connection, settings: Settings, versions: Path) -> list[str]:
    # Slow to import, and of no use once the database is up to date.
    from alembic import command
    from alembic.config import Config

    applied: list[str] = []
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("version_locations", str(versions))
    config.set_main_option("path_separator", "newline")  # so that a path may have spaces in it
    config.attributes.update(connection=connection, applied=applied, settings=settings)
    command.upgrade(config, "head")
    return applied


def prepare(settings: Settings, versions: Path | None) -> None:
    """Create or migrate the embedded database; any other is migrated by `app migrate` alone.

    Raises:
        DatabaseError: with one line that says why not.

    """
    if settings.database_url is not None:
        return
    file = settings.data_dir / FILE
    if applied := migrate(settings, versions):
        log.info("%s: applied %s", file, ", ".join(applied))
    if not settings.development:
        log.warning(embedded.note(file))
