"""What stops a start or a command, and is shown as plain lines without a traceback."""

from __future__ import annotations

import errno


class StartError(Exception):
    """The message is for the service's operator: one line for each thing that is wrong."""


def not_bound(host: str, name: str, port: int, error: OSError) -> StartError:
    """Why `port`, the setting `name`, can't be listened on at `host`, the setting APP_HOST."""
    if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL):
        expected = "an address of this machine, 0.0.0.0 or, with IPv6, ::"
        return StartError(f"APP_HOST={host}: {error.strerror}. Expected {expected}.")
    return StartError(f"{name}={port}: {error.strerror}. Expected a free port.")
