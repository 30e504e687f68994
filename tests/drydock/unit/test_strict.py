"""What is ambiguous in HTTP is rejected, and what is valid is not."""

from __future__ import annotations

import itertools
import re
import string
from typing import TYPE_CHECKING, Any

import pytest
from gunicorn.config import Config
from gunicorn.http.errors import (
    InvalidChunkSize,
    InvalidHeader,
    InvalidRequestLine,
    NoMoreData,
    ParseException,
)
from gunicorn.http.parser import RequestParser

from drydock.server import hooks, strict

if TYPE_CHECKING:
    from collections.abc import Callable

    Checked = Callable[..., Any]


@pytest.fixture(autouse=True)
def small_bodies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_BODY_BYTES", "10")
    hooks.settings.cache_clear()


def parser(sent: bytes) -> RequestParser:
    return RequestParser(Config(), iter([sent]), ("192.0.2.1", 1))


def checked(line: str, *fields: str, content: bytes = b"") -> Any:
    """The request, once gunicorn has parsed it and the hook let it pass."""
    head = "".join(f"{part}\r\n" for part in (line, *fields))
    request: Any = next(parser(head.encode() + b"\r\n" + content))
    strict.pre_request(None, request)
    return request


@pytest.mark.parametrize(
    "host", ["x", "a-b.c_d:8080", "192.0.2.1", "[2001:db8::1]:80", "x:", "", "X"]
)
def test_a_host_is_a_name_or_an_address_and_perhaps_a_port(host: str) -> None:
    checked("GET / HTTP/1.1", f"Host: {host}")


@pytest.mark.parametrize(
    "host", ["x y", "x,y", "x/y", "u@x", "x?y", "x#y", "x\\y", "<x>", "x:y", "x:1:2", "[::1", "x%"]
)
def test_any_other_host_is_rejected(host: str) -> None:
    for version in ("1.0", "1.1"):
        with pytest.raises(InvalidHeader, match="'HOST'"):
            checked(f"GET / HTTP/{version}", f"Host: {host}")


PRINTED = [chr(code) for code in range(0x21, 0x7F)]


def taken(host: str) -> bool:
    try:
        checked("GET / HTTP/1.1", f"Host: {host}")
    except InvalidHeader:
        return False
    return True


def test_a_host_has_these_characters_and_no_other() -> None:
    letters = set(string.ascii_letters + string.digits)
    assert {c for c in PRINTED if taken(f"{c}x")} == letters | set("._-")
    assert {c for c in PRINTED if taken(f"x{c}x")} == letters | set("._-")
    assert {c for c in PRINTED if taken(f"[{c}]")} == set(string.hexdigits + ":.")
    assert {c for c in PRINTED if taken(f"[::{c}]:80")} == set(string.hexdigits + ":.")
    assert {c for c in PRINTED if taken(f"x:8{c}")} == set(string.digits)
    for host in ("::1", "::1]", "[]", "[::1", "[[::1]]", "[::1]x", "x[::1]", "[::1]80", "x:80:"):
        assert not taken(host), host


def test_a_host_has_to_be_there_since_http_1_1() -> None:
    for line in ("GET / HTTP/1.1", "GET / HTTP/1.2", "GET http://x/ HTTP/1.1"):
        with pytest.raises(InvalidHeader, match="'HOST'"):
            checked(line, "Accept: */*")
    checked("GET / HTTP/1.0")


@pytest.mark.parametrize(
    ("target", "host", "path"),
    [
        ("http://y/z?q", "y", "/z"),
        ("HTTPS://y:81/z", "y:81", "/z"),
        ("http://[::1]", "[::1]", "/"),
        ("http://y?q", "y", "/"),
        ("http://y/?q", "y", "/"),
        ("http://y/", "y", "/"),
        ("https://y", "y", "/"),
        ("hTTp://Y:/z", "Y:", "/z"),
        ("http://y/z?http://x/", "y", "/z"),
    ],
)
def test_an_absolute_target_s_host_takes_the_field_s_place(
    target: str, host: str, path: str
) -> None:
    request = checked(f"GET {target} HTTP/1.1", "Host: x", "Accept: */*")
    assert request.headers == [("ACCEPT", "*/*"), ("HOST", host)]
    assert request.path == path


@pytest.mark.parametrize(
    "target",
    [
        *("/x#y", "http://y/#z", "ftp://y/", "http:///z", "http://u@y/", "http://:80/"),
        *("http://y:z/", "http://y\\z/", "x/http://y", "?http://y", "http//y/", "http:/y/"),
        *("http:y/", "httpss://y/", "htp://y/", "xhttp://y/", "http://", "http://?q", "http:///"),
        *("http://y/z#", "http://y?q#z", "http://y#z", "http://[::1/", "http://y@/", "https:"),
    ],
)
def test_any_other_target_is_rejected(target: str) -> None:
    with pytest.raises(InvalidRequestLine, match=re.escape(repr(target)[1:-1])):
        checked(f"GET {target} HTTP/1.1", "Host: x")


def test_an_asterisk_and_connect_are_left_to_the_application() -> None:
    assert checked("OPTIONS * HTTP/1.1", "Host: x").uri == "*"
    assert checked("CONNECT x:443 HTTP/1.1", "Host: x").should_close()


@pytest.mark.parametrize("value", ["close", "te, close", "Close ,te", "\tclose"])
def test_close_counts_wherever_it_is(value: str) -> None:
    assert checked("GET / HTTP/1.1", "Host: x", f"Connection: {value}").should_close()
    both = checked("GET / HTTP/1.1", "Host: x", "Connection: keep-alive", f"Connection: {value}")
    assert both.should_close()


