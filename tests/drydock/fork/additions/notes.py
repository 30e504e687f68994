"""A part with a table."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields
from sqlalchemy import select
from sqlalchemy.orm import Mapped, mapped_column

from app.settings import Settings
from drydock.api import SECURITY, Blueprint
from drydock.auth import writer_only
from drydock.database import Model, transaction
from drydock.fields import Printable

blueprint = Blueprint("notes", __name__, url_prefix="/notes", description="Notes")


class Note(Model):
    """A note."""

    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]
    sender: Mapped[str]


class NewNote(Schema):
    """What a client sends."""

    text = fields.String(required=True, validate=Printable())


class Notes(Schema):
    """All notes."""

    notes = fields.List(fields.String, required=True)


@blueprint.route("")
@blueprint.problems(503)
@blueprint.response(200, Notes)
def list_notes() -> dict[str, Any]:
    """List the notes."""
    with transaction() as session:
        query = select(Note).order_by(Note.id)
        return {"notes": [f"{note.sender}: {note.text}" for note in session.scalars(query)]}


@blueprint.route("", methods=["POST"])
@blueprint.problems(401, 403, 413, 415, 503)
@blueprint.doc(**SECURITY)
@writer_only
@blueprint.arguments(NewNote)
@blueprint.response(202)
def add_note(new: dict[str, str]) -> None:
    """Add a note. It has no Location, for none can be read by itself."""
    with transaction() as session:
        session.add(Note(text=new["text"], sender=Settings.current().sender))
