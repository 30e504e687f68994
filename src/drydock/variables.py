"""What a setting is: an environment variable with its type, default, bounds and meaning.

All are read from the environment once, at start, and checked together. An empty variable counts
as unset, since compose files and shells pass an unset one on as empty. A secret NAME can be given
as the path of a file instead, in NAME_FILE.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from drydock.failures import StartError
from drydock.schemas import Schema, ValidationError, fields, validate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Self

EXTENSION = "drydock"  # among Flask's: what an application was built with (drydock.context.State)


class SettingsError(StartError, ValueError):
    """One line for each bad variable: its name, what is wrong with it, what would be right."""


def setting(
    default: Any,  # noqa: ANN401 (as dataclasses.field itself is typed)
    field: fields.Field[Any],
    accepts: str,
    meaning: str,
    *,
    secret: bool = False,
) -> Any:  # noqa: ANN401
    """Declare a setting: an environment variable of the attribute's name in capitals.

    Args:
        default: its value where the variable is unset or empty.
        field: reads and checks the variable; marshmallow's, or one of drydock.kinds.
        accepts: what is acceptable, for the documentation and for messages.
        meaning: what it does, for the documentation.
        secret: whether it is never shown, and may be given as a file's path in NAME_FILE.

    """
    about = {"field": field, "accepts": accepts, "meaning": meaning, "secret": secret}
    return dataclasses.field(default=default, metadata=about, repr=not secret)


def whole(default: int | None, lowest: int, highest: int, meaning: str) -> Any:  # noqa: ANN401
    """Declare a setting that is a whole number from `lowest` to `highest`."""
    field = fields.Integer(validate=validate.Range(lowest, highest, error="Out of range."))
    return setting(default, field, f"a whole number from {lowest} to {highest}", meaning)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Variables:
    """What all settings have in common: how they are read, checked and shown."""

    never_empty: ClassVar[frozenset[str]] = frozenset()  # variables that may not be set to nothing

    def effective(self) -> Iterator[tuple[str, str]]:
        """Each variable's name and the value in effect, as text; secrets are masked."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is None:
                text = ""
            elif field.metadata["secret"]:
                text = "********"
            elif isinstance(value, tuple):
                text = ",".join(str(each) for each in value)
            else:
                text = str(value).lower() if isinstance(value, bool) else str(value)
            yield field.name.upper(), text

    def check(self) -> None:
        """Check settings that depend on each other; a class with such settings extends this.

        Raises:
            SettingsError: with one line that names them.

        """

    @classmethod
    def current(cls) -> Self:
        """The settings of the application that this thread serves a request or a command of.

        Raises:
            RuntimeError: outside of an application's context.
            TypeError: if the application was built with settings of another class.

        """
        # Imported here: the server does without Flask.
        from flask import current_app

        settings = current_app.extensions[EXTENSION].settings
        if not isinstance(settings, cls):
            raise TypeError(f"the application's settings are {type(settings)}, not {cls}")
        return settings

    @classmethod
    def load(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read and check all settings at once.

        Raises:
            SettingsError: with one line for each variable that is not acceptable.

        """
        variables = {field.name.upper(): field for field in dataclasses.fields(cls)}
        problems: dict[str, str] = {}
        given: dict[str, str] = {}
        for name, field in variables.items():
            try:
                value = _read(name, environ, may_be_file=field.metadata["secret"])
            except SettingsError as error:
                problems[name] = str(error)
            else:
                if value or (name in cls.never_empty and value == ""):
                    given[name] = value
        schema = Schema.from_dict({n: f.metadata["field"] for n, f in variables.items()})()
        try:
            values = schema.load(given)
        except ValidationError as error:
            for name, messages in error.messages_dict.items():
                about = variables[name].metadata
                shown = name if about["secret"] else f"{name}={given[name]!r}"
                wrong = " ".join(messages)
                problems[name] = f"{shown}: {wrong} Expected {about['accepts']}."
        if problems:
            raise SettingsError("\n".join(problems.values()))
        settings = cls(**{name.lower(): value for name, value in values.items()})
        settings.check()
        return settings


def _read(name: str, environ: Mapping[str, str], *, may_be_file: bool) -> str | None:
    """The variable's value, or for a secret that of the file that NAME_FILE names."""
    value = environ.get(name)
    path = environ.get(f"{name}_FILE") if may_be_file else None
    if not path:
        return value
    if value:
        raise SettingsError(f"{name}: {name}_FILE is set as well. Expected one of the two.")
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text in UTF-8"
        raise SettingsError(
            f"{name}_FILE={path!r}: {reason}. Expected a file that user id {os.geteuid()} can read."
        ) from None
    # The line end that an editor or a shell adds is not a part of the secret.
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise SettingsError(f"{name}_FILE={path!r}: the file is empty. Expected the secret in it.")
    return text
