"""Real errors of the database that the suite runs on: which are a 503, and which a 500."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text

from drydock import State
from drydock.database import transaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine
    from sqlalchemy.orm import Session
    from werkzeug.test import TestResponse

    from applications import Build

    Fail = Callable[[Session, Engine], object]

pytestmark = pytest.mark.database

SECRET = "what-a-client-sent"


def statement(*sql: str) -> Fail:
    """Statements, of which the last one fails."""

    def fail(session: Session, _engine: Engine) -> None:
        for each in sql:
            session.execute(text(each), {"value": SECRET} if ":value" in each else {})

    return fail


def sqlstate(code: str) -> Fail:
    """PostgreSQL raises an error of this code, as it does for reasons of its own."""
    return statement(f"DO $$ BEGIN RAISE EXCEPTION 'the inside' USING ERRCODE = '{code}'; END $$")


def no_connection_left(session: Session, engine: Engine) -> None:
    session.execute(text("SELECT 1"))
    engine.connect()


def locked(session: Session, engine: Engine) -> None:
    """Another transaction has the lock for longer than this one waits."""
    on_postgresql = engine.dialect.name == "postgresql"
    with engine.connect() as other:
        other.execute(text("LOCK TABLE notes" if on_postgresql else "DELETE FROM notes"))
        wait = "SET LOCAL lock_timeout = 50" if on_postgresql else "PRAGMA busy_timeout = 50"
        session.execute(text(wait))
        session.execute(text("DELETE FROM notes"))


def not_serializable(session: Session, engine: Engine) -> None:
    """Another transaction has changed what this one has read, and changes now."""
    session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    session.execute(text("SELECT * FROM notes"))
    with engine.begin() as other:
        other.execute(text("DELETE FROM notes"))
    session.execute(text("DELETE FROM notes"))


def idle(session: Session, _engine: Engine) -> None:
    """The server closes the connection of a transaction that does nothing."""
    session.execute(text("SET LOCAL idle_in_transaction_session_timeout = 1"))
    time.sleep(0.3)
    session.execute(text("SELECT 1"))


FAULTS: dict[str, Fail] = {
    "a missing table": statement("SELECT * FROM nowhere WHERE name = :value"),
    "a missing column": statement("SELECT nothing FROM notes"),
    "a syntax error": statement("SELEKT 1"),
    "a rule of the table": statement("INSERT INTO notes (id, title) VALUES (1, NULL)"),
}
OUTAGES: dict[str, Fail] = {
    "no connection left": no_connection_left,
    "locked": locked,
}
if os.environ.get("TEST_DATABASE_URL", "").startswith("postgresql"):
    FAULTS |= {
        "read-only": statement(
            "SET TRANSACTION READ ONLY", "INSERT INTO notes (title) VALUES (:value)"
        ),
        "division by zero": statement("SELECT 1 / 0"),
        "no permission": statement("SET LOCAL ROLE pg_monitor", "SELECT * FROM notes"),
        **{code: sqlstate(code) for code in ("55000", "58030", "XX000")},
    }
    OUTAGES |= {
        "a slow statement": statement("SET LOCAL statement_timeout = 50", "SELECT pg_sleep(9)"),
        "cut off": statement("SELECT pg_terminate_backend(pg_backend_pid())"),
        "idle in a transaction": idle,
        "not serializable": not_serializable,
        **{code: sqlstate(code) for code in ("08006", "40P01", "53100", "53300", "57P03")},
    }
else:
    FAULTS |= {
        "read-only": statement(
            "PRAGMA query_only = 1", "INSERT INTO notes (title) VALUES (:value)"
        ),
        "a bad value": statement("SELECT abs(-9223372036854775808)"),
    }
    OUTAGES |= {
        "full": statement("PRAGMA max_page_count = 1", "CREATE TABLE x AS SELECT zeroblob(999999)"),
        "can't be opened": statement("ATTACH DATABASE '/no/such/folder/file' AS other"),
    }


def respond(build: Build, fail: Fail) -> TestResponse:
    """The response to a request in whose transaction `fail` is called."""
    app = build(web_threads=2 if fail is not no_connection_left else 1, database_timeout=1)
    engine = State.of(app).engine
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO notes (title) VALUES ('first')"))

    @app.get("/fail")
    def view() -> str:
        with transaction() as session:
            fail(session, engine)
        return "it did not fail"

    return app.test_client().get("/fail", headers={"X-Request-ID": "look-for-me"})


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_a_500_with_its_trace_in_the_log_and_no_client_s_data(
    build: Build, capfd: pytest.CaptureFixture[str], fault: str
) -> None:
    response = respond(build, FAULTS[fault])
    assert response.status_code == 500
    assert "Retry-After" not in response.headers
    detail = response.get_json(force=True)["detail"]
    assert detail == "The service failed to serve this request."
    logged = capfd.readouterr().out
    assert "Traceback" in logged
    assert "in fail" in logged  # the place in the code
    assert "look-for-me" in logged
    assert SECRET not in logged


@pytest.mark.parametrize("outage", OUTAGES)
def test_what_is_temporary_is_a_503_and_one_line_in_the_log(
    build: Build, capfd: pytest.CaptureFixture[str], outage: str
) -> None:
    before = REGISTRY.get_sample_value("app_database_outages_total") or 0.0
    response = respond(build, OUTAGES[outage])
    assert response.status_code == 503
    assert REGISTRY.get_sample_value("app_database_outages_total") == before + 1
    assert response.headers["Retry-After"]
    assert response.get_json(force=True)["detail"] == "The database is not available."
    logged = capfd.readouterr().out
    (line,) = [line for line in logged.splitlines() if "look-for-me" in line]
    assert "the database is not available: " in line
    assert "Traceback" not in logged
