"""The service: the one description of it that a fork writes, by names.

Nothing that it names is imported before it is needed, so that the health check, the command line's
help and the server do not pay for Flask and the database.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from drydock.failures import StartError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flask import Flask

    from drydock.api import Blueprint
    from drydock.settings import BaseSettings, Settings

    Step = Callable[[], bool | None]  # of a background process


BASE = "BaseSettings"  # the name in drydock.settings of those without a database


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
        settings: str | None = None,
        parts: Sequence[str] = (),
        migrations: str | None = None,
        work: str | None = None,
    ) -> None:
        """Describe the service of `package`, which has a function `create_app`.

        Args:
            package: the name of the import package.
            settings: the class of its settings, as `module:class`, derived from drydock.Settings,
                or from drydock.BaseSettings where there is no database; by default one of these.
            parts: its modules with a `blueprint`, in the order in which they are documented.
            migrations: the package with the folder `versions` of its migrations, which may be empty
                or missing. Without this the service has no database.
            work: the step of its background process, if it has one, as `module:function`.

        """
        self.package = package
        self.settings = settings or f"drydock.settings:{'Settings' if migrations else BASE}"
        self.parts = tuple(parts)
        self.migrations = migrations
        self.work = work

    @property
    def wsgi_app(self) -> str:
        """The application as gunicorn names it."""
        return f"{self.package}:create_app()"

    @property
    def has_database(self) -> bool:
        """Whether there is a database; without one, nothing that only it needs is imported."""
        return self.migrations is not None

    @functools.cached_property
    def versions(self) -> Path | None:
        """The folder of the service's migrations; found without importing them."""
        spec = importlib.util.find_spec(self.migrations) if self.migrations else None
        if spec is None or not spec.submodule_search_locations:
            return None
        return Path(next(iter(spec.submodule_search_locations)), "versions")

    def load_settings(self) -> BaseSettings:
        """Read and check the settings of this service from the environment.

        Raises:
            drydock.settings.SettingsError: with one line for each variable that is not acceptable,
                or if the settings are not for a service like this one.

        """
        kind: type[BaseSettings] = _load(self.settings)
        self._check_kind(kind)
        return kind.load()

    def _check_kind(self, kind: type[BaseSettings]) -> None:
        """Check that the settings have a database if, and only if, the service has one."""
        from drydock.settings import Settings, SettingsError

        if self.has_database == issubclass(kind, Settings):
            return
        has, expected = ("a", "Settings") if self.has_database else ("no", BASE)
        raise SettingsError(
            f"{self.settings}: by `migrations` in drydock.Service(...) the service has {has}"
            f" database. Expected a class derived from drydock.{expected}."
        )

    def load_step(self, name: str | None = None) -> Step:
        """Import the step of the background process, or another one, called `module:function`.

        Raises:
            StartError: with one line, if the service has none.

        """
        name = name or self.work
        if name is None:
            raise StartError(
                "this service has no background process. Expected `work` in drydock.Service(...);"
                " docs/extend.md says how to add one."
            )
        step: Step = _load(name)
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

        return migrate(settings or cast("Settings", self.load_settings()), self.versions)

    def create_app(self, settings: BaseSettings | None = None) -> Flask:
        """Build the application from `settings`, by default from the environment.

        Raises:
            SystemExit: with one clear line for each thing that is wrong with the environment.

        """
        from drydock.factory import build

        try:
            chosen = settings or self.load_settings()
            self._check_kind(type(chosen))
            return build(
                self.package,
                self.import_parts,
                chosen,
                has_database=self.has_database,
                versions=self.versions,
            )
        except StartError as error:
            raise SystemExit(f"error: {error}") from None
