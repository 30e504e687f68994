"""One table, and what can be done with it: listing, reading, adding and deleting notes."""

from __future__ import annotations

from typing import Any

from flask import url_for
from marshmallow import Schema, fields, validate
from sqlalchemy import PrimaryKeyConstraint, String, UniqueConstraint, delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column
from werkzeug.exceptions import Conflict, NotFound

from drydock.api import SECURITY, Blueprint
from drydock.auth import writer_only
from drydock.database import Model, transaction
from drydock.fields import PageArguments, Paged, Printable, storable_id

blueprint = Blueprint("notes", __name__, url_prefix="/notes", description="Notes")

TITLE_LENGTH = 200  # characters
ABSENT = "There is no note with this id."


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
    title: Mapped[str] = mapped_column(String(TITLE_LENGTH))


class NewNote(Schema):
    """What a client sends."""

    title = fields.String(
        required=True,
        validate=[
            validate.Length(1, TITLE_LENGTH),
            Printable(),
        ],
    )


class StoredNote(Schema):
    """What a client gets."""

    id = fields.Integer(required=True)
    title = fields.String(required=True)


class Page(Paged):
    """A part of the list."""

    notes = fields.List(fields.Nested(StoredNote), required=True)


@blueprint.route("")
@blueprint.problems(503)
@blueprint.arguments(PageArguments, location="query")
@blueprint.response(200, Page)
def list_notes(arguments: dict[str, int]) -> dict[str, Any]:
    """List the notes, the oldest first."""
    page, size = arguments["page"], arguments["page_size"]
    with transaction() as session:
        total = session.scalar(select(func.count()).select_from(Note))
        query = select(Note).order_by(Note.id).limit(size).offset((page - 1) * size)
        notes = [{"id": note.id, "title": note.title} for note in session.scalars(query)]
    return {"notes": notes, "page": page, "page_size": size, "total": total}


@blueprint.route("", methods=["POST"])
@blueprint.problems(401, 403, 409, 413, 415, 503)
@blueprint.doc(**SECURITY)
@writer_only
@blueprint.arguments(NewNote)
@blueprint.response(201, StoredNote, headers={"Location": {"schema": {"type": "string"}}})
def add_note(new: dict[str, str]) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Add a note."""
    try:
        with transaction() as session:
            note = Note(title=new["title"])
            session.add(note)
            session.flush()
            stored = {"id": note.id, "title": note.title}
    except IntegrityError:
        raise Conflict("There is a note with this title already.") from None
    return stored, 201, {"Location": url_for(".get_note", note_id=stored["id"])}


@blueprint.route("/<int:note_id>")
@blueprint.problems(404, 503)
@blueprint.response(200, StoredNote)
def get_note(note_id: int) -> dict[str, Any]:
    """Read a note."""
    with transaction() as session:
        note = session.get(Note, storable_id(note_id, ABSENT))
        if note is None:
            raise NotFound(ABSENT)
        return {"id": note.id, "title": note.title}


@blueprint.route("/<int:note_id>", methods=["DELETE"])
@blueprint.problems(401, 403, 404, 503)
@blueprint.doc(**SECURITY)
@writer_only
@blueprint.response(204)
def delete_note(note_id: int) -> None:
    """Delete a note."""
    with transaction() as session:
        query = delete(Note).where(Note.id == storable_id(note_id, ABSENT)).returning(Note.id)
        if session.scalar(query) is None:
            raise NotFound(ABSENT)
