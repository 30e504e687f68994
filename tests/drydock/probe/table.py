"""Where the notes are kept: in the database."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from sqlalchemy import PrimaryKeyConstraint, String, UniqueConstraint, delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from drydock.database import Model, transaction

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session


class TakenError(Exception):
    """There is a note with that title."""


class Note(Model):
    """A note, known by its title."""

    __tablename__ = "notes"
    __table_args__ = (
        PrimaryKeyConstraint("id", name="notes_pkey"),
        UniqueConstraint("title", name="notes_title_key"),
        # An id is not used again after its note is gone.
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column()
    title: Mapped[str] = mapped_column(String(200))


class Notes:
    """The notes, within a transaction."""

    def __init__(self, session: Session) -> None:
        """Look at them by way of `session`."""
        self.session = session

    def count(self) -> int:
        """How many there are."""
        return self.session.scalar(select(func.count()).select_from(Note)) or 0

    def page(self, page: int, size: int) -> list[dict[str, Any]]:
        """A part of them, the oldest first."""
        query = select(Note).order_by(Note.id).limit(size).offset((page - 1) * size)
        return [{"id": note.id, "title": note.title} for note in self.session.scalars(query)]

    def get(self, number: int) -> dict[str, Any] | None:
        """The one with that id."""
        note = self.session.get(Note, number)
        return None if note is None else {"id": note.id, "title": note.title}

    def add(self, title: str) -> dict[str, Any]:
        """Add one.

        Raises:
            TakenError: if there is one with that title.

        """
        note = Note(title=title)
        self.session.add(note)
        try:
            self.session.flush()
        except IntegrityError:
            raise TakenError from None
        return {"id": note.id, "title": note.title}

    def delete(self, number: int) -> bool:
        """Delete the one with that id; whether there was one."""
        query = delete(Note).where(Note.id == number).returning(Note.id)
        return self.session.scalar(query) is not None


@contextlib.contextmanager
def kept() -> Iterator[Notes]:
    """The notes, in a transaction of its own."""
    with transaction() as session:
        yield Notes(session)
