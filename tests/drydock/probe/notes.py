"""One resource, and what can be done with it: listing, reading, adding and deleting notes."""

from __future__ import annotations

from typing import Any

from flask import url_for
from marshmallow import Schema, fields, validate
from werkzeug.exceptions import Conflict, NotFound

from drydock.api import SECURITY, Blueprint
from drydock.auth import writer_only
from drydock.fields import PageArguments, Paged, Printable, storable_id

from .storage import TakenError, kept

blueprint = Blueprint("notes", __name__, url_prefix="/notes", description="Notes")

TITLE_LENGTH = 200  # characters
ABSENT = "There is no note with this id."


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
    with kept() as notes:
        listed, total = notes.page(page, size), notes.count()
    return {"notes": listed, "page": page, "page_size": size, "total": total}


@blueprint.route("", methods=["POST"])
@blueprint.problems(401, 403, 409, 413, 415, 503)
@blueprint.doc(**SECURITY)
@writer_only
@blueprint.arguments(NewNote)
@blueprint.response(201, StoredNote, headers={"Location": {"schema": {"type": "string"}}})
def add_note(new: dict[str, str]) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Add a note."""
    try:
        with kept() as notes:
            stored = notes.add(new["title"])
    except TakenError:
        raise Conflict("There is a note with this title already.") from None
    return stored, 201, {"Location": url_for(".get_note", note_id=stored["id"])}


@blueprint.route("/<int:note_id>")
@blueprint.problems(404, 503)
@blueprint.response(200, StoredNote)
def get_note(note_id: int) -> dict[str, Any]:
    """Read a note."""
    with kept() as notes:
        note = notes.get(storable_id(note_id, ABSENT))
    if note is None:
        raise NotFound(ABSENT)
    return note


@blueprint.route("/<int:note_id>", methods=["DELETE"])
@blueprint.problems(401, 403, 404, 503)
@blueprint.doc(**SECURITY)
@writer_only
@blueprint.response(204)
def delete_note(note_id: int) -> None:
    """Delete a note."""
    with kept() as notes:
        if not notes.delete(storable_id(note_id, ABSENT)):
            raise NotFound(ABSENT)
