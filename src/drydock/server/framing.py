"""Where a request ends among the bytes that have arrived, so that no thread waits for the rest.

This decides only *when* a thread gets a request. gunicorn's parser decides what the request is, and
whether it is valid: whatever is not plainly valid is handed to it at once. The parser must be
certain to reject that: if it waited for more instead, a thread would wait.
"""

from __future__ import annotations

import sys

HEAD_BYTES = 65_536  # of the request line and the header section together
MAX_EMPTY_LINES = 2  # before a request line; the parser ignores one more
CHUNK_LINE_BYTES = 1024  # a size of 16 digits, and extensions that nobody uses
HEX_DIGITS = b"0123456789abcdefABCDEF"
MAX_DIGITS = 18  # of a length: more may not fit into 64 bits


class TooLargeError(ValueError):
    """The request is larger than anything that would be served."""

    def __init__(self, status: int, title: str) -> None:
        """Keep the status and title of the response."""
        super().__init__(title)
        self.status = status
        self.title = title


class Frame:
    """The extent of the request at the beginning of a buffer, found as its bytes arrive."""

    __slots__ = (
        "_chunk_bytes",
        "_chunked",
        "_end",
        "_position",
        "_trailer_position",
        "complete",
        "continue_sent",
        "empty_lines",
        "expects_continue",
        "head_bytes",
        "head_checked",
        "large",
    )

    def __init__(self) -> None:
        """Begin before the first byte."""
        self.head_bytes = 0  # of the head with its empty line; 0 until it is there
        self.complete = False  # nothing of the request is missing
        self.empty_lines = 0  # that came before the request line, and have been removed
        self.large = False  # the body is larger than what is kept
        self.expects_continue = False  # the client waits for a 100 before it sends the body
        # Set by the code that does it.
        self.continue_sent = False  # the client has got the 100
        self.head_checked = False  # the parser takes the head, whose body is waited for
        self._end = 0  # where a body of known length ends
        self._chunked = False
        self._chunk_bytes = 0  # what the chunks so far hold
        self._position = 0  # where the next search begins
        self._trailer_position = 0  # how far the trailer fields have been searched

    def begin(self, data: bytearray) -> bool:
        """Remove the empty lines that `data` begins with; return whether a request has begun.

        RFC 9112, 2.2: at least one should be ignored. Clients of old send one after a body.
        """
        while self.empty_lines < MAX_EMPTY_LINES and data.startswith(b"\r\n"):
            del data[:2]
            self.empty_lines += 1
        return bool(data) and (data != b"\r" or self.empty_lines == MAX_EMPTY_LINES)

    def ready(self, data: bytearray, keep_limit: int, body_limit: int) -> bool:
        """Whether a thread can have the request that `data` begins with.

        That is so when nothing of it is missing (`complete`), and also when the parser should get
        it at once: it is malformed, or its body is `large`: more than `keep_limit` bytes, for which
        the main loop does not wait.

        Raises:
            TooLargeError: if the head or a chunk's line is too long, or the body has more than
                `body_limit` bytes.

        """
        if not self.head_bytes:
            found = data.find(b"\r\n\r\n", max(0, self._position - 3))
            if found < 0:
                return self._has_bare_lf(data)
            self.head_bytes = self._position = found + 4
            if self.head_bytes > HEAD_BYTES:
                raise _head_too_large(data)
            # One empty line may still be before the request line.
            head = data[:found].removeprefix(b"\r\n").lower()
            if b"content-length" not in head and b"transfer-encoding" not in head:
                self.complete = True
                return True
            if not self._awaits_body(head, keep_limit, body_limit):
                return True
        if self._chunked:
            return self._walk_chunks(data, keep_limit, body_limit)
        self.complete = len(data) >= self._end
        return self.complete

    def _has_bare_lf(self, data: bytearray) -> bool:
        """Whether the incomplete head has an LF without CR in what is new.

        The parser rejects it; waiting for the CRLF would be in vain.

        Raises:
            TooLargeError: if the head is too long already.

        """
        new, self._position = self._position, len(data)
        if len(data) > HEAD_BYTES:
            raise _head_too_large(data)
        # Only what is new is looked at, and the byte before, which may be the CR of the first LF.
        return data.count(b"\n", new) != data.count(b"\r\n", max(0, new - 1))

    def _awaits_body(self, head: bytearray, keep_limit: int, body_limit: int) -> bool:
        """Whether the body that the head announces is to be waited for; else the parser decides.

        Raises:
            TooLargeError: if it is longer than `body_limit`.

        """
        lengths, codings = self._read_fields(head)
        if codings:
            self._chunked = not lengths and codings[-1].strip(b" \t") == b"chunked"
            return self._chunked
        # The parser rejects each of these, however little of a body there is.
        if len(lengths) != 1 or not lengths[0].isdigit():
            self.complete = not lengths
            return False
        # Leading zeros do not count; int() fails on thousands of digits.
        digits = lengths[0].lstrip(b"0")
        length = int(digits or b"0") if len(digits) <= MAX_DIGITS else sys.maxsize
        if length > body_limit:
            raise TooLargeError(413, "Request Entity Too Large")
        self._end = self.head_bytes + length
        self.large = length > keep_limit
        return not self.large

    def _read_fields(self, head: bytearray) -> tuple[list[bytearray], list[bytearray]]:
        """The values of Content-Length and the codings of Transfer-Encoding; notes Expect."""
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
                self.expects_continue = value == b"100-continue" and not old
        return lengths, codings

    def _walk_chunks(self, data: bytearray, keep_limit: int, body_limit: int) -> bool:
        """Walk over the chunks that are there, from where the last walk ended."""
        while True:
            line_end = data.find(b"\r\n", self._position)
            # The parser allows a longer line, and would wait for its end.
            if (len(data) if line_end < 0 else line_end) - self._position > CHUNK_LINE_BYTES:
                raise TooLargeError(400, "Bad Request")
            if line_end < 0:
                return False
            size = _chunk_size(data[self._position : line_end])
            if size < 0:
                return True
            if size == 0:
                return self._has_trailer(data, line_end)
            following = line_end + 2 + size + 2
            # The framing counts as well: chunks of one byte each consist of little else.
            overhead = self._position - self.head_bytes - self._chunk_bytes
            body = self._chunk_bytes + size
            if body > body_limit or overhead > body_limit + HEAD_BYTES:
                raise TooLargeError(413, "Request Entity Too Large")
            if body > keep_limit:
                self.large = True
                return True
            if following > len(data):
                return False
            if data[following - 2 : following] != b"\r\n":
                return True
            self._position = following
            self._chunk_bytes = body

    def _has_trailer(self, data: bytearray, line_end: int) -> bool:
        """Whether what follows the last chunk is there: trailer fields, if any, and an empty line.

        Raises:
            TooLargeError: if the trailer fields are too long.

        """
        start = max(line_end, self._trailer_position - 3)
        self.complete = data.find(b"\r\n\r\n", start) >= 0
        self._trailer_position = len(data)
        if not self.complete and len(data) - line_end > HEAD_BYTES:
            raise TooLargeError(431, "Request Header Fields Too Large")
        return self.complete


def is_head(data: bytearray) -> bool:
    """Whether the request that `data` begins with is a HEAD, as far as its first 7 bytes tell.

    Then no response to it may have a body, rejections included (RFC 9110, 9.3.2).
    """
    return data[:7].removeprefix(b"\r\n").startswith(b"HEAD ")


def _chunk_size(line: bytearray) -> int:
    """The size in the line before a chunk; -1 if the parser rejects it."""
    digits, extension, _ = line.partition(b";")
    if extension:
        digits = digits.rstrip(b" \t")
    # int() would take `0x5`, `+5`, `5_0` and ` 5`, too.
    if not digits or digits.strip(HEX_DIGITS):
        return -1
    return int(digits, 16)


def _head_too_large(data: bytearray) -> TooLargeError:
    """The status that fits: it is either the request line or the fields."""
    if data.find(b"\r\n", 0, HEAD_BYTES) < 0:
        return TooLargeError(414, "URI Too Long")
    return TooLargeError(431, "Request Header Fields Too Large")
