"""Which errors of the database are temporary: a retry may help, so the response is a 503.

All others are faults: of the application, of its migrations or of the database's files. To say "try
again" would hide them; the response is a 500, and the trace is in the log.
"""

from __future__ import annotations

import logging
import sqlite3
from typing import TYPE_CHECKING

from prometheus_client import Counter
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import ServiceUnavailable

from drydock.errors import problem
from drydock.problems import RETRY_AFTER

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.wrappers import Response

log = logging.getLogger("app.errors")

count = Counter(
    "app_database_outages_total", "Requests that got a 503, as the database was not available."
)

# https://www.postgresql.org/docs/current/errcodes-appendix.html, by the beginning of the code.
# Not 25006 (a read-only transaction), 42 (a missing table, no permission) nor 58 (a broken disk):
# they stay until somebody acts.
SQLSTATES = (
    "08",  # the connection was lost
    "25P03",  # idle in a transaction for too long,
    "25P04",  # or a transaction that took too long: the server has closed the connection
    "40",  # serialization failure, deadlock
    "53",  # no memory, no disk space, too many connections
    "55P03",  # a lock was not to be had in time
    "57",  # a statement took too long; the server stops, or has just started
)

# https://www.sqlite.org/rescode.html: the primary codes.
SQLITE_CODES = {
    sqlite3.SQLITE_BUSY,  # another process has the lock,
    sqlite3.SQLITE_LOCKED,  # or another connection of this one
    sqlite3.SQLITE_PROTOCOL,  # lost the race for the lock of the log (WAL)
    sqlite3.SQLITE_FULL,  # no disk space, as PostgreSQL's 53100
    # The file can't be opened: in a service that has served before, no descriptors are left.
    sqlite3.SQLITE_CANTOPEN,
}
PRIMARY = 0xFF  # the bits of an extended code that are the primary one


def init_app(app: Flask) -> None:
    """Respond to the errors of the application's database, each as what it is."""
    for kind in (DBAPIError, PoolTimeout):
        app.register_error_handler(kind, database_error)


def database_error(error: DBAPIError | PoolTimeout) -> Response:
    """Respond with a 503 to what is temporary: a retry may help.

    Raises:
        DBAPIError: the same, if it is a fault. Flask logs its trace and responds with a 500.

    """
    if not is_temporary(error):
        raise error
    count.inc()
    log.error("the database is not available: %s", str(error).partition("\n")[0])
    detail = "The database is not available."
    return problem(ServiceUnavailable(detail, retry_after=RETRY_AFTER))


def is_temporary(error: DBAPIError | PoolTimeout) -> bool:
    """Whether the same statement may succeed a moment later, with nothing changed."""
    # The pool's own timeout: all connections are in use.
    if isinstance(error, PoolTimeout) or error.connection_invalidated:
        return True
    cause = error.orig
    if isinstance(cause, sqlite3.Error):
        # A few of Python's own errors have no code.
        return getattr(cause, "sqlite_errorcode", 0) & PRIMARY in SQLITE_CODES
    sqlstate = getattr(cause, "sqlstate", None)
    if sqlstate is None:
        # From the client's library, and no server's: there is no connection, or it was lost. Why a
        # connection can't be made has no code: a wrong password looks like a server that starts.
        return isinstance(error, OperationalError)
    return str(sqlstate).startswith(SQLSTATES)
