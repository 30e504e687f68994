"""The same with a database: reads the notes that the service has stored, by SQLAlchemy."""

from __future__ import annotations

import os

from flask import abort
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from plain import app

# By default what the service itself has stored, in the same volume.
engine = create_engine(os.environ.get("DATABASE_URL", "sqlite:////data/app.sqlite"))


class Base(DeclarativeBase):
    """Holds the tables."""


class Note(Base):
    """A note, as the service's migration made the table."""

    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]


@app.get("/notes/<int:note_id>")
def get_note(note_id: int) -> dict[str, int | str]:
    """Read a note."""
    with Session(engine) as session:
        note = session.get(Note, note_id)
        if note is None:
            abort(404)
        return {"id": note.id, "title": note.title}
