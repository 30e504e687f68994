"""The command line: `app` in the image, `python -m app` anywhere."""

from __future__ import annotations

import os

import click

from drydock import healthcheck


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Run and look after the service."""


@main.command()
def serve() -> None:
    """Serve requests with gunicorn, as the image does by default."""
    # In place of this process, so that a container's signals reach gunicorn.
    os.execvp("gunicorn", ["gunicorn"])  # noqa: S606, S607 (no shell, and from the image's PATH)


@main.command()
def migrate() -> None:
    """Bring the database to the newest revision."""
    from drydock.database import DatabaseError
    from drydock.database import migrate as bring_up_to_date
    from drydock.settings import Settings, SettingsError

    try:
        applied = bring_up_to_date(Settings.load())
    except (SettingsError, DatabaseError) as error:
        raise SystemExit(f"error: {error}") from None
    click.echo(f"applied {', '.join(applied)}" if applied else "nothing to do")


@main.command()
def settings() -> None:
    """Show the settings in effect; secrets are masked."""
    from drydock.settings import Settings, SettingsError

    try:
        loaded = Settings.load()
    except SettingsError as error:
        raise SystemExit(f"error: {error}") from None
    for name, value in loaded.effective():
        click.echo(f"{name}={value}")


@main.command("healthcheck")
def healthcheck_command() -> None:
    """Ask the running service whether it is alive; exit status 1 if not."""
    healthcheck.main()
