"""What the value of a setting may be: fields and checks for the declarations of settings."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path

from drydock.schemas import ValidationError, fields, validate
from drydock.validators import Printable

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Of a client's Host field, without the port: a name, an IPv4 address or an IPv6 address.
HOST_NAME = re.compile(r"\.?[a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\]")

# Characters. Of hexadecimal digits, 16 are the 64 bits that nobody can guess over a network:
# https://cheatsheetseries.owasp.org/cheatsheets/Session_Management_Cheat_Sheet.html
SHORTEST_TOKEN = 16
LONGEST_TOKEN = 1024
MOST_TOKENS = 2  # the new one and the old one


class Networks(fields.Field[tuple[Network, ...]]):
    """Addresses and networks, separated by commas."""

    def _deserialize(self, value: str, *_: object, **__: object) -> tuple[Network, ...]:
        try:
            return tuple(ipaddress.ip_network(word.strip()) for word in value.split(","))
        except ValueError as error:
            raise ValidationError(f"{error}.") from None


class Hosts(fields.Field[tuple[str, ...]]):
    """Names of hosts, separated by commas; one that begins with a dot stands for all below it."""

    def _deserialize(self, value: str, *_: object, **__: object) -> tuple[str, ...]:
        names = tuple(name.strip().lower() for name in value.split(","))
        for name in names:
            if not HOST_NAME.fullmatch(name):
                raise ValidationError(f"{name!r} is not a host's name.")
        return names


class Address(fields.Field[str]):
    """An IPv4 or IPv6 address, in its usual spelling."""

    def _deserialize(self, value: str, *_: object, **__: object) -> str:
        try:
            address = ipaddress.ip_address(value)
        except ValueError:
            raise ValidationError("Not an IPv4 or IPv6 address.") from None
        if getattr(address, "scope_id", None):
            raise ValidationError("An address with a zone can't be listened on.")
        return str(address)


class Folder(fields.Field[Path]):
    """The path of a directory, which need not exist."""

    def _deserialize(self, value: str, *_: object, **__: object) -> Path:
        return Path(value)


def is_database_url(value: str) -> None:
    """Check that `value` is an address of a database that is supported.

    Raises:
        ValidationError: if not.

    """
    # Imported here: the health check and the command line's help need no database.
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(value)
    except (ArgumentError, ValueError):
        raise ValidationError("Not a database's address.") from None
    if url.drivername == "sqlite" and url.database and not url.database.startswith((":", "file:")):
        return
    if url.drivername not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise ValidationError("Not an address of a kind of database that is supported.")


def words(value: str) -> list[str]:
    """What spaces or line ends separate; nothing else does, whatever Unicode calls a space."""
    return re.findall(r"[^ \t\r\n]+", value)


def are_tokens(value: str) -> None:
    """Check that `value` is a token, or two.

    Raises:
        ValidationError: if not.

    """
    tokens = words(value)
    if not 1 <= len(tokens) <= MOST_TOKENS:
        raise ValidationError(f"There are {len(tokens)} tokens.")
    for place, token in enumerate(tokens, 1):
        if not re.fullmatch("[!-~]+", token):
            raise ValidationError(f"Token {place} has a character that is not visible ASCII.")
        if not SHORTEST_TOKEN <= len(token) <= LONGEST_TOKEN:
            raise ValidationError(f"Token {place} has {len(token)} characters.")


def one_of(*words: str) -> fields.String:
    """One of these words."""
    return fields.String(validate=validate.OneOf(words, error="Not one of them."))


def text(longest: int) -> fields.String:
    """Text of 1 to `longest` characters; no control characters, and no spaces at an end."""
    error = f"Not 1 to {longest} characters."
    return fields.String(validate=[validate.Length(1, longest, error=error), Printable()])
