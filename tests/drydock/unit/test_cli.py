"""The command line, `app`: what each command prints, and how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from probe import service
from probe.cli import main

if TYPE_CHECKING:
    from pathlib import Path


def run(*arguments: str, **variables: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, arguments, env={"APP_PORT": "", **variables})
    code = done.exit_code
    message = str(done.exception) if isinstance(done.exception, SystemExit) else ""
    return code, done.output + message


def test_help_lists_the_commands() -> None:
    code, printed = run("--help")
    assert code == 0
    assert all(f"  {name} " in printed for name in ("serve", "work", "settings", "healthcheck"))
    assert ("  migrate " in printed) == service.has_database


def test_settings_are_shown_with_secrets_masked() -> None:
    code, printed = run(
        "settings", APP_PORT="9000", API_TOKEN="hunter2-and-more", TRUSTED_PROXIES="10.0.0.0/8,::1"
    )
    assert code == 0
    assert "APP_PORT=9000\n" in printed
    assert "API_TOKEN=********\n" in printed
    assert ("DATABASE_URL=\n" in printed) == service.has_database
    assert "TRUSTED_PROXIES=10.0.0.0/8,::1/128\n" in printed
    assert "LOG_PROBES=false\n" in printed
    assert "hunter2" not in printed


@pytest.mark.parametrize(
    "command", ["settings", pytest.param("migrate", marks=pytest.mark.database)]
)
def test_a_bad_setting_is_one_line(command: str) -> None:
    code, printed = run(command, LOG_LEVEL="loud")
    assert code == 1
    assert printed.strip().startswith("error: LOG_LEVEL='loud': ")
    assert "Traceback" not in printed


@pytest.mark.database
def test_migrate_says_what_it_did(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path}/x.sqlite"
    assert run("migrate", DATABASE_URL=address) == (0, "applied 0001\n")
    assert run("migrate", DATABASE_URL=address) == (0, "nothing to do\n")


@pytest.mark.database
def test_migrate_says_why_it_could_not(tmp_path: Path) -> None:
    code, printed = run("migrate", DATABASE_URL=f"sqlite:///{tmp_path}/no/folder/x.sqlite")
    assert code == 1
    assert "can't be migrated" in printed


def test_greet_says_what_the_index_says() -> None:
    assert run("greet") == (0, "Hello from Docker!\n")
    assert run("greet", GREETING="Good day") == (0, "Good day\n")


def test_a_command_of_a_fork_s_own_ends_with_one_line_too() -> None:
    code, printed = run("greet", GREETING="two\nlines")
    assert code == 1
    assert printed.startswith("error: GREETING='two\\nlines': ")
    assert "Traceback" not in printed


def test_serve_becomes_gunicorn(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[object] = []
    monkeypatch.setattr("os.execvp", lambda *arguments: called.append(arguments))
    assert run("serve")[0] == 0
    assert called == [("gunicorn", ["gunicorn"])]


def test_healthcheck_fails_where_nobody_listens() -> None:
    code, printed = run("healthcheck", APP_PORT="1")
    assert code == 1
    assert "port 1" in printed


def test_as_a_module_and_without_flask() -> None:
    code = "import runpy, sys; sys.argv = ['app', '--help']\n"
    code += "try: runpy.run_module('probe', run_name='__main__')\n"
    code += "except SystemExit: pass\n"
    code += "print('flask' in sys.modules, 'sqlalchemy' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "Usage: app" in done.stdout
    assert done.stdout.endswith("False False\n")
