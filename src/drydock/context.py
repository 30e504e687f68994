"""What belongs to one application, with its types: its settings, its database, its facts."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from flask import current_app

from drydock.variables import EXTENSION

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from flask import Flask
    from sqlalchemy import Engine

    from drydock.info import Info
    from drydock.settings import BaseSettings


@dataclasses.dataclass(frozen=True, kw_only=True)
class State:
    """What an application was built with. `Settings.current()` has a fork's own settings."""

    settings: BaseSettings
    info: Info
    database: Engine | None = None  # where the service has one
    # Returns what is wrong with the database; takes the seconds within which that must be known.
    database_problem: Callable[[float], str | None] | None = None
    # Makes what is done in `with` a span of that name; nothing where tracing is off.
    span: Callable[[str], AbstractContextManager[object]]

    @property
    def engine(self) -> Engine:
        """The database.

        Raises:
            RuntimeError: if the service has none.

        """
        if self.database is None:
            raise RuntimeError(
                "this service has no database. Expected `migrations` in drydock.Service(...);"
                " docs/without-database.md says more."
            )
        return self.database

    @classmethod
    def of(cls, app: Flask) -> State:
        """The state of `app`.

        Raises:
            KeyError: if no service has built it.

        """
        state: State = app.extensions[EXTENSION]
        return state


def current() -> State:
    """The state of the application that this thread serves a request or a command of.

    Raises:
        RuntimeError: outside of an application's context.

    """
    return State.of(current_app)
