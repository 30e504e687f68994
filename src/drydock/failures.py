"""What stops a start or a command, and is shown as plain lines without a traceback."""

from __future__ import annotations


class StartError(Exception):
    """The message is for the service's operator: one line for each thing that is wrong."""
