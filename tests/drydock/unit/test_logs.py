"""What a line of the log says, and that no client can break or forge one."""

from __future__ import annotations

import datetime
import json
import logging
import re
import string
from typing import TYPE_CHECKING, Any

import pytest

from drydock import logs
from drydock.middleware import Observe, request_id, trace_id
from drydock.settings import Settings

if TYPE_CHECKING:
    from applications import Build

NASTY = 'a\nb\r\n{"level":"forged"}\x00\x1b[31m\x85\u2028"\\ é \udcff'


pytestmark = pytest.mark.usefixtures("restored_logging")


def lines(capfd: pytest.CaptureFixture[str]) -> list[str]:
    return capfd.readouterr().out.splitlines()


PRINTED = [chr(code) for code in range(0x20, 0x7F)]


def replaced(text: str, at: int, character: str) -> str:
    return text[:at] + character + text[at + 1 :]


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
        assert line == json.dumps(json.loads(line))


@pytest.mark.parametrize("seconds", [0, 0.0005, 0.9999994, 0.9999996, 1_795_000_000.001])
def test_a_time_has_its_milliseconds(seconds: float) -> None:
    exact = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    expected = exact.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert logs.timestamp(seconds) == expected


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


def test_a_trace_s_fields_are_hexadecimal_in_small_letters_and_of_one_length() -> None:
    """https://www.w3.org/TR/trace-context/#traceparent-header-field-values"""
    fields = ["01", TRACE, "00f067aa0ba902b7", "01"]

    def understood(*changed: str) -> bool:
        return trace_id({"HTTP_TRACEPARENT": "-".join(changed)}) is not None

    for at, field in enumerate(fields):
        before, after = fields[:at], fields[at + 1 :]
        for where in (0, len(field) - 1):
            given = {c for c in PRINTED if understood(*before, replaced(field, where, c), *after)}
            assert given == set(string.digits + "abcdef"), (at, where)
        assert not understood(*before, field[1:], *after)
        assert not understood(*before, field + "0", *after)
        assert not understood(*before, "", *after)
        assert not understood(*before, *after)
    for at in (2, 35, 52):
        whole = "-".join(fields)
        given = {c for c in PRINTED if understood(replaced(whole, at, c))}
        assert given == {"-"}, at
    # Version 00 ends here, a later one may go on behind a hyphen.
    for version, more in (("00", ""), ("01", "-"), ("01", "-x-y"), ("fe", "-")):
        assert understood(version, *fields[1:3], fields[3] + more)
    for version, more in (("00", "-"), ("01", "x"), ("01", "x-"), ("ff", "-"), ("ff", "")):
        assert not understood(version, *fields[1:3], fields[3] + more)
    # Zeros alone are no id; one digit that is none makes it one.
    for at in (1, 2):
        zeros = "0" * len(fields[at])
        assert not understood(*fields[:at], zeros, *fields[at + 1 :])
        for where in (0, len(zeros) - 1):
            assert understood(*fields[:at], replaced(zeros, where, "1"), *fields[at + 1 :])


def test_a_request_id_has_these_characters_and_no_other() -> None:
    letters = set(string.ascii_letters + string.digits)

    def kept(given: str) -> bool:
        return request_id({"HTTP_X_REQUEST_ID": given}) == given

    assert {c for c in PRINTED if kept(c)} == letters
    assert {c for c in PRINTED if kept(f"{c}x")} == letters
    assert {c for c in PRINTED if kept(f"x{c}")} == letters | set("._-")
    assert kept("x" * 128)
    assert not kept("x" * 129)
    assert not kept("x\n")


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


def test_requests_without_an_id_have_one_each(build: Build) -> None:
    client = build().test_client()
    ids = {client.get("/livez").headers["X-Request-ID"] for _ in "abc"}
    assert len(ids) == 3
    assert all(re.fullmatch("[0-9a-f]{32}", found) for found in ids)


def observed(seen: dict[str, Any], *more: Any) -> tuple[Any, ...]:
    """What the server is told of a response to a request; `more` is what its application adds."""
    told: list[tuple[Any, ...]] = []

    def application(_: Any, start: Any) -> list[bytes]:
        start("200 OK", [("A", "b")], *more)
        return []

    def start(*arguments: Any) -> Any:
        told.append(arguments)

    response: Any = Observe(application)(seen, start)
    response.close()
    (arguments,) = told
    return arguments


def test_the_access_line_has_the_ids_that_the_client_knows() -> None:
    seen = environ(HTTP_TRACEPARENT=f"00-{TRACE}-00f067aa0ba902b7-01")
    told = observed(seen)
    settings = Settings(log_format="json")
    line = json.loads(logs.access_line(settings, seen, status=200, seconds=0, size=0, now=0))
    assert told[0] == "200 OK"
    assert told[1][0] == ("A", "b")
    assert told[1][-1] == ("X-Request-ID", line["request_id"])
    assert line["trace_id"] == TRACE


def test_what_an_application_says_of_an_error_reaches_the_server() -> None:
    """PEP 3333: with `exc_info` an application replaces a response that it has begun already."""
    error = (ValueError, ValueError("broken"), None)
    assert observed(environ(), error)[2] is error


def test_the_ids_are_reset_when_the_application_fails() -> None:
    def fails(*_: object) -> list[bytes]:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        Observe(fails)({"REQUEST_METHOD": "GET"}, lambda *_: lambda _: None)
    assert logs.current_ids.get() == (None, None)
