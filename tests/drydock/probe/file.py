"""Where the notes are kept in a service without a database: in a file, by Python's own sqlite3."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any

from .settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

TABLE = """
CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY AUTOINCREMENT, title TEXT NOT NULL UNIQUE)
"""


class TakenError(Exception):
    """There is a note with that title."""


class Notes:
    """The notes, within a transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Look at them by way of `connection`."""
        self.connection = connection

    def count(self) -> int:
        """How many there are."""
        return int(self.connection.execute("SELECT count(*) FROM notes").fetchone()[0])

    def page(self, page: int, size: int) -> list[dict[str, Any]]:
        """A part of them, the oldest first."""
        query = "SELECT id, title FROM notes ORDER BY id LIMIT ? OFFSET ?"
        return [dict(row) for row in self.connection.execute(query, (size, (page - 1) * size))]

    def get(self, number: int) -> dict[str, Any] | None:
        """The one with that id."""
        query = "SELECT id, title FROM notes WHERE id = ?"
        row = self.connection.execute(query, (number,)).fetchone()
        return None if row is None else dict(row)

    def add(self, title: str) -> dict[str, Any]:
        """Add one.

        Raises:
            TakenError: if there is one with that title.

        """
        try:
            added = self.connection.execute("INSERT INTO notes (title) VALUES (?)", (title,))
        except sqlite3.IntegrityError:
            raise TakenError from None
        return {"id": added.lastrowid, "title": title}

    def delete(self, number: int) -> bool:
        """Delete the one with that id; whether there was one."""
        return self.connection.execute("DELETE FROM notes WHERE id = ?", (number,)).rowcount > 0


@contextlib.contextmanager
def kept() -> Iterator[Notes]:
    """The notes, in a transaction of its own."""
    file = Settings.current().data_dir / "app.sqlite"
    with contextlib.closing(sqlite3.connect(file, timeout=5)) as connection:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL")
        with connection:  # commits, or rolls back
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(TABLE)
            yield Notes(connection)
