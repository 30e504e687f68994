"""The server's settings. gunicorn reads this file from the working directory by itself.

Every name here is one of gunicorn's: it ignores those that it does not know, so a unit test
checks each. https://docs.gunicorn.org/en/stable/settings.html
"""

import socket
import sys

from app.settings import Settings, SettingsError

try:
    _settings = Settings.load()
except SettingsError as error:
    # gunicorn prints a traceback for any exception from this file, but lets this one pass.
    sys.exit(f"error: {error}")

wsgi_app = "app:create_app()"
bind = f"0.0.0.0:{_settings.app_port}"

# Threads let a worker serve others while one request waits; processes use the cores.
worker_class = "gthread"
workers = _settings.web_concurrency
threads = 4

# Load the application once, before the workers are forked: they share its memory, and what
# can't be loaded ends the container at once with its reason.
preload_app = True

# Docker sends SIGKILL 10 seconds after SIGTERM: be done well before.
graceful_timeout = 6

# The heartbeat is a file: in memory, for the root is read-only and a disk can stall.
worker_tmp_dir = "/dev/shm"  # noqa: S108 (a private tmpfs in every container)

# On by default, and a file under $HOME, which a read-only root does not have.
control_socket_disable = True

# `docker logs` shows both: access on standard output, the server's own on standard error.
accesslog = "-"

# A client must not set the path prefix that links are built with.
forwarder_headers = ""


def on_starting(_server: object) -> None:
    """End with one line if the port can't be had: gunicorn tries six times over and says less."""
    with socket.socket() as probe:
        # As gunicorn itself binds; without it a restart would wait for old connections to go.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", _settings.app_port))
        except OSError as error:
            sys.exit(
                f"error: APP_PORT={_settings.app_port}: {error.strerror}. Choose another port."
            )
