"""Where a request ends among the bytes that have arrived, so that no thread waits for the rest.

This decides only *when* a thread gets a request. What the request is, and whether it is valid, is
gunicorn's parser's decision: whatever is not plainly regular is handed to it at once. For that the
parser must be sure to refuse it: were it to wait for more instead, it would do so in a thread.
"""

from __future__ import annotations

import sys

HEAD_BYTES = 65_536  # of a request's line and header fields together
CHUNK_LINE_BYTES = 1024  # a size of 16 digits, and extensions that nobody uses


class TooLargeError(ValueError):
    """The request is larger than anything that would be served."""

    def __init__(self, status: int, title: str) -> None:
        """Keep what it is to be answered with."""
        super().__init__(title)
        self.status = status
        self.title = title


class Frame:
    """The extent of the request at the beginning of a buffer, found as its bytes arrive."""

    __slots__ = (
        "_at",
        "_chunked",
        "_end",
        "_seen",
        "_size",
        "expects",
        "head",
        "large",
        "told",
        "whole",
    )

    def __init__(self) -> None:
        """Know nothing yet."""
        self.head = 0  # bytes of the head with its empty line; 0 until it is there
        self.whole = False  # nothing of the request is missing
        self.large = False  # the body is larger than what is kept
        self.expects = False  # the client waits for a 100 before it sends the body
        self.told = False  # it has got the 100; whoever sends it sets this
        self._end = 0  # where a body of known length ends
        self._chunked = False
        self._size = 0  # what the chunks so far hold
        self._at = 0  # where to go on looking
        self._seen = 0  # how far trailer fields have been looked at

    def ready(self, data: bytearray, kept: int, most: int) -> bool:
        """Whether a thread can have the request that `data` begins with.

        That is so when nothing of it is missing (`whole`), and also when the parser had better see
        it at once: it is malformed, or its body is `large`: more than `kept` bytes, which are not
        waited for.

        Raises:
            TooLargeError: if the head or a chunk's line is too long, or the body has more than
                `most` bytes.

        """
        if not self.head:
            found = data.find(b"\r\n\r\n", max(0, self._at - 3))
            if found < 0:
                new, self._at = self._at, len(data)
                if len(data) > HEAD_BYTES:
                    raise _head_too_large(data)
                # The parser refuses a bare LF; waiting for the CRLF would be in vain. Only what is
                # new is looked at, and the byte before, which may be the CR of the first LF in it.
                return data.count(b"\n", new) != data.count(b"\r\n", max(0, new - 1))
            self.head = self._at = found + 4
            if self.head > HEAD_BYTES:
                raise _head_too_large(data)
            # One empty line may come before the request's line.
            if self._is_settled_by(data[:found].removeprefix(b"\r\n").lower(), kept, most):
                return True
        if self._chunked:
            return self._chunks(data, kept, most)
        self.whole = len(data) >= self._end
        return self.whole

    def _is_settled_by(self, head: bytearray, kept: int, most: int) -> bool:
        """Whether the head says that there is no body to wait for."""
        if b"content-length" not in head and b"transfer-encoding" not in head:
            self.whole = True
            return True
        lengths, codings = [], []
        request_line, *fields = head.split(b"\r\n")
        for line in fields:
            name, _, value = line.partition(b":")
            value = value.strip(b" \t")
            if name == b"content-length":
                lengths.append(value)
            elif name == b"transfer-encoding":
                codings += value.split(b",")
            elif name == b"expect":
                # RFC 9110, 10.1.1: of a client that speaks HTTP/1.0 it is ignored.
                old = request_line.endswith(b"http/1.0")
                self.expects = value == b"100-continue" and not old
        if codings:
            self._chunked = not lengths and codings[-1].strip(b" \t") == b"chunked"
            return not self._chunked
        # The parser refuses each of these, however little of a body there is.
        if len(lengths) != 1 or not lengths[0].isdigit():
            self.whole = not lengths
            return True
        # Zeros in front count for nothing; int() complains of thousands of digits.
        digits = lengths[0].lstrip(b"0")
        length = int(digits or b"0") if len(digits) <= 18 else sys.maxsize
        if length > most:
            raise TooLargeError(413, "Request Entity Too Large")
        self._end = self.head + length
        self.large = length > kept
        return self.large

    def _chunks(self, data: bytearray, kept: int, most: int) -> bool:
        """Walk over the chunks that are there, from where the last walk ended."""
        while True:
            line_end = data.find(b"\r\n", self._at)
            # The parser has more patience, and would wait for the end of a longer line.
            if (len(data) if line_end < 0 else line_end) - self._at > CHUNK_LINE_BYTES:
                raise TooLargeError(400, "Bad Request")
            if line_end < 0:
                return False
            try:
                size = int(data[self._at : line_end].partition(b";")[0], 16)
            except ValueError:
                return True
            if size == 0:
                # Trailer fields, if any, then an empty line.
                self.whole = data.find(b"\r\n\r\n", max(line_end, self._seen - 3)) >= 0
                self._seen = len(data)
                if not self.whole and len(data) - line_end > HEAD_BYTES:
                    raise TooLargeError(431, "Request Header Fields Too Large")
                return self.whole
            following = line_end + 2 + size + 2
            # Bytes that hold next to nothing, such as chunks of one byte each, count as well.
            overhead = self._at - self.head - self._size
            if size < 0 or self._size + size > most or overhead > most + HEAD_BYTES:
                raise TooLargeError(413, "Request Entity Too Large")
            if self._size + size > kept:
                self.large = True
                return True
            if following > len(data):
                return False
            self._at = following
            self._size += size


def _head_too_large(data: bytearray) -> TooLargeError:
    """What to answer: it is either the request's line or the fields."""
    if data.find(b"\r\n", 0, HEAD_BYTES) < 0:
        return TooLargeError(414, "URI Too Long")
    return TooLargeError(431, "Request Header Fields Too Large")
