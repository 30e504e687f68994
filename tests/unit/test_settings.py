from __future__ import annotations

import pytest

from app import create_app
from app.settings import Settings, SettingsError


def test_nothing_has_to_be_set() -> None:
    assert Settings.load({}) == Settings(app_env="development", app_port=5000)


def test_an_empty_variable_counts_as_unset() -> None:
    assert Settings.load({"APP_ENV": "", "APP_PORT": ""}) == Settings()


def test_values_are_read() -> None:
    environ = {"APP_ENV": "production", "APP_PORT": "9000", "UNRELATED": "x"}
    assert Settings.load(environ) == Settings(app_env="production", app_port=9000)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("APP_PORT", "abc"),
        ("APP_PORT", "0"),
        ("APP_PORT", "70000"),
        ("APP_PORT", "-1"),
        ("APP_PORT", "5000.5"),
        ("APP_PORT", "5000\n80"),
        ("APP_ENV", "pro duction"),
        ("APP_ENV", "x" * 33),
        ("APP_ENV", "prod\n"),
        ("WEB_CONCURRENCY", "0"),
        ("WEB_CONCURRENCY", "many"),
    ],
)
def test_a_bad_value_is_named_in_one_line(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as error:
        Settings.load({name: value})
    message = str(error.value)
    assert message.startswith(f"{name}={value!r}: ")
    assert "Expected " in message
    assert "\n" not in message


def test_all_bad_values_are_named_at_once() -> None:
    with pytest.raises(SettingsError) as error:
        Settings.load({"APP_PORT": "abc", "APP_ENV": "!"})
    assert [line.partition("=")[0] for line in str(error.value).splitlines()] == [
        "APP_ENV",
        "APP_PORT",
    ]


def test_the_application_does_not_start_with_a_bad_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_PORT", "abc")
    with pytest.raises(SystemExit, match="error: APP_PORT='abc'"):
        create_app()
