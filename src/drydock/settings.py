"""The template's settings; a fork adds its own (docs/extend.md)."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from drydock.kinds import (
    LONGEST_TOKEN,
    SHORTEST_TOKEN,
    Address,
    Folder,
    Hosts,
    Network,
    Networks,
    are_tokens,
    is_database_url,
    one_of,
    text,
    words,
)
from drydock.schemas import fields, validate
from drydock.variables import SettingsError, Variables, setting, whole

__all__ = ["BaseSettings", "Settings", "SettingsError", "one_of", "setting", "text", "whole"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class BaseSettings(Variables):
    """The settings of a service without a database.

    Each is the environment variable of the same name in capitals.
    """

    # The default is another one than the image's: empty, they would turn its production into
    # development, and leave it reachable for nobody.
    never_empty = frozenset({"APP_ENV", "APP_HOST"})

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
        Address(),
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
        Networks(),
        "addresses or networks such as 10.0.0.0/8,192.0.2.7",
        "The proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are used; by default none.",
    )
    trusted_hosts: tuple[str, ...] = setting(
        (),
        Hosts(),
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
    api_token: str | None = setting(
        None,
        fields.String(validate=are_tokens),
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
        return words(self.api_token or "")

    @property
    def jitter(self) -> int:
        """The setting `web_max_requests_jitter`, or its default."""
        given = self.web_max_requests_jitter
        return self.web_max_requests // 10 if given is None else given

    @property
    def logs_are_text(self) -> bool:
        """Whether the format of the logs is text, as set or by default."""
        return (self.log_format or ("text" if self.development else "json")) == "text"

    def check(self) -> None:
        """Check settings that depend on each other. A fork's own extends this.

        Raises:
            SettingsError: with one line that names them.

        """
        super().check()
        if self.metrics_port == self.app_port:
            port = self.app_port
            raise SettingsError(f"METRICS_PORT={port}: APP_PORT is the same. Expected another.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(BaseSettings):
    """The settings of a service with a database; that is the usual one."""

    database_url: str | None = setting(
        None,
        fields.String(validate=is_database_url),
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
        Folder(),
        "a directory's path",
        "Where the embedded database is kept, if there is no `DATABASE_URL`. The image sets"
        " `/data`.",
    )

    def check(self) -> None:
        """Check settings that depend on each other. A fork's own extends this.

        Raises:
            SettingsError: with one line that names them.

        """
        super().check()
        if self.database_password is not None and self.database_url is None:
            raise SettingsError("DATABASE_PASSWORD: DATABASE_URL is not set. Expected both.")
