"""The template's settings, each with its type, default, bounds and meaning; a fork adds its own.

All are read from the environment once, at start, and checked together. An empty variable counts
as unset, since compose files and shells pass an unset one on as empty; only an empty APP_ENV or
APP_HOST is an error. A secret NAME can be given as the path of a file instead, in NAME_FILE.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marshmallow import Schema, ValidationError, fields, validate

from drydock.failures import StartError
from drydock.validators import Printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Self

EXTENSION = "drydock"  # among Flask's: what an application was built with (drydock.context.State)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# The default is another one than the image's: empty, they would turn its production into
# development, and leave it reachable for nobody.
NEVER_EMPTY = {"APP_ENV", "APP_HOST"}

# Of a client's Host field, without the port: a name, an IPv4 address or an IPv6 address.
HOST_NAME = re.compile(r"\.?[a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\]")

# Characters. Of hexadecimal digits, 16 are the 64 bits that nobody can guess over a network:
# https://cheatsheetseries.owasp.org/cheatsheets/Session_Management_Cheat_Sheet.html
SHORTEST_TOKEN = 16
LONGEST_TOKEN = 1024


class SettingsError(StartError, ValueError):
    """One line for each bad variable: its name, what is wrong with it, what would be right."""


class _Networks(fields.Field[tuple[Network, ...]]):
    """Addresses and networks, separated by commas."""

    def _deserialize(self, value: str, *_: object, **__: object) -> tuple[Network, ...]:
        try:
            return tuple(ipaddress.ip_network(word.strip()) for word in value.split(","))
        except ValueError as error:
            raise ValidationError(f"{error}.") from None


class _Hosts(fields.Field[tuple[str, ...]]):
    """Names of hosts, separated by commas; one that begins with a dot stands for all below it."""

    def _deserialize(self, value: str, *_: object, **__: object) -> tuple[str, ...]:
        names = tuple(name.strip().lower() for name in value.split(","))
        for name in names:
            if not HOST_NAME.fullmatch(name):
                raise ValidationError(f"{name!r} is not a host's name.")
        return names


class _Address(fields.Field[str]):
    """An IPv4 or IPv6 address, in its usual spelling."""

    def _deserialize(self, value: str, *_: object, **__: object) -> str:
        try:
            address = ipaddress.ip_address(value)
        except ValueError:
            raise ValidationError("Not an IPv4 or IPv6 address.") from None
        if getattr(address, "scope_id", None):
            raise ValidationError("An address with a zone can't be listened on.")
        return str(address)


def _is_database_url(value: str) -> None:
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


def _words(value: str) -> list[str]:
    """What spaces or line ends separate; nothing else does, whatever Unicode calls a space."""
    return re.findall(r"[^ \t\r\n]+", value)


def _are_tokens(value: str) -> None:
    tokens = _words(value)
    if not 1 <= len(tokens) <= 2:  # noqa: PLR2004 (the new one and the old one)
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
        field: reads and checks the variable; marshmallow's, or one of the functions here.
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
class Settings:
    """The settings; each is the environment variable of the same name in capitals."""

    app_env: str = setting(
        "development",
        fields.String(validate=validate.Regexp(r"[A-Za-z0-9_-]{1,32}\Z", error="Not a name.")),
        "1 to 32 letters, digits, '-' and '_'",
        "The environment's name, shown in responses. Only `development` is less strict: logs are"
        " text, sample data is there, and without `API_TOKEN` anybody may write. The image sets"
        " `production`.",
    )
    app_host: str = setting(
        "127.0.0.1",
        _Address(),
        "an IPv4 or IPv6 address",
        "The address that the service and its metrics listen on. `0.0.0.0` is all IPv4 interfaces,"
        " `::` all interfaces, for IPv6 and IPv4. By default this machine alone can reach them; the"
        " image sets `0.0.0.0`.",
    )
    app_port: int = whole(
        5000,
        1,
        65535,
        "The TCP port that the service listens on.",
    )
    app_revision: str | None = setting(
        None,
        fields.String(),
        "any text",
        "The source revision, for the metrics. The build of the image sets it.",
    )
    show_revision: bool = setting(
        False,
        fields.Boolean(),
        "true or false",
        "Whether `/GetMyInfo` shows the source revision to all: it says which known faults are in"
        " the service.",
    )
    metrics_port: int = whole(
        9464,
        0,
        65535,
        "The TCP port of the metrics for Prometheus, at `/metrics`; 0 turns them off.",
    )
    web_concurrency: int | None = whole(
        None,
        1,
        64,
        "The number of worker processes. By default one for each CPU that the container may use, or"
        " fewer if its memory or pids limit is too low for that.",
    )
    web_threads: int = whole(
        4,
        1,
        256,
        "The number of requests that each worker serves at a time.",
    )
    web_max_requests: int = whole(
        100_000,
        0,
        10**9,
        "The number of requests after which a worker is replaced, which bounds any leak; 0 for"
        " never.",
    )
    web_max_requests_jitter: int | None = whole(
        None,
        0,
        10**9,
        "The number of requests by which, at random, one worker is replaced later than another, so"
        " that not all are at the same time. By default a tenth of `WEB_MAX_REQUESTS`.",
    )
    web_hang_timeout: int = whole(
        30,
        2,
        3600,
        "The seconds that a worker's main loop may stand still; then the worker is killed and"
        " replaced. A slow request does not count: it runs in a thread.",
    )
    web_backlog: int = whole(
        2048,
        16,
        65535,
        "The number of connections that wait in the kernel to be accepted; the kernel has a limit"
        " of its own (`net.core.somaxconn`).",
    )
    web_connections: int | None = whole(
        None,
        16,
        1_000_000,
        "The number of connections that each worker holds, as far as the limit of open files"
        " allows. For one more it closes the one that has been idle for longest. By default 10000,"
        " or fewer where the memory limit is low.",
    )
    web_keepalive: int = whole(
        75,
        0,
        3600,
        "The seconds that a connection may be idle before its next request; 0 closes it after each."
        " Take more than the load balancer's own, often 60, so that the balancer closes first.",
    )
    web_head_timeout: int = whole(
        10,
        1,
        300,
        "The seconds that a request's head (request line and header section) may take to arrive.",
    )
    web_body_timeout: int = whole(
        20,
        1,
        3600,
        "The seconds that a request's body may take to arrive, and a second more for each 4096"
        " bytes.",
    )
    web_send_timeout: int = whole(
        20,
        1,
        3600,
        "The seconds that a client may take to receive a response, and a second more for each 4096"
        " bytes.",
    )
    web_queue_timeout: int = whole(
        2,
        1,
        300,
        "The seconds that a request may wait for a thread; it then gets a 503.",
    )
    web_buffer_bytes: int | None = whole(
        None,
        2**20,
        2**33,
        "The bytes of requests and responses that each worker keeps for slow clients; beyond that"
        " it drops the slowest. A body up to an eighth of it takes no thread before it is complete."
        " By default 16 MiB, or less where the memory limit is low.",
    )
    drain_seconds: int = whole(
        0,
        0,
        3600,
        "The seconds that a stopping service goes on serving while `/readyz` says 503, for load"
        " balancers that need so long to notice. The sum with `GRACEFUL_TIMEOUT` has to be less"
        " than the time after which the engine kills (Docker: 10); to raise that:"
        " `docker stop --timeout`, `stop_grace_period`, `terminationGracePeriodSeconds`.",
    )
    graceful_timeout: int = whole(
        7,
        1,
        3600,
        "The seconds that a stopping service gives to the requests in flight.",
    )
    work_interval: int = whole(
        10,
        1,
        86_400,
        "The seconds that the background process (`app work`) waits after a step, unless that said"
        " that there is more to do.",
    )
    work_timeout: int = whole(
        300,
        1,
        86_400,
        "The seconds that a step of the background process may take. For a longer one the process"
        " ends, with its trace in the log, and the engine starts it again.",
    )
    max_fields: int = whole(
        100,
        16,
        1000,
        "The number of header fields that a request may have; with more it gets a 431.",
    )
    max_body_bytes: int = whole(
        2**20,
        1,
        2**30,
        "The size in bytes that a request's body may have; a larger one gets a 413.",
    )
    trusted_proxies: tuple[Network, ...] = setting(
        (),
        _Networks(),
        "addresses or networks such as 10.0.0.0/8,192.0.2.7",
        "The proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are used; by default none.",
    )
    trusted_hosts: tuple[str, ...] = setting(
        (),
        _Hosts(),
        "names such as shop.example,.cluster.example (the second is for all below it as well)",
        "The hosts that requests may name; any other gets a 400, except for `/livez` and `/readyz`."
        " By default any. Only with this is `X-Forwarded-Host` used, of a trusted proxy.",
    )
    log_level: str = setting(
        "info",
        one_of("debug", "info", "warning", "error"),
        "debug, info, warning or error",
        "The least important messages that are shown. Requests are `info`.",
    )
    log_format: str | None = setting(
        None,
        one_of("json", "text"),
        "json or text",
        "`json` writes an object a line, `text` lines for people. By default `json`, but `text` in"
        " development.",
    )
    log_probes: bool = setting(
        False,
        fields.Boolean(),
        "true or false",
        "Whether successful requests for `/livez` and `/readyz` are logged too.",
    )
    database_url: str | None = setting(
        None,
        fields.String(validate=_is_database_url),
        "postgresql://user:password@host:port/name or sqlite:////path/of/the/file",
        "The database. By default one in a file in `DATA_DIR`.",
        secret=True,
    )
    database_password: str | None = setting(
        None,
        fields.String(),
        "any text",
        "The database's password, if `DATABASE_URL` holds none; then only this is a secret.",
        secret=True,
    )
    database_timeout: int = whole(
        5,
        1,
        60,
        "The seconds that connecting to the database, a statement, or a wait for a lock may take.",
    )
    data_dir: Path = setting(
        Path("data"),
        fields.String(),
        "a directory's path",
        "Where the embedded database is kept, if there is no `DATABASE_URL`. The image sets"
        " `/data`.",
    )
    api_token: str | None = setting(
        None,
        fields.String(validate=_are_tokens),
        f"{SHORTEST_TOKEN} to {LONGEST_TOKEN} visible ASCII characters, or two such tokens with a"
        " space or a line end between them",
        "The bearer token that writing needs. Without one nobody may write; in development"
        " anybody may. While it is being changed, two are accepted: the new one first, then the old"
        " one.",
        secret=True,
    )

    @property
    def development(self) -> bool:
        """Whether conveniences that production must not have are on."""
        return self.app_env == "development"

    @property
    def api_tokens(self) -> list[str]:
        """The tokens that are accepted, the newest first; none where nobody may write."""
        return _words(self.api_token or "")

    @property
    def jitter(self) -> int:
        """The setting `web_max_requests_jitter`, or its default."""
        given = self.web_max_requests_jitter
        return self.web_max_requests // 10 if given is None else given

    @property
    def logs_are_text(self) -> bool:
        """Whether the format of the logs is text, as set or by default."""
        return (self.log_format or ("text" if self.development else "json")) == "text"

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
        """Check settings that depend on each other. A fork's own extends this.

        Raises:
            SettingsError: with one line that names them.

        """
        if self.database_password is not None and self.database_url is None:
            raise SettingsError("DATABASE_PASSWORD: DATABASE_URL is not set. Expected both.")
        if self.metrics_port == self.app_port:
            port = self.app_port
            raise SettingsError(f"METRICS_PORT={port}: APP_PORT is the same. Expected another.")

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
                if value or (name in NEVER_EMPTY and value == ""):
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
        return dataclasses.replace(settings, data_dir=Path(settings.data_dir))


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
