"""What belongs to one application, with its types: its settings, its database, its facts."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from flask import current_app

if TYPE_CHECKING:
    from flask import Flask
    from sqlalchemy import Engine

    from drydock.database import Probe
    from drydock.info import Info
    from drydock.settings import Settings

KEY = "drydock"  # among Flask's extensions


@dataclasses.dataclass(frozen=True, kw_only=True)
class State:
    """What an application was built with. `Settings.current()` has a fork's own settings."""

    settings: Settings
    engine: Engine
    info: Info
    probe: Probe

    @classmethod
    def of(cls, app: Flask) -> State:
        """The state of `app`.

        Raises:
            KeyError: if no service has built it.

        """
        state: State = app.extensions[KEY]
        return state


def current() -> State:
    """The state of the application that this thread serves a request or a command of.

    Raises:
        RuntimeError: outside of an application's context.

    """
    return State.of(current_app)
