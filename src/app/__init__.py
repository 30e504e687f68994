"""The service: an application factory, so that tests and servers each build their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from drydock.settings import Settings


def create_app(settings: Settings | None = None) -> Flask:
    """Build the application from `settings`, by default from the environment.

    Raises:
        SystemExit: with one clear line for each thing that is wrong with the environment.

    """
    # Imported here, so that `drydock.healthcheck` and the command line's help do not pay for it.
    from drydock.database import DatabaseError
    from drydock.factory import build
    from drydock.settings import Settings, SettingsError

    try:
        return build(settings or Settings.load())
    except (SettingsError, DatabaseError) as error:
        raise SystemExit(f"error: {error}") from None
