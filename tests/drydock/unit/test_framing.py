"""When a request is complete, and how large each part of it may be."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http.errors import NoMoreData, ParseException
from gunicorn.http.parser import RequestParser

from drydock.server import strict
from drydock.server.framing import (
    CHUNK_LINE_BYTES,
    HEAD_BYTES,
    MAX_EMPTY_LINES,
    Frame,
    TooLargeError,
    is_head,
)

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


# As RFC 6585 and RFC 9110 have them, 413 as RFC 7231 did.
TITLES = {
    400: "Bad Request",
    413: "Request Entity Too Large",
    414: "URI Too Long",
    431: "Request Header Fields Too Large",
}


def ready(data: bytes, kept: int = 100, most: int = 1000) -> tuple[bool, bool]:
    frame = Frame()
    return frame.ready(bytearray(data), kept, most), frame.complete


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /?content-length HTTP/1.1\r\nHost: x\r\n\r\n",
        HEAD + b"Content-Length: 0\r\n\r\n",
        HEAD + b"Content-Length: 3\r\n\r\nabc",
        HEAD + b"Content-Length: " + b"0" * 5000 + b"3\r\n\r\nabc",
        HEAD + b"Content-Length: " + b"0" * 19 + b"\r\n\r\n",
        HEAD + b"CONTENT-LENGTH:\t3 \r\n\r\nabc",
        HEAD + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
        CHUNKED + b"0\r\n\r\n",
        CHUNKED + b"3\r\nabc\r\n0\r\n\r\n",
        CHUNKED + b"3;a=b\r\nabc\r\n1\r\nd\r\n0\r\nA: b\r\n\r\n",
        CHUNKED + b"3 \t;a=b\r\nabc\r\n0 ;c\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip, Chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip,\tchunked \r\n\r\n1\r\na\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip,chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        CHUNKED + b"1F\r\n" + b"x" * 31 + b"\r\n0\r\n\r\n",
    ],
)
def test_a_request_is_ready_with_its_last_byte_and_not_before(request_bytes: bytes) -> None:
    frame = Frame()
    data = bytearray()
    for byte in request_bytes[:-1]:
        data.append(byte)
        assert not frame.ready(data, 100, 1000)
    data.append(request_bytes[-1])
    assert frame.ready(data, 100, 1000)
    assert frame.complete
    # Whatever its pieces, and whatever follows.
    assert ready(request_bytes) == ready(request_bytes + b"GET / HTTP/1.1\r\n") == (True, True)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\nHost: x\n\n",
        HEAD + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\n",
        HEAD + b"Content-Length: +3\r\n\r\n",
        HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked, gzip\r\n\r\n",
        # Not white space in HTTP, though Python's strip() takes it away.
        HEAD + b"Content-Length: \x0b3\r\n\r\n",
        HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip,\x0bchunked,\x0b\r\n\r\n",
        HEAD + b"Content-Length: 3:4\r\n\r\n",
        # What int() takes, and what is empty.
        *(CHUNKED + size + b"\r\n" for size in (b"0x5", b"+5", b"-5", b"5_0", b" 5", b"5 ", b"")),
        CHUNKED + b"3;a=b\r\nabc\r\n5_0;c\r\n",
        *(
            CHUNKED + size + b"\r\n"
            for size in (b"zz", b"5X;a", b"5\x0b;a", b";a", b" ;a", b"5\t", b"\x0b5;a", b"-0")
        ),
        # More in a chunk than its size says.
        CHUNKED + b"3\r\nabcd\r",
        CHUNKED + b"3\r\nabc\n\n",
        CHUNKED + b"3\r\nabc\rd",
        HEAD + b"Content-Length: 101\r\n\r\n",
        CHUNKED + b"65\r\n",
    ],
)
def test_what_is_not_waited_for_is_the_parser_s_at_once(request_bytes: bytes) -> None:
    assert ready(request_bytes) == (True, False)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"x" * (HEAD_BYTES + 1), 414),
        (b"GET /" + b"x" * HEAD_BYTES + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * HEAD_BYTES, 431),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * HEAD_BYTES + b"\r\n\r\n", 431),
        (HEAD + b"Content-Length: 1001\r\n\r\n", 413),
        (HEAD + b"Content-Length: " + b"1" * 5000 + b"\r\n\r\n", 413),
        (CHUNKED + b"1" * 1025, 400),
        (CHUNKED + b"1;" + b"x" * 1023 + b"\r\nx\r\n", 400),
        (CHUNKED + b"3E9\r\n", 413),
        (
            CHUNKED
            + b"1;"
            + b"x" * 900
            + b"\r\nx\r\n" * 1
            + (b"1;" + b"x" * 900 + b"\r\nx\r\n") * 75,
            413,
        ),
        (CHUNKED + b"0\r\nX: " + b"x" * (HEAD_BYTES + 9), 431),
    ],
)
def test_what_is_too_large_is_rejected(request_bytes: bytes, status: int) -> None:
    with pytest.raises(TooLargeError) as rejected:
        ready(request_bytes)
    assert rejected.value.status == status
    assert rejected.value.title == str(rejected.value) == TITLES[status]


def head_of(size: int, end: bytes = b"") -> bytes:
    """A head of so many bytes, with its end if that is given."""
    return b"GET / HTTP/1.1\r\nHost: x\r\nX: ".ljust(size - len(end), b"x") + end


def chunk_with(overhead: int) -> bytes:
    """A chunk of one byte, and so many around it."""
    return b"1;".ljust(overhead - 4, b"x") + b"\r\nx\r\n"


# Around chunks there may be as many bytes as the largest body and the largest head have: 66,536.
AROUND = CHUNKED + chunk_with(1000) * 66


@pytest.mark.parametrize(
    ("most", "complete", "more", "status"),
    [
        (head_of(HEAD_BYTES, b"\r\n\r\n"), True, head_of(HEAD_BYTES + 1, b"\r\n\r\n"), 431),
        (head_of(HEAD_BYTES), False, head_of(HEAD_BYTES + 1), 431),
        (
            HEAD + b"Content-Length: 1000\r\n\r\n",
            False,
            HEAD + b"Content-Length: 1001\r\n\r\n",
            413,
        ),
        (CHUNKED + b"3E8\r\n", False, CHUNKED + b"3E9\r\n", 413),
        (CHUNKED + b"1\r\nx\r\n3E7\r\n", False, CHUNKED + b"1\r\nx\r\n3E8\r\n", 413),
        (
            CHUNKED + b"1;".ljust(CHUNK_LINE_BYTES, b"x"),
            False,
            CHUNKED + b"1;".ljust(CHUNK_LINE_BYTES + 1, b"x"),
            400,
        ),
        (
            CHUNKED + b"0;".ljust(CHUNK_LINE_BYTES, b"x") + b"\r\n\r\n",
            True,
            CHUNKED + b"0;".ljust(CHUNK_LINE_BYTES + 1, b"x") + b"\r\n\r\n",
            400,
        ),
        (
            AROUND + chunk_with(536) + chunk_with(5) + b"0\r\n\r\n",
            True,
            AROUND + chunk_with(537) + chunk_with(5) + b"0\r\n\r\n",
            413,
        ),
        (
            CHUNKED + b"0" + b"\r\nX: ".ljust(HEAD_BYTES, b"x"),
            False,
            CHUNKED + b"0" + b"\r\nX: ".ljust(HEAD_BYTES + 1, b"x"),
            431,
        ),
    ],
)
def test_a_request_may_be_so_large_and_not_a_byte_larger(
    most: bytes, complete: bool, more: bytes, status: int
) -> None:
    assert ready(most, 1000, 1000) == (complete, complete)
    with pytest.raises(TooLargeError) as rejected:
        ready(more, 1000, 1000)
    assert rejected.value.status == status


def test_a_length_of_18_digits_is_a_length() -> None:
    limits = (10**18, 10**18)
    assert ready(HEAD + b"Content-Length: " + b"9" * 18 + b"\r\n\r\n", *limits) == (False, False)
    with pytest.raises(TooLargeError):
        ready(HEAD + b"Content-Length: 1" + b"0" * 18 + b"\r\n\r\n", *limits)


@pytest.mark.parametrize(
    ("request_bytes", "large"),
    [
        (HEAD + b"Content-Length: 100\r\n\r\n", False),
        (HEAD + b"Content-Length: 101\r\n\r\n", True),
        (CHUNKED + b"64\r\n", False),
        (CHUNKED + b"65\r\n", True),
        (CHUNKED + b"1\r\nx\r\n63\r\n", False),
        (CHUNKED + b"1\r\nx\r\n64\r\n", True),
    ],
)
def test_a_body_larger_than_what_is_kept_is_not_waited_for(
    request_bytes: bytes, large: bool
) -> None:
    frame = Frame()
    assert frame.ready(bytearray(request_bytes), 100, 1000) == large
    assert (frame.large, frame.complete) == (large, False)


def test_trailer_fields_are_bounded_whatever_the_body_s_size() -> None:
    body = CHUNKED + b"9C40\r\n" + b"x" * 40_000 + b"\r\n0\r\nX: y"
    assert ready(body, 50_000, 50_000) == (False, False)
    assert ready(body + b"\r\n\r\n", 50_000, 50_000) == (True, True)


def test_a_frame_knows_of_a_request_only_what_is_there() -> None:
    frame = Frame()
    head = bytearray(HEAD)
    assert not frame.ready(head, 100, 1000)
    assert frame.head_bytes == 0
    head += b"\r\n"
    assert frame.ready(head, 100, 1000)
    assert frame.head_bytes == len(head)
    facts = (frame.complete, frame.large, frame.expects_continue, frame.continue_sent)
    assert facts == (True, False, False, False)
    assert (frame.head_checked, frame.empty_lines) == (False, 0)


@pytest.mark.parametrize("sent", [b"HEAD / HTTP/1.1", b"\r\nHEAD /", b"HEAD ", b"HEAD nonsense"])
def test_a_head_shows_before_it_is_parsed(sent: bytes) -> None:
    assert is_head(bytearray(sent))


@pytest.mark.parametrize(
    "sent", [b"", b"HEAD", b"GET /HEAD ", b"head /", b"HEADS /", b"HEAD\t/", b"\r\n\r\nHEAD /"]
)
def test_all_else_is_no_head(sent: bytes) -> None:
    assert not is_head(bytearray(sent))


@pytest.mark.parametrize("step", [1, 2, 3, 5, 99])
@pytest.mark.parametrize("lines", range(5))
def test_empty_lines_before_a_request_are_removed_wherever_the_parts_end(
    lines: int, step: int
) -> None:
    """RFC 9112, 2.2. The parser ignores one more, and rejects the next."""
    sent = b"\r\n" * lines + b"GET / HTTP/1.1\r\n"
    frame = Frame()
    data = bytearray()
    begun = False
    for at in range(0, len(sent), step):
        data += sent[at : at + step]
        begun = begun or frame.begin(data)
        # An empty line is no request, nor is a part of one.
        assert begun == (at + step > 2 * min(lines, MAX_EMPTY_LINES))
    assert data == sent[2 * min(lines, MAX_EMPTY_LINES) :]


@pytest.mark.parametrize("sent", [b"\r\r\n", b"\rGET", b"\n", b"GET", b"\r\n\n", b"\r\n\rG"])
def test_what_is_no_empty_line_is_left_to_the_parser(sent: bytes) -> None:
    data = bytearray(sent)
    assert Frame().begin(data)
    assert data == sent.removeprefix(b"\r\n")


def test_two_empty_lines_are_a_head_without_a_request_line() -> None:
    assert not ready(b"\r\n")[0]
    assert ready(b"\r\n\r\n")[0]


@pytest.mark.parametrize(
    ("line", "expects"),
    [
        (b"POST / HTTP/1.1", True),
        (b"\r\nPOST / HTTP/1.1", True),
        (b"POST / HTTP/1.0", False),
        (b"\r\nPOST / HTTP/1.0", False),
    ],
)
def test_a_client_that_waits_for_a_100_is_noticed(line: bytes, expects: bool) -> None:
    frame = Frame()
    fields = b"\r\nHost: x\r\nExpect: 100-Continue\r\nContent-Length: 3\r\n\r\n"
    assert not frame.ready(bytearray(line + fields), 100, 1000)
    assert frame.expects_continue == expects


class Watched(bytearray):
    """Counts the bytes that are looked at."""

    looked = 0

    def find(self, what: Any, start: Any = 0, end: Any = None) -> int:
        found = super().find(what, start, end)
        self.looked += (len(self) if found < 0 else found) - start
        return found

    def count(self, what: Any, start: Any = 0, end: Any = None) -> int:
        self.looked += len(self) - start
        return super().count(what, start, end)


@pytest.mark.parametrize("start", [HEAD, CHUNKED + b"3\r\nabc\r\n0\r\n"])
@pytest.mark.parametrize("more", [b"X: y\r\n", b"x", b"1\r\nx\r\n"])
def test_what_comes_a_byte_at_a_time_is_looked_at_once(start: bytes, more: bytes) -> None:
    frame = Frame()
    data = Watched()
    for byte in start + more * (6000 // len(more)):
        data.append(byte)
        if frame.ready(data, 10_000, 10_000):
            break
    assert data.looked < 20 * len(data)


@pytest.mark.parametrize("head", [b"GET / HTTP/1.1\r\nA: b\r\n\n", b"\n", b"\r\n\n", b"GET\n"])
@pytest.mark.parametrize("step", [1, 2, 3, 5, 99])
def test_a_bare_lf_is_found_wherever_the_parts_end(head: bytes, step: int) -> None:
    frame = Frame()
    data = bytearray()
    for at in range(0, len(head), step):
        data += head[at : at + step]
        assert frame.ready(data, 100, 1000) == (len(data) == len(head))


class Nothing:
    """A socket that nobody may wait for."""

    def recv(self, size: int) -> bytes:
        raise AssertionError(f"a thread waits for {size} bytes")


def parse(data: bytes) -> None:
    """Do all that a thread does with a request, of which no more will come."""
    config = Config()
    config.set("http_parser", "python")
    source: Any = Nothing()
    parser = RequestParser(config, source, ("192.0.2.1", 1))
    parser.unreader.unread(data)
    with contextlib.suppress(ParseException, NoMoreData):
        request: Any = next(parser)
        strict.pre_request(None, request)
        request.body.read()
        parser.finish_body()


def broken() -> dict[str, bytes]:
    """Requests that are not what they should be, each in a way that may mislead."""
    body = b"\r\n\r\nabc"
    lengths = [
        *(b"", b" ", b"+3", b"-3", b"3.0", b"3e0", b"0x3", b"1_0", b"3 3", b"3,3", b"3;", b"\xb2"),
        *(b"\xbc", b"\xd9\xa3", b"3\r\n 3", b"\r\n 3", b"3\x00", b"\x0b3", b"3\n", b"3\r", b'"3"'),
        *(b"0" * digits + b"9" for digits in (1, 17, 18, 19, 4299, 4300, 8000, 9000)),
        *(b"9" * digits for digits in (1, 3, 17, 18, 19, 4300, 4301, 9000)),
        b"3\r\nContent-Length: 3",
        b"9\r\ncontent-length:9",
        b"9\r\nContent-Length: 09",
        b"9\r\nContent-Length:",
        b"9\r\nContent_Length: 3",
        b"9\r\nContent-Length : 3",
        b"9\r\nTransfer-Encoding:",
        b"9\r\nTransfer-Encoding: chunked",
        b"9\r\nTransfer-Encoding: identity",
        b"9\r\nExpect: something",
        b"9\r\nExpect: 100-continue",
        b"9\nX: y",
    ]
    codings = [
        *(b"", b",", b"chunked,", b",chunked", b"chunked, chunked", b"chunked;a=b", b"chunkedx"),
        *(b"identity", b"gzip", b"chunked, gzip", b"gzip, chunked", b'"chunked"', b"\x0bchunked"),
        *(b"chunked\r\n gzip", b"chunked\r\nTransfer-Encoding: gzip", b"x\r\n chunked", b"\xa0"),
        b"chunked\r\nTransfer-Encoding: identity",
        b"chunked\r\nContent-Length: 9",
    ]
    chunks = [
        *(
            b"",
            b" 3",
            b"3 ",
            b"0x3",
            b"+3",
            b"-3",
            b"-0",
            b"1_0",
            b"zz",
            b"\xb2",
            b"3\n",
            b"\n",
            b"\x003",
        ),
        *(
            b"3;",
            b"3 ;a",
            b"3;a=",
            b'3;a="',
            b'3;a="\r',
            b"3\t",
            b"3;;",
            b";a",
            b"0;",
            b"00",
            b"0 ",
        ),
        *(b"0" * digits + b"3" for digits in (16, CHUNK_LINE_BYTES - 1, CHUNK_LINE_BYTES, 9000)),
        *(b"3;" + b"a" * letters for letters in (CHUNK_LINE_BYTES - 2, CHUNK_LINE_BYTES, 9000)),
        *(b"9" * digits for digits in (1, 2, 16, 17, 40, CHUNK_LINE_BYTES + 1)),
    ]
    ends = (
        b"",
        b"\r",
        b"\r\n",
        b"\r\nabc",
        b"\r\nabc\r\n",
        b"\r\nabcd\r\n",
        b"\r\nX: y",
        b"\r\n\n",
    )
    heads = [
        *(
            b"\n",
            b"\r\n\n",
            b"\r\n\r\n",
            b"\r\r\n\n",
            b"\r\n\r\n\r\nGET / HTTP/1.1\r\n",
            b"\r\rGET\n",
        ),
        *(b"GET / HTTP/1.1\n", b"GET / HTTP/1.1\r\n\n", b"GET\n / HTTP/1.1\r\n", b"GET\r\n\r\n"),
        *(b"GET / HTTP/1.1\r\nHost: x\n", b"GET / HTTP/1.1\r\r\n\n", b"GET / HTTP/1.1\r\n\r\r\n\n"),
        *(b"\r\nPOST / HTTP/1.1\r\nContent-Length: +", b"\r\nCONTENT-LENGTH: 9 HTTP/1.1" + body),
        b"x" * 9000 + b"\n",
        HEAD + b"X: " + b"x" * 9000 + b"\n",
        HEAD + b"X: y\r\n" * 200 + b"\n",
        HEAD + b"X: y\r\n" * 200 + b"Content-Length: +3" + body,
        HEAD.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked" + body,
        HEAD.replace(b"1.1", b"9.9") + b"Content-Length: +3" + body,
        HEAD.replace(b"POST", b"post") + b"Content-Length: 9" + body,
        HEAD.replace(b"POST", b"GET") + b"Content-Length: 3, 9" + body,
        *(HEAD + b"Content-Length: " + value + body for value in lengths),
        *(HEAD + b"Content-Length:" + value + b"\r\n\r\n" for value in lengths),
        *(HEAD + b"Transfer-Encoding: " + value + body for value in codings),
        *(CHUNKED + line + end for line in chunks for end in ends),
        *(CHUNKED + b"3\r\nabc\r\n" + line + end for line in chunks for end in ends),
        *(CHUNKED + b"3\r\nabcd\r" + line + end for line in chunks for end in ends),
    ]
    return {f"{number}: {head[:99]!r}": head for number, head in enumerate(heads)}


@pytest.mark.parametrize("pieces", ["whole", "halves", "bytes"])
def test_what_a_thread_gets_it_never_waits_for(pieces: str) -> None:
    """Only a body too large to keep is waited for in a thread, and none here is."""
    for name, sent in broken().items():
        data = bytearray()
        frame = Frame()
        step = {"whole": len(sent), "halves": (len(sent) + 1) // 2, "bytes": 1}[pieces]
        for at in range(0, len(sent), step):
            data += sent[at : at + step]
            try:
                ready = frame.ready(data, 1000, 1000)
            except TooLargeError:
                break
            if ready:
                try:
                    parse(bytes(data))
                except AssertionError as error:
                    raise AssertionError(name) from error
                break
