from __future__ import annotations

import runpy
import socket
from pathlib import Path
from typing import Any

import pytest
from gunicorn.config import Config

FILE = next(
    file
    for file in (Path("gunicorn.conf.py"), Path(__file__).parents[2] / "gunicorn.conf.py")
    if file.exists()
)


def settings() -> dict[str, Any]:
    names = runpy.run_path(str(FILE))
    modules = {"errno", "os", "socket", "sys", "Settings", "SettingsError"}
    return {n: v for n, v in names.items() if not n.startswith("_") and n not in modules}


def test_gunicorn_knows_every_setting_and_takes_its_value() -> None:
    """It ignores a name that it does not know: a misspelt one would do nothing, quietly."""
    config = Config()
    for name, value in settings().items():
        assert name in config.settings
        config.set(name, value)


def test_the_port_is_app_port_on_all_interfaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_PORT", "9000")
    assert settings()["bind"] == "0.0.0.0:9000"


def test_a_bad_setting_ends_the_start_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_PORT", "abc")
    with pytest.raises(SystemExit, match="error: APP_PORT='abc': "):
        settings()


def test_a_port_in_use_ends_the_start_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        monkeypatch.setenv("APP_PORT", str(taken.getsockname()[1]))
        with pytest.raises(SystemExit, match="in use"):
            settings()["on_starting"](None)


def test_a_stop_fits_into_docker_s_ten_seconds() -> None:
    assert settings()["graceful_timeout"] < 10
