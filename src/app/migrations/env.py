"""Alembic's entry: migrates with the connection that it is handed, or with the settings' own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic import context

from app.database import Model, connect
from app.factory import PARTS  # noqa: F401 (imports all tables)
from app.settings import Settings


def run() -> None:
    """Run the migrations that Alembic asks for."""
    attributes = context.config.attributes
    connection = attributes.get("connection")
    if connection is None:
        # A developer's own `alembic`, which finds this by [tool.alembic] in pyproject.toml.
        if getattr(context.config.cmd_opts, "autogenerate", False):
            import subprocess
            import sys

            # It compares the models with a database that is at the newest revision. Migrated by
            # another process, for Alembic can't run inside itself.
            subprocess.run([sys.executable, "-m", "app", "migrate"], check=True)
        connection = connect(Settings.load()).connect()

    def note(step: Any, *_: object, **__: object) -> None:  # noqa: ANN401
        attributes.setdefault("applied", []).append(step.up_revision_id)

    def number(_context: object, _revision: object, scripts: list[Any]) -> None:
        """Give a new migration the next number, unless --rev-id names another."""
        if not getattr(context.config.cmd_opts, "rev_id", None):
            files = (Path(__file__).parent / "versions").glob("[0-9]*.py")
            last = max((int(file.name.partition("_")[0]) for file in files), default=0)
            scripts[0].rev_id = f"{last + 1:04}"

    context.configure(
        process_revision_directives=number,
        connection=connection,
        target_metadata=Model.metadata,
        on_version_apply=note,
        render_as_batch=True,  # SQLite can alter little in place
    )
    with context.begin_transaction():
        context.run_migrations()


run()
