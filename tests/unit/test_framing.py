from __future__ import annotations

import pytest

from app.server.framing import HEAD_BYTES, Frame, TooLargeError

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def ready(data: bytes, kept: int = 100, most: int = 1000) -> tuple[bool, bool]:
    frame = Frame()
    return frame.ready(bytearray(data), kept, most), frame.whole


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /?content-length HTTP/1.1\r\nHost: x\r\n\r\n",
        HEAD + b"Content-Length: 0\r\n\r\n",
        HEAD + b"Content-Length: 3\r\n\r\nabc",
        HEAD + b"CONTENT-LENGTH:\t3 \r\n\r\nabc",
        HEAD + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
        CHUNKED + b"0\r\n\r\n",
        CHUNKED + b"3\r\nabc\r\n0\r\n\r\n",
        CHUNKED + b"3;a=b\r\nabc\r\n1\r\nd\r\n0\r\nA: b\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip, Chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
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
    assert frame.whole
    # Whatever its pieces, and whatever follows.
    assert ready(request_bytes) == ready(request_bytes + b"GET / HTTP/1.1\r\n") == (True, True)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\nHost: x\n\n",
        HEAD + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\n",
        HEAD + b"Content-Length: +3\r\n\r\n",
        HEAD + b"Content-Length: " + b"1" * 5000 + b"\r\n\r\n",
        HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked, gzip\r\n\r\n",
        CHUNKED + b"zz\r\n",
        CHUNKED + b"x" * 2000,
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
        (b"GET / HTTP/1.1\r\nX: " + b"x" * HEAD_BYTES, 431),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * HEAD_BYTES + b"\r\n\r\n", 431),
        (HEAD + b"Content-Length: 1001\r\n\r\n", 413),
        (CHUNKED + b"3E9\r\n", 413),
        (CHUNKED + b"-1\r\n", 413),
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
def test_what_is_too_large_is_refused(request_bytes: bytes, status: int) -> None:
    with pytest.raises(TooLargeError) as refused:
        ready(request_bytes)
    assert refused.value.status == status


def test_a_client_that_waits_for_a_100_is_noticed() -> None:
    frame = Frame()
    frame.ready(bytearray(HEAD + b"Expect: 100-Continue\r\nContent-Length: 3\r\n\r\n"), 100, 1000)
    assert frame.expects
