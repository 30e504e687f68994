"""Alembic's entry: migrates with the connection that it is handed, or with the settings' own."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Literal, cast

from alembic import context
from alembic.util import CommandError

from drydock.database import AwareDateTime, Model, connect

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from drydock.service import Service
    from drydock.settings import Settings


def own_connection() -> Connection:
    """A connection made from the settings, for `alembic revision` and the like, as developers type.

    All tables of the service are then imported, for Alembic to compare.

    Raises:
        CommandError: if no service is named.

    """
    name = context.config.get_alembic_option("service") or ""
    module, _, attribute = name.partition(":")
    if not attribute:
        raise CommandError('name the service in [tool.alembic]: service = "app:service"')
    service: Service = getattr(importlib.import_module(module), attribute)
    service.import_parts()
    if getattr(context.config.cmd_opts, "autogenerate", False):
        # It compares the models with a database that is at the newest revision. Another process
        # migrates it, since Alembic can't run inside itself.
        import subprocess
        import sys

        migrate = [sys.executable, "-m", service.package, "migrate"]
        subprocess.run(migrate, check=True)  # noqa: S603 (no shell, and no word of a client's)
    return connect(cast("Settings", service.load_settings())).connect()


def render(kind: str, item: object, _context: object) -> str | Literal[False]:
    """Write a column's type into a new migration, which must not depend on this package."""
    if kind == "type" and isinstance(item, AwareDateTime):
        return "sa.DateTime(timezone=True)"
    return False


def number(_context: object, _revision: object, scripts: list[Any]) -> None:
    """Give a new migration the next number, unless --rev-id names another."""
    last = context.get_head_revision() or "0000"
    options = context.config.cmd_opts
    if isinstance(last, str) and last.isdecimal() and not getattr(options, "rev_id", None):
        scripts[0].rev_id = f"{int(last) + 1:04}"


def run() -> None:
    """Run the migrations that Alembic asks for."""
    attributes = context.config.attributes
    connection = attributes.get("connection")
    if connection is None:
        connection = own_connection()

    def note(step: Any, *_: object, **__: object) -> None:  # noqa: ANN401
        attributes.setdefault("applied", []).append(step.up_revision_id)

    context.configure(
        connection=connection,
        target_metadata=Model.metadata,
        on_version_apply=note,
        render_as_batch=True,  # SQLite can alter little in place
        render_item=render,
        process_revision_directives=number,
    )
    with context.begin_transaction():
        context.run_migrations()


run()
