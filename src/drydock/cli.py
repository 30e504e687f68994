"""The commands of every service; a fork adds its own to the group."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from drydock import healthcheck
from drydock.failures import StartError

if TYPE_CHECKING:
    from drydock.service import Service


class Commands(click.Group):
    """A group of commands, each of which ends without a traceback where a StartError stops it."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command that is asked for."""
        try:
            return super().invoke(ctx)
        except StartError as error:
            raise SystemExit(f"error: {error}") from None


def commands(service: Service) -> click.Group:
    """The command line of `service`, to which it may add commands of its own."""

    @click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
    def main() -> None:
        """Run and look after the service."""

    @main.command()
    def serve() -> None:
        """Serve requests with gunicorn, as the image does by default."""
        # In place of this process, so that a container's signals reach gunicorn.
        os.execvp("gunicorn", ["gunicorn"])  # noqa: S606, S607 (no shell, and from the image's PATH)

    @main.command()
    def work() -> None:
        """Run the background process, instead of serving requests."""
        from drydock import background

        background.run(service)

    if service.has_database:

        @main.command()
        def migrate() -> None:
            """Bring the database to the newest revision."""
            applied = service.migrate()
            click.echo(f"applied {', '.join(applied)}" if applied else "nothing to do")

    @main.command()
    def settings() -> None:
        """Show the settings in effect; secrets are masked."""
        for name, value in service.load_settings().effective():
            click.echo(f"{name}={value}")

    @main.command("healthcheck")
    def healthcheck_command() -> None:
        """Ask the running service whether it is alive; exit status 1 if not."""
        healthcheck.main()

    return main
