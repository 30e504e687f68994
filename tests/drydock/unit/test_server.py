"""The server's configuration: settings, addresses, and what is wrong with them."""

from __future__ import annotations

import datetime
import json
import math
import os
import runpy
import socket
import types
from pathlib import Path
from typing import Any

import pytest
from gunicorn.config import Config

from drydock.server import hooks
from drydock.server.config import configure
from drydock.server.logger import ServerLogger, write_error
from drydock.server.rejections import rejections
from probe import service

FILE = next(
    file
    for file in (Path("gunicorn.conf.py"), Path(__file__).parents[3] / "gunicorn.conf.py")
    if file.exists()
)


def settings() -> dict[str, Any]:
    """gunicorn's settings for a service; here for the probe."""
    return configure(service)


def of_the_file() -> dict[str, Any]:
    """The same for the fork's own service, with what its file adds."""
    names = runpy.run_path(str(FILE))
    imported = {"configure", "service"}
    return {n: v for n, v in names.items() if not n.startswith("_") and n not in imported}


@pytest.fixture(autouse=True)
def no_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading the file makes a directory and sets a variable; not here."""
    monkeypatch.setenv("METRICS_PORT", "0")
    hooks.settings.cache_clear()
    hooks.plan.cache_clear()


def test_gunicorn_knows_every_setting_and_takes_its_value() -> None:
    """It ignores a name that it does not know: a misspelt one would do nothing, quietly."""
    config = Config()
    found = of_the_file()
    ours = settings()
    assert set(ours) <= set(found)
    for name, hook in ours.items():
        if callable(hook):
            assert found[name] is hook, f"gunicorn.conf.py replaces {name}, which drydock needs"
    for name, value in found.items():
        assert name in config.settings
        config.set(name, value)


@pytest.mark.parametrize(
    ("host", "bind"),
    [("0.0.0.0", "0.0.0.0:9000"), ("::", "[::]:9000"), ("0:0:0:0:0:0:0:1", "[::1]:9000")],
)
def test_the_address_is_that_of_the_settings(
    monkeypatch: pytest.MonkeyPatch, host: str, bind: str
) -> None:
    monkeypatch.setenv("APP_HOST", host)
    monkeypatch.setenv("APP_PORT", "9000")
    assert settings()["bind"] == [bind]


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
def test_another_machine_s_address_ends_the_start_with_one_line(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setenv("APP_HOST", host)
    with pytest.raises(SystemExit) as ended:
        settings()["on_starting"](None)
    assert str(ended.value).startswith(f"error: APP_HOST={host}: Cannot assign requested address.")
    assert str(ended.value).endswith(
        "Expected an address of this machine, 0.0.0.0 or, with IPv6, ::."
    )


def test_the_server_s_limits_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {
        "WEB_HANG_TIMEOUT": "timeout",
        "WEB_BACKLOG": "backlog",
        "WEB_KEEPALIVE": "keepalive",
        "WEB_MAX_REQUESTS": "max_requests",
        "WEB_MAX_REQUESTS_JITTER": "max_requests_jitter",
        "MAX_FIELDS": "limit_request_fields",
    }
    monkeypatch.setenv("WEB_MAX_REQUESTS", "1000")
    assert settings()["max_requests_jitter"] == 100
    hooks.settings.cache_clear()
    for number, variable in enumerate(names, 300):
        monkeypatch.setenv(variable, str(number))
    found = settings()
    assert [found[name] for name in names.values()] == list(range(300, 300 + len(names)))


def test_a_bad_setting_ends_the_start_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_PORT", "abc")
    with pytest.raises(SystemExit, match="error: APP_PORT='abc': "):
        settings()


def test_a_bad_setting_of_a_fork_s_own_ends_the_start_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREETING", "two\nlines")
    with pytest.raises(SystemExit, match=r"error: GREETING='two\\nlines'"):
        settings()


def test_a_port_in_use_ends_the_start_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("APP_PORT", str(port))
        for host in ("127.0.0.1", "0.0.0.0", "::"):
            monkeypatch.setenv("APP_HOST", host)
            hooks.settings.cache_clear()
            message = f"^error: APP_PORT={port}: Address already in use. Expected a free port.$"
            with pytest.raises(SystemExit, match=message):
                settings()["on_starting"](None)


def test_a_stop_fits_into_docker_s_ten_seconds() -> None:
    assert settings()["graceful_timeout"] < 10


def room(monkeypatch: pytest.MonkeyPatch, blocks: int, free: int) -> None:
    found = types.SimpleNamespace(f_blocks=blocks, f_bavail=free, f_frsize=4096)
    monkeypatch.setattr("os.statvfs", lambda _: found)


@pytest.mark.parametrize(("blocks", "free"), [(16384, 384), (0, 0)])
def test_the_metrics_take_what_is_just_enough_or_without_a_limit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, blocks: int, free: int
) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")
    room(monkeypatch, blocks, free)
    hooks.use_metrics_directory(tmp_path / "metrics", workers=2)
    assert os.environ["PROMETHEUS_MULTIPROC_DIR"] == str(tmp_path / "metrics")


def test_too_little_room_for_the_metrics_ends_the_start_with_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("METRICS_PORT", "9464")
    monkeypatch.setenv("WEB_CONCURRENCY", "2")
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")
    room(monkeypatch, blocks=16384, free=383)
    with pytest.raises(SystemExit, match=r"METRICS_PORT: /dev/shm has 1532 KiB left, .* need 1536"):
        settings()


def served(status: str, **environ: Any) -> tuple[Any, Any, dict[str, Any], datetime.timedelta]:
    """The arguments of gunicorn's access()."""
    response = types.SimpleNamespace(status=status, sent=3)
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/x", "REMOTE_ADDR": "192.0.2.1"} | environ
    return response, None, environ, datetime.timedelta(milliseconds=5)


