"""Alembic's entry: migrates with the connection that it is handed, or with the settings' own."""

from __future__ import annotations

from typing import Any

from alembic import context

from drydock.database import Model, connect
from drydock.factory import PARTS  # noqa: F401 (imports all tables)
from drydock.settings import Settings


def run() -> None:
    """Run the migrations that Alembic asks for."""
    attributes = context.config.attributes
    connection = attributes.get("connection")
    if connection is None:
        # `alembic revision --autogenerate` and the like, typed by a developer.
        connection = connect(Settings.load()).connect()

    def note(step: Any, *_: object, **__: object) -> None:  # noqa: ANN401
        attributes.setdefault("applied", []).append(step.up_revision_id)

    context.configure(
        connection=connection,
        target_metadata=Model.metadata,
        on_version_apply=note,
        render_as_batch=True,  # SQLite can alter little in place
    )
    with context.begin_transaction():
        context.run_migrations()


run()
