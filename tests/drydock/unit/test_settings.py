"""Settings from the environment, secrets from files, and what is wrong with either."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING

import pytest

import probe.settings
from drydock.settings import BaseSettings, Settings, SettingsError, setting, text
from probe import create_app

if TYPE_CHECKING:
    from pathlib import Path

    from applications import Build


def test_nothing_has_to_be_set() -> None:
    assert Settings.load({}) == Settings(app_env="development", app_port=5000)


def test_an_empty_variable_counts_as_unset() -> None:
    assert Settings.load({"APP_PORT": "", "API_TOKEN": "", "API_TOKEN_FILE": ""}) == Settings()


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
        ("APP_ENV", ""),
        ("APP_HOST", ""),
        ("APP_HOST", "localhost"),
        ("APP_HOST", "[::1]"),
        ("APP_HOST", "10.0.0.0/8"),
        ("APP_HOST", "127.0.0.1:5000"),
        ("APP_HOST", "127.1"),
        ("APP_HOST", "fe80::1%eth0"),
        ("WEB_CONCURRENCY", "0"),
        ("WEB_CONCURRENCY", "many"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
        ("LOG_PROBES", "maybe"),
        ("METRICS_PORT", "65536"),
        ("TRUSTED_HOSTS", "*"),
        ("TRUSTED_HOSTS", "shop.example,"),
        ("TRUSTED_HOSTS", "shop.example:443"),
        ("TRUSTED_HOSTS", "https://shop.example"),
        ("TRUSTED_HOSTS", "shop.example other.example"),
        ("TRUSTED_HOSTS", "shop..example"),
        ("TRUSTED_HOSTS", "2001:db8::1"),
        ("TRUSTED_PROXIES", "10.0.0.1/8"),
        ("TRUSTED_PROXIES", "10.0.0.0/8,proxy"),
    ],
)
def test_a_bad_value_is_named_in_one_line(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as error:
        Settings.load({name: value})
    message = str(error.value)
    assert message.startswith(f"{name}={value!r}: ")
    assert "Expected " in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            pytest.param("DATABASE_URL", address, marks=pytest.mark.database)
            for address in (
                *("foo", "mysql://u:hunter2@h/d", "postgresql://u:hunter2@h:port/d"),
                *("sqlite://", "sqlite:///:memory:"),
            )
        ),
        ("API_TOKEN", "hunter2"),
        ("API_TOKEN", f"hunter2{'x' * 1018}"),
        ("API_TOKEN", "hunter2-and-nine-more\nhunter2-twice"),
        ("API_TOKEN", "hunter2-with-spaces hunter2-with-spaces hunter2-with-spaces"),
        ("API_TOKEN", "hunter2-with-a-letter-é"),
        ("API_TOKEN", "hunter2-with-another\xa0kind-of-space-in-it"),
        ("API_TOKEN", " \n"),
    ],
)
def test_a_bad_secret_is_named_but_not_shown(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as error:
        Settings.load({name: value})
    assert str(error.value).startswith(f"{name}: ")
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_a_secret_can_come_from_a_file(tmp_path: Path, ending: str) -> None:
    file = tmp_path / "token"
    file.write_bytes(b"16-characters-ok" + ending.encode())
    assert Settings.load({"API_TOKEN_FILE": str(file)}).api_token == "16-characters-ok"


@pytest.mark.parametrize("ending", ["", "\n", "\r\n", "\n\n"])
def test_a_token_s_file_may_have_the_old_one_on_a_second_line(tmp_path: Path, ending: str) -> None:
    file = tmp_path / "token"
    file.write_bytes(b"the-new-one-of-us\r\nthe-old-one-of-us" + ending.encode())
    settings = Settings.load({"API_TOKEN_FILE": str(file)})
    assert settings.api_tokens == ["the-new-one-of-us", "the-old-one-of-us"]


def test_without_a_token_there_is_none() -> None:
    assert Settings().api_tokens == []


def test_it_is_said_which_token_is_wrong() -> None:
    with pytest.raises(SettingsError) as error:
        Settings.load({"API_TOKEN": "16-characters-ok not-16-but-15-c"})
    expected = "API_TOKEN: Token 2 has 15 characters. Expected 16 to 1024 visible ASCII characters,"
    assert str(error.value).startswith(expected)


def test_a_secret_from_both_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t0ken")
    with pytest.raises(SettingsError, match="API_TOKEN: API_TOKEN_FILE is set as well"):
        Settings.load({"API_TOKEN_FILE": str(tmp_path / "token"), "API_TOKEN": "x"})


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "No such file"), (b"\xff", "UTF-8"), (b"\n", "empty")]
)
def test_a_secret_s_file_that_can_t_be_read_is_named(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError) as error:
        Settings.load({"API_TOKEN_FILE": str(file)})
    assert str(error.value).startswith(f"API_TOKEN_FILE={str(file)!r}: ")
    assert reason in str(error.value)


def test_an_unreadable_file_s_message_names_the_user(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=f"user id {os.geteuid()} can read"):
        Settings.load({"DATABASE_URL_FILE": str(tmp_path)})


def test_only_secrets_come_from_files(tmp_path: Path) -> None:
    (tmp_path / "port").write_text("9000")
    assert Settings.load({"APP_PORT_FILE": str(tmp_path / "port")}).app_port == 5000


def test_secrets_are_not_in_the_representation() -> None:
    assert "hunter2" not in repr(Settings(api_token="hunter2"))


def test_hosts_are_a_list() -> None:
    settings = Settings.load({"TRUSTED_HOSTS": "Shop.example, .cluster.example,[2001:db8::1]"})
    assert settings.trusted_hosts == ("shop.example", ".cluster.example", "[2001:db8::1]")
    assert dict(settings.effective())["TRUSTED_HOSTS"] == (
        "shop.example,.cluster.example,[2001:db8::1]"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Own(Settings):
    """A fork's own: a setting and a secret take one line each."""

    sender: str = setting("noreply", text(10), "up to 10 characters", "The sender of mails.")
    mail_key: str | None = setting(None, text(99), "any text", "The mail server's.", secret=True)


