from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING, Any

import pytest

from drydock import logs
from drydock.middleware import Observe, trace_id
from drydock.settings import Settings

if TYPE_CHECKING:
    from applications import Build

NASTY = 'a\nb\r\n{"level":"forged"}\x00\x1b[31m\x85\u2028"\\ é \udcff'


pytestmark = pytest.mark.usefixtures("restored_logging")


def lines(capfd: pytest.CaptureFixture[str]) -> list[str]:
    return capfd.readouterr().out.splitlines()


def test_json_is_an_object_a_line_whatever_is_logged(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure(Settings(log_format="json"))
    logging.getLogger("x").warning("client said %s", NASTY)
    try:
        raise ValueError(NASTY)
    except ValueError:
        logging.getLogger("x").exception("failed", extra={"more": NASTY})
    first, second = (json.loads(line) for line in lines(capfd))
    assert first["message"] == f"client said {NASTY}"
    assert first["level"] == "warning"
    assert first["logger"] == "x"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first["time"])
    assert first["request_id"] is None
    assert first["trace_id"] is None
    assert "Traceback" in second["exc_info"]
    assert second["more"] == NASTY


def test_text_is_a_line_each_and_a_trace_is_indented(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure(Settings(log_format="text"))
    logging.getLogger("x").warning("client said %s", NASTY)
    try:
        raise ValueError(NASTY)
    except ValueError:
        logging.getLogger("x").exception("failed")
    printed = lines(capfd)
    heads = [line for line in printed if not line.startswith("    ")]
    assert len(heads) == 2
    assert "\\n" in heads[0]
    assert "\x1b" not in "".join(printed)


def test_a_line_that_can_t_be_formatted_does_not_end_the_request(
    capfd: pytest.CaptureFixture[str],
) -> None:
    logs.configure(Settings())
    logging.getLogger("x").warning("%d", "not a number")
    assert "Logging error" in capfd.readouterr().err


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_message_too_long_for_a_pipe_is_cut(
    capfd: pytest.CaptureFixture[str], log_format: str
) -> None:
    logs.configure(Settings(log_format=log_format))
    logging.getLogger("x").warning("client said %s", "\xff" * 8000)
    (line,) = lines(capfd)
    assert len(line.encode()) < logs.LONGEST
    assert "client said" in line


def test_less_important_messages_are_left_out(capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure(Settings(log_level="error"))
    logging.getLogger("x").warning("not shown")
    assert lines(capfd) == []


def environ(**values: Any) -> dict[str, Any]:
    return {"REQUEST_METHOD": "GET", "PATH_INFO": "/", **values}


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_an_access_line_is_one_line_short_enough_for_a_pipe(log_format: str) -> None:
    long = NASTY + "\x00" * 100_000
    line = logs.access_line(
        Settings(log_format=log_format),
        environ(REQUEST_METHOD=long, RAW_URI=long, HTTP_USER_AGENT=long, REMOTE_ADDR=long),
        status=200,
        seconds=0.0123456,
        size=12,
        now=0,
    )
    assert len(line.splitlines()) == 1
    assert len(line.encode("utf-8", "backslashreplace")) < 4096
    if log_format == "json":
        assert json.loads(line)["level"] == "info"


def test_an_access_line_has_all_of_the_request_but_the_query() -> None:
    line = logs.access_line(
        Settings(log_format="json"),
        environ(
            RAW_URI="/hello/x%20y?secret=1",
            REMOTE_ADDR="192.0.2.1",
            HTTP_USER_AGENT="curl/8",
            **{"app.request_id": "r1", "app.trace_id": "t1"},
        ),
        status=404,
        seconds=0.0123456,
        size=12,
        now=0.5,
    )
    assert json.loads(line) == {
        "time": "1970-01-01T00:00:00.500Z",
        "level": "info",
        "logger": "app.access",
        "message": "GET /hello/x%20y 404",
        "request_id": "r1",
        "trace_id": "t1",
        "method": "GET",
        "path": "/hello/x%20y",
        "status": 404,
        "duration_ms": 12.346,
        "bytes": 12,
        "client": "192.0.2.1",
        "user_agent": "curl/8",
    }


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (f"00-{TRACE}-00f067aa0ba902b7-01", TRACE),
        (f"01-{TRACE}-00f067aa0ba902b7-01-more", TRACE),
        (f"00-{TRACE}-00f067aa0ba902b7-01-more", None),
        (f"ff-{TRACE}-00f067aa0ba902b7-01", None),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-00f067aa0ba902b7-01", None),
        ("", None),
        ("00-x\n", None),
    ],
)
def test_traceparent_is_understood(header: str, found: str | None) -> None:
    assert trace_id({"HTTP_TRACEPARENT": header}) == found


@pytest.mark.parametrize("given", ["abc", "A.b_c-1", "0" * 128])
def test_a_well_formed_request_id_is_kept(build: Build, given: str) -> None:
    response = build().test_client().get("/livez", headers={"X-Request-ID": given})
    assert response.headers["X-Request-ID"] == given


@pytest.mark.parametrize("given", ["", "a b", "-a", "x" * 129, "é", 'a"', "a;b", "a/b"])
def test_another_request_id_is_replaced(build: Build, given: str) -> None:
    client = build().test_client()
    ids = {client.get("/", headers={"X-Request-ID": given}).headers["X-Request-ID"] for _ in "ab"}
    assert len(ids) == 2
    assert all(re.fullmatch("[0-9a-f]{32}", found) for found in ids)


def test_every_line_of_a_request_has_its_ids_and_no_other_line(
    build: Build, capfd: pytest.CaptureFixture[str]
) -> None:
    app = build(log_format="json")

    @app.get("/talk")
    def talk() -> str:
        logging.getLogger("library").warning("from within")
        return "x"

    headers = {"X-Request-ID": "r1", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    app.test_client().get("/talk", headers=headers)
    logging.getLogger("library").warning("from without")
    inside, outside = (json.loads(line) for line in lines(capfd) if "from with" in line)
    assert (inside["request_id"], inside["trace_id"]) == ("r1", TRACE)
    assert (outside["request_id"], outside["trace_id"]) == (None, None)


def test_the_ids_are_reset_when_the_application_fails() -> None:
    def fails(*_: object) -> list[bytes]:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        Observe(fails)({"REQUEST_METHOD": "GET"}, lambda *_: lambda _: None)
    assert logs.current_ids.get() == (None, None)
