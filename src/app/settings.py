"""Every setting of the service: its type, default, bounds and meaning, in one place.

All are read from the environment once, at start, and checked together. An empty variable counts
as unset, for that is what compose files and shells pass on when nobody has set it.
"""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any

from marshmallow import Schema, ValidationError, fields, validate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class SettingsError(ValueError):
    """One line for each bad variable: its name, what is wrong with it, what would be right."""


def _setting(default: Any, field: fields.Field[Any], accepts: str, meaning: str) -> Any:  # noqa: ANN401 (dataclasses.field is typed so)
    metadata = {"field": field, "accepts": accepts, "meaning": meaning}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings; each is the environment variable of the same name in capitals."""

    app_env: str = _setting(
        "development",
        fields.String(validate=validate.Regexp(r"[A-Za-z0-9_-]{1,32}\Z", error="Not a name.")),
        "up to 32 letters, digits, '-' and '_'",
        "The environment's name, shown in answers. The image sets `production`.",
    )
    app_port: int = _setting(
        5000,
        fields.Integer(validate=validate.Range(1, 65535, error="Out of range.")),
        "a whole number from 1 to 65535",
        "The TCP port that the service listens on, on all interfaces.",
    )
    app_revision: str | None = _setting(
        None,
        fields.String(),
        "any text",
        "The source revision, shown in `/GetMyInfo`. Set by the image build; not meant for you.",
    )
    web_concurrency: int = _setting(
        2,
        fields.Integer(validate=validate.Range(1, 64, error="Out of range.")),
        "a whole number from 1 to 64",
        "The number of worker processes.",
    )

    def effective(self) -> Iterator[tuple[str, str]]:
        """Each variable's name and the value in effect, as text; empty where there is none."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            yield field.name.upper(), "" if value is None else str(value)

    @classmethod
    def load(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read and check all settings at once.

        Raises:
            SettingsError: with one line for each variable that is not acceptable.

        """
        variables = {field.name.upper(): field for field in dataclasses.fields(cls)}
        given = {name: environ[name] for name in variables if environ.get(name)}
        schema = Schema.from_dict({n: f.metadata["field"] for n, f in variables.items()})()
        try:
            values = schema.load(given)
        except ValidationError as error:
            lines = (
                f"{name}={given[name]!r}: {' '.join(problems)}"
                f" Expected {variables[name].metadata['accepts']}."
                for name, problems in error.messages_dict.items()
            )
            raise SettingsError("\n".join(lines)) from None
        return cls(**{name.lower(): value for name, value in values.items()})
