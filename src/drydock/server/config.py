"""The server's settings, for gunicorn.conf.py.

Every name here is one of gunicorn's: it ignores those that it does not know, so a unit test
checks each. https://docs.gunicorn.org/en/stable/settings.html
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drydock.failures import not_bound
from drydock.server import hooks, limits, strict
from drydock.server.logger import ServerLogger
from drydock.settings import SettingsError

if TYPE_CHECKING:
    from drydock.service import Service
    from drydock.settings import BaseSettings


def configure(service: Service) -> dict[str, Any]:
    """The settings of gunicorn for `service`: values and hooks, by name.

    Raises:
        SystemExit: with one clear line for each thing that is wrong with the environment.

    """
    hooks.Source.load = service.load_settings
    try:
        settings = hooks.settings()
    except SettingsError as error:
        # gunicorn prints a traceback for any exception from its file, but lets this one pass.
        sys.exit(f"error: {error}")
    plan = hooks.plan()

    # The heartbeat is a file: in memory, since the root is read-only and a disk can stall.
    worker_tmp_dir = "/dev/shm"
    if settings.metrics_port:
        directory = Path(worker_tmp_dir, f"metrics-{settings.app_port}")
        try:
            hooks.use_metrics_directory(directory, plan.workers)
        except SettingsError as error:
            sys.exit(f"error: {error}")

    return {
        "wsgi_app": service.wsgi_app,
        "bind": [address(settings.app_host, port) for port in ports(settings).values()],
        # Threads let a worker serve others while one request waits; processes use the cores, as
        # many as the container may use and has the memory for. The class is gthread with a main
        # loop of its own: docs/server.md.
        "worker_class": "drydock.server.worker.Worker",
        "workers": plan.workers,
        "threads": plan.threads,
        # Load the application once, before the workers are forked: they share its memory, and what
        # can't be loaded ends the container at once with its reason.
        "preload_app": True,
        # A leak in any library is bounded: a worker is replaced after this many requests and a
        # random number more, so that not all are replaced at the same time. 0 turns it off.
        "max_requests": settings.web_max_requests,
        "max_requests_jitter": settings.jitter,
        # Bytes: the longest that gunicorn takes, and what proxies usually let pass.
        # GUNICORN_CMD_ARGS (--limit-request-line, --limit-request-field_size) can set others.
        "limit_request_line": 8190,
        "limit_request_field_size": 8190,
        "limit_request_fields": settings.max_fields,
        # Seconds; 0 turns it off.
        "keepalive": settings.web_keepalive,
        # A worker whose main loop has stood still for this many seconds is killed. A request may
        # take longer: it runs in a thread.
        "timeout": settings.web_hang_timeout,
        # Docker sends SIGKILL 10 seconds after SIGTERM: be done well before. The worker keeps to
        # GRACEFUL_TIMEOUT by itself; this is when it is killed if it does not.
        "graceful_timeout": settings.graceful_timeout + 1,
        # Connections that wait to be accepted; a lower limit of the kernel (net.core.somaxconn)
        # counts instead.
        "backlog": settings.web_backlog,
        # Pieces of a file are sent as every response is: what the client does not take is kept.
        "sendfile": False,
        # By name: "auto" takes a faster one if it is installed, whatever its version.
        "http_parser": "python",
        "worker_tmp_dir": worker_tmp_dir,
        # On by default, and a file under $HOME, which a read-only root does not have.
        "control_socket_disable": True,
        # `docker logs` shows all: requests, gunicorn's messages, the application's.
        "accesslog": "-",
        "logger_class": ServerLogger,
        # Behind a trusted proxy the scheme is that of the client's connection to it. The client's
        # address is found by the application. No proxy sets the path prefix of links.
        "forwarded_allow_ips": ",".join(str(network) for network in settings.trusted_proxies),
        "forwarder_headers": "",
        "on_starting": on_starting,
        "when_ready": hooks.when_ready,
        "pre_fork": hooks.pre_fork,
        "post_fork": hooks.post_fork,
        "pre_request": strict.pre_request,
        "post_request": hooks.post_request,
        "child_exit": hooks.child_exit,
    }


def address(host: str, port: int) -> str:
    """A host and a port as gunicorn wants them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def ports(settings: BaseSettings) -> dict[str, int]:
    """The ports that are listened on, by the names of their settings."""
    named = {"APP_PORT": settings.app_port, "METRICS_PORT": settings.metrics_port}
    return {name: port for name, port in named.items() if port}


def on_starting(_server: object) -> None:
    """Log what was found and chosen; exit with one line if a port can't be listened on.

    gunicorn itself tries the port six times over and says less.
    """
    limits.report(hooks.plan())
    host = hooks.settings().app_host
    for name, port in ports(hooks.settings()).items():
        try:
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
                # As gunicorn binds; without it a restart would fail while old connections close.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
        except OSError as error:
            sys.exit(f"error: {not_bound(host, name, port, error)}")