@pytest.mark.parametrize("value", ["keep-alive", "te", "closed", "x-close", ""])
def test_nothing_else_is_close(value: str) -> None:
    assert not checked("GET / HTTP/1.1", "Host: x", f"Connection: {value}").should_close()


def test_a_response_has_a_version_that_the_server_speaks() -> None:
    assert checked("GET / HTTP/1.9", "Host: x").version == (1, 1)
    assert checked("GET / HTTP/1.0", "Host: x").version == (1, 0)


@pytest.mark.parametrize("value", ["gzip, chunked", "identity, chunked", "deflate,chunked"])
def test_no_coding_but_chunked_is_taken(value: str) -> None:
    with pytest.raises(InvalidHeader, match="'TRANSFER-ENCODING'"):
        checked("POST / HTTP/1.1", "Host: x", f"Transfer-Encoding: {value}", content=b"0\r\n\r\n")
    checked("POST / HTTP/1.1", "Host: x", "Transfer-Encoding: Chunked", content=b"0\r\n\r\n")


CHUNKED = "Transfer-Encoding: chunked"


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS", "TRACE"])
@pytest.mark.parametrize(
    ("field", "content", "error"),
    [
        ("Content-Length: 4", b"abc", NoMoreData),
        (CHUNKED, b"4\r\nabc", NoMoreData),
        (CHUNKED, b"zz\r\n", InvalidChunkSize),
        (CHUNKED, b"b\r\n" + b"x" * 11 + b"\r\n0\r\n\r\n", InvalidHeader),
    ],
)
def test_content_that_nobody_reads_has_to_be_whole_and_valid(
    method: str, field: str, content: bytes, error: type[Exception]
) -> None:
    with pytest.raises(error) as rejected:
        checked(f"{method} / HTTP/1.1", "Host: x", field, content=content)
    assert error is not InvalidHeader or "'TRANSFER-ENCODING'" in str(rejected.value)


@pytest.mark.parametrize(
    ("field", "content"), [("Content-Length: 3", b"abc"), (CHUNKED, b"3\r\nabc\r\n0\r\n\r\n")]
)
def test_the_application_can_read_it_nevertheless(field: str, content: bytes) -> None:
    request = checked("GET / HTTP/1.1", "Host: x", field, content=content)
    assert request.body.read() == b"abc"
    assert not request.should_close()


def test_content_that_is_longer_than_any_stays_unread() -> None:
    request = checked("GET / HTTP/1.1", "Host: x", "Content-Length: 11", content=b"x" * 11)
    assert request.should_close()
    assert request.body.read() == b"x" * 11


@pytest.mark.parametrize(
    ("field", "content"),
    [
        ("Content-Length: 10", b"x" * 10),
        (CHUNKED, b"a\r\n" + b"x" * 10 + b"\r\n0\r\n\r\n"),
    ],
)
def test_content_may_be_as_long_as_a_body_may_be(field: str, content: bytes) -> None:
    request = checked("GET / HTTP/1.1", "Host: x", field, content=content)
    assert not request.should_close()
    assert request.body.read() == b"x" * 10


def test_of_content_without_end_no_more_is_read_than_tells_that_it_is_too_long() -> None:
    head = f"GET / HTTP/1.1\r\nHost: x\r\n{CHUNKED}\r\n\r\n".encode()
    chunks = iter([b"64\r\n" + b"x" * 100 + b"\r\n"] * 1000)
    request: Any = next(RequestParser(Config(), itertools.chain([head], chunks), ("192.0.2.1", 1)))
    with pytest.raises(InvalidHeader):
        strict.pre_request(None, request)
    assert len(list(chunks)) > 980  # gunicorn reads 1 KiB at once


def test_content_that_is_to_be_read_or_awaited_is_left_alone() -> None:
    length = "Content-Length: 3"
    assert checked("POST / HTTP/1.1", "Host: x", length).body.read() == b""
    assert checked("GET / HTTP/1.1", "Host: x", length, "Expect: 100-continue").body.read() == b""
    with pytest.raises(NoMoreData):
        checked("GET / HTTP/1.0", length, "Expect: 100-continue")


def test_a_head_is_checked_without_what_follows() -> None:
    """The main loop asks before it waits for the content."""
    config, client = Config(), ("192.0.2.1", 1)
    head = b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n"
    request = strict.parse_head(config, head, client)
    assert (request.method, request.cfg, request.peer_addr) == ("GET", config, client)
    for old, new in ((b"x", b"x y"), (b"Host", b"Foo : 1\r\nHost"), (b"/ ", b"/#x ")):
        with pytest.raises(ParseException):
            strict.parse_head(config, head.replace(old, new, 1), client)


def test_a_broken_rest_ends_the_connection_without_a_second_response(
    caplog: pytest.LogCaptureFixture,
) -> None:
    head = f"POST / HTTP/1.1\r\nHost: x\r\n{CHUNKED}\r\n\r\n"
    broken, whole = parser(head.encode() + b"zz\r\n"), parser(head.encode() + b"0\r\n\r\n")
    next(broken)
    next(whole)
    assert strict.skip_body(whole)
    assert not strict.skip_body(broken)
    (record,) = caplog.records
    line = "closed the connection of ('192.0.2.1', 1): Invalid chunk size: b'zz'"
    assert record.getMessage() == line
    with pytest.raises(StopIteration):
        next(broken)


def test_gunicorn_itself_would_raise() -> None:
    """The reason for the above; when this fails, gunicorn has cured it."""
    broken = parser(f"POST / HTTP/1.1\r\nHost: x\r\n{CHUNKED}\r\n\r\nzz\r\n".encode())
    next(broken)
    with pytest.raises(ParseException):
        broken.finish_body()
