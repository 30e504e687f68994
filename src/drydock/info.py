"""The facts about the running service."""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
import platform
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drydock.settings import BaseSettings


@dataclasses.dataclass(frozen=True, kw_only=True)
class Info:
    """What does not change while the process lives."""

    name: str
    version: str
    revision: str | None  # of the sources, where SHOW_REVISION lets clients see it
    environment: str
    python_version: str
    started_at: str  # RFC 3339, UTC


def collect(settings: BaseSettings) -> Info:
    """Gather the facts, once at start."""
    # The package and its command are `app` in every fork; the distribution has the service's name.
    (command,) = importlib.metadata.entry_points(group="console_scripts", name="app")
    assert command.dist is not None  # noqa: S101 (true of every installed distribution)
    return Info(
        name=command.dist.name,
        version=command.dist.version,
        revision=settings.app_revision if settings.show_revision else None,
        environment=settings.app_env,
        python_version=platform.python_version(),
        started_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )
