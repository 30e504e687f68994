"""The command line: `app` in the image, `python -m app` anywhere."""

from __future__ import annotations

import click

from drydock.cli import commands

from . import service

main = commands(service)


@main.command()
def greet() -> None:
    """Print what `/` says."""
    # Imported here, so that the help does not pay for it.
    from .settings import Settings

    click.echo(Settings.load().greeting)
