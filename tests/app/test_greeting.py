from __future__ import annotations

import datetime
import runpy
import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from app import create_app
from app.cli import main
from app.settings import Settings

if TYPE_CHECKING:
    from flask.testing import FlaskClient

    from applications import Build


def test_the_index_greets_and_lists_the_paths(client: FlaskClient) -> None:
    response = client.get("/").get_json()
    assert response["message"] == "Hello from Docker!"
    assert {"/", "/GetMyInfo", "/hello/{name}", "/livez", "/readyz"} <= set(response["paths"])


def test_the_greeting_is_a_setting(build: Build) -> None:
    assert build(greeting="Good day").test_client().get("/").get_json()["message"] == "Good day"


def test_a_command_prints_it_too() -> None:
    done = CliRunner().invoke(main, ["greet"], env={"GREETING": "Good day"})
    assert (done.exit_code, done.output) == (0, "Good day\n")


def test_python_runs_the_package_as_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["app", "greet"])
    monkeypatch.setenv("GREETING", "Good day")
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("app", run_name="__main__")
    assert (ended.value.code, capsys.readouterr().out) == (0, "Good day\n")


def test_flask_finds_the_application(build: Build) -> None:
    with build().app_context():
        built = create_app(Settings.current())
    assert "hello" in built.blueprints


@pytest.mark.parametrize("name", ["jvictor", "José 東京", "a<b>&'\"", "x" * 1000])
def test_hello_greets_any_name(client: FlaskClient, name: str) -> None:
    response = client.get(f"/hello/{name}")
    assert response.get_json() == {"message": f"Hello, {name}!", "environment": "staging"}


def test_info_describes_the_service(client: FlaskClient) -> None:
    response = client.get("/GetMyInfo").get_json()
    assert datetime.datetime.fromisoformat(response["started_at"])
    assert (response["environment"], response["revision"]) == ("staging", None)
