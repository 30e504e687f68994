"""The service: the one description of it that a fork writes, by names.

Nothing that it names is imported before it is needed, so that the health check, the command line's
help and the server do not pay for Flask and the database.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drydock.failures import StartError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flask import Flask

    from drydock.api import Blueprint
    from drydock.settings import Settings

    Step = Callable[[], bool | None]  # of a background process


def _load(name: str) -> Any:  # noqa: ANN401 (whatever has that name)
    """Import what is called `module:attribute`."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


class Service:
    """What the machinery has to know of a service."""

    def __init__(
        self,
        package: str,
        *,
        settings: str = "drydock.settings:Settings",
        parts: Sequence[str] = (),
        migrations: str | None = None,
        work: str | None = None,
    ) -> None:
        """Describe the service of `package`, which has a function `create_app`.

        Args:
            package: the name of the import package.
            settings: the class of its settings, as `module:class`.
            parts: its modules with a `blueprint`, in the order in which they are documented.
            migrations: the package with the folder `versions` of its migrations, if it has any.
            work: the step of its background process, if it has one, as `module:function`.

        """
        self.package = package
        self.settings = settings
        self.parts = tuple(parts)
        self.migrations = migrations
        self.work = work

    @property
    def wsgi_app(self) -> str:
        """The application as gunicorn names it."""
        return f"{self.package}:create_app()"

    @functools.cached_property
    def versions(self) -> Path | None:
        """The folder of the service's migrations; found without importing them."""
        spec = importlib.util.find_spec(self.migrations) if self.migrations else None
        if spec is None or not spec.submodule_search_locations:
            return None
        return Path(next(iter(spec.submodule_search_locations)), "versions")

    def load_settings(self) -> Settings:
        """Read and check the settings of this service from the environment.

        Raises:
            drydock.settings.SettingsError: with one line for each variable that is not acceptable.

        """
        kind: type[Settings] = _load(self.settings)
        return kind.load()

    def load_step(self) -> Step:
        """Import the step of the background process.

        Raises:
            StartError: with one line, if the service has none.

        """
        if self.work is None:
            raise StartError(
                "this service has no background process. Expected `work` in drydock.Service(...);"
                " docs/extend.md says how to add one."
            )
        step: Step = _load(self.work)
        return step

    def import_parts(self) -> list[Blueprint]:
        """Import all parts, and with them all tables."""
        return [importlib.import_module(name).blueprint for name in self.parts]

    def migrate(self, settings: Settings | None = None) -> list[str]:
        """Bring the database to the newest revision and return the revisions applied.

        `settings` are by default those of the environment.

        Raises:
            drydock.settings.SettingsError: as load_settings().
            drydock.database.DatabaseError: with one line that says why not.

        """
        from drydock.database import migrate

        return migrate(settings or self.load_settings(), self.versions)

    def create_app(self, settings: Settings | None = None) -> Flask:
        """Build the application from `settings`, by default from the environment.

        Raises:
            SystemExit: with one clear line for each thing that is wrong with the environment.

        """
        from drydock.factory import build

        try:
            chosen = settings or self.load_settings()
            return build(self.package, self.import_parts, self.versions, chosen)
        except StartError as error:
            raise SystemExit(f"error: {error}") from None
