"""The background process: shouts one note after the other."""

from __future__ import annotations

import logging

from sqlalchemy import func, select

from app.notes import Note
from drydock.database import transaction

log = logging.getLogger(__name__)


def step() -> bool:
    """Shout one note; whether there was one."""
    with transaction() as session:
        query = select(Note).where(Note.text != func.upper(Note.text)).limit(1)
        note = session.scalar(query.with_for_update(skip_locked=True))
        if note is not None:
            note.text = note.text.upper()
            log.info("shouted note %d", note.id)
        return note is not None
