"""A service without a database: it starts where nothing is installed that only a database needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from drydock import BaseSettings, Service, Settings, current

if TYPE_CHECKING:
    from pathlib import Path

# What is in requirements/database.txt, less what other packages need as well.
NOT_THERE = ("sqlalchemy", "alembic", "mako", "psycopg", "psycopg_c")
SERVE = """
import json, sys
sys.modules.update(dict.fromkeys({blocked}))  # importing one of these fails
from drydock import Service
service = Service("nothing")
client = service.create_app(service.load_settings()).test_client()
print(json.dumps([[r.status_code, r.get_json()] for r in map(client.get, {paths})]))
from prometheus_client import REGISTRY
print(*(metric.name for metric in REGISTRY.collect()))
print(*(name for name in sys.modules if name.partition(".")[0] in {blocked} and sys.modules[name]))
"""


@pytest.fixture
def service() -> Service:
    return Service("nothing")


def ask(*paths: str, **variables: str) -> tuple[list[list[object]], str, str]:
    """What a service responds in an interpreter without those packages; metrics; packages."""
    code = SERVE.format(blocked=NOT_THERE, paths=paths)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), **variables}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    responses, metrics, packages = done.stdout.splitlines()[-3:]
    return json.loads(responses), metrics, packages


def test_it_serves_and_is_ready_and_nothing_of_a_database_is_imported() -> None:
    responses, metrics, packages = ask("/livez", "/readyz", "/openapi.json", "/nothing")
    assert [status for status, _ in responses] == [200, 200, 200, 404]
    assert responses[1][1] == {"status": "ok", "checks": {}}
    assert "http_requests" in metrics
    assert "database" not in metrics
    assert packages == ""


def test_the_settings_of_a_database_are_neither_read_nor_shown(service: Service) -> None:
    assert ask("/readyz", DATABASE_URL="no address", DATA_DIR="/nowhere")[0][0][0] == 200
    names = {name for name, _ in service.load_settings().effective()}
    assert "API_TOKEN" in names
    assert not {name for name in names if name.startswith(("DATABASE", "DATA_"))}


@pytest.mark.parametrize(
    ("settings", "migrations", "expected"),
    [
        (Settings, None, "has no database. Expected a class derived from drydock.BaseSettings."),
        (BaseSettings, "x", "has a database. Expected a class derived from drydock.Settings."),
    ],
)
def test_settings_that_do_not_fit_end_the_start_with_one_line(
    settings: type[BaseSettings], migrations: str | None, expected: str
) -> None:
    name = f"drydock.settings:{settings.__name__}"
    service = Service("nothing", settings=name, migrations=migrations)
    for given in (None, settings()):
        with pytest.raises(SystemExit) as ended:
            service.create_app(given)
        assert str(ended.value).startswith(f"error: {name}: ")
        assert str(ended.value).endswith(expected)
        assert "\n" not in str(ended.value)


def test_who_asks_for_the_database_is_told_that_there_is_none(service: Service) -> None:
    with (
        service.create_app(BaseSettings()).app_context(),
        pytest.raises(RuntimeError, match=r"has no database\. Expected `migrations`"),
    ):
        _ = current().engine


def test_there_is_no_command_that_migrates(tmp_path: Path) -> None:
    code = "from drydock import Service; from drydock.cli import commands\n"
    code += "commands(Service('nothing'))(['migrate'], prog_name='app')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "Error: No such command 'migrate'."