@pytest.mark.usefixtures("restored_logging")
@pytest.mark.parametrize(
    ("status", "environ", "variables", "shown"),
    [
        ("200 OK", {}, {}, True),
        ("200 OK", {"PATH_INFO": "/livez"}, {}, False),
        ("200 OK", {"PATH_INFO": "/readyz"}, {}, False),
        ("200 OK", {"PATH_INFO": "/livez"}, {"LOG_PROBES": "true"}, True),
        ("503 Service Unavailable", {"PATH_INFO": "/readyz"}, {}, True),
        ("200 OK", {"PATH_INFO": "/metrics", "app.metrics": True}, {}, False),
        ("200 OK", {}, {"LOG_LEVEL": "warning"}, False),
    ],
)
def test_a_request_is_a_line_but_a_probe_that_went_well_is_none(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    status: str,
    environ: dict[str, Any],
    variables: dict[str, str],
    shown: bool,
) -> None:
    monkeypatch.setenv("LOG_FORMAT", "json")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    logger = ServerLogger(Config())
    logger.access(*served(status, **environ))
    printed = capfd.readouterr().out
    assert bool(printed) == shown
    if shown:
        assert json.loads(printed)["status"] == int(status[:3])
        assert json.loads(printed)["bytes"] == 3


@pytest.mark.usefixtures("restored_logging")
def test_gunicorn_s_own_messages_are_lines_like_all_others(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOG_FORMAT", "json")
    logger = ServerLogger(Config())
    logger.warning("Invalid request from ip=%s: %s", "x", "logged by write_error")
    logger.warning("client said %s", "a\nb")
    line = json.loads(capfd.readouterr().out)
    assert line["logger"] == "gunicorn"
    assert line["message"] == "client said a\nb"


def test_a_new_worker_takes_the_lowest_slot_that_is_free() -> None:
    workers: dict[int, Any] = {}
    arbiter: Any = types.SimpleNamespace(WORKERS=workers)

    def fork(pid: int) -> int:
        worker: Any = types.SimpleNamespace()
        hooks.pre_fork(arbiter, worker)
        workers[pid] = worker
        slot: int = worker.slot
        return slot

    assert [fork(pid) for pid in (10, 11, 12)] == [0, 1, 2]
    del workers[11]
    assert fork(13) == 1
    assert fork(14) == 3


@pytest.mark.usefixtures("restored_logging")
def test_what_gunicorn_rejects_is_one_line_that_has_the_response_s_id(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """An unknown transfer coding, too: gunicorn would have it a 501."""
    monkeypatch.setenv("LOG_FORMAT", "json")
    rejections.report(math.inf)  # or this may not be the first
    logger = ServerLogger(Config())
    response, request, environ, took = served("400 Bad Request")
    del environ["PATH_INFO"]  # as gunicorn does, where it did not come to serving
    logger.access(response, request, environ, took)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    with client, server:
        write_error(server, 501, "Bad Request", "'xchunked'")
        head, _, body = client.recv(4096).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    line = json.loads(capfd.readouterr().out)
    assert line["message"].endswith("with 400: 'xchunked'")
    assert line["request_id"] == json.loads(body)["request_id"]