def test_a_fork_s_own_settings_are_as_good_as_the_template_s(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hunter2\n")
    own = Own.load({"SENDER": "me", "MAIL_KEY_FILE": str(tmp_path / "key"), "APP_PORT": "9000"})
    assert (own.sender, own.mail_key, own.app_port) == ("me", "hunter2", 9000)
    assert "hunter2" not in repr(own)
    assert dict(own.effective())["MAIL_KEY"] == "********"


@pytest.mark.parametrize("value", ["x" * 11, "a\nb", " x", "\x1b[1m"])
def test_text_is_bounded_and_printable(value: str) -> None:
    with pytest.raises(SettingsError) as error:
        Own.load({"SENDER": value})
    assert str(error.value).startswith(f"SENDER={value!r}: ")
    assert "\n" not in str(error.value)


def test_the_settings_in_effect_have_the_class_that_is_asked_for(build: Build) -> None:
    with build(greeting="Good day").app_context():
        assert probe.settings.Settings.current().greeting == "Good day"
        assert BaseSettings.current().app_env == "staging"
        with pytest.raises(TypeError, match="not <class"):
            Own.current()


@pytest.mark.database
def test_a_password_without_an_address_is_an_error() -> None:
    with pytest.raises(SettingsError, match="DATABASE_PASSWORD: DATABASE_URL is not set"):
        Settings.load({"DATABASE_PASSWORD": "x"})


def test_the_metrics_have_a_port_of_their_own() -> None:
    with pytest.raises(SettingsError, match="METRICS_PORT=9464: APP_PORT is the same"):
        Settings.load({"APP_PORT": "9464"})


def test_the_logs_are_text_in_development_only() -> None:
    assert Settings().logs_are_text
    assert not Settings(app_env="production").logs_are_text
    assert not Settings(log_format="json").logs_are_text


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
