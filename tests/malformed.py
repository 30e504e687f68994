"""Broken, ambiguous and merely unusual requests, and how the service responds to each.

`response` lists the final statuses that come back, in their order: "400"; "200 200" for two
requests on one connection; "closed" where the connection is closed without a response. What is
rejected must not be served, so what could be smuggled requests /hello/smuggled or adds a note of
that name. docs/malformed.md is made from this list (`make docs`), and test_malformed.py proves it.
"""

from __future__ import annotations

import dataclasses
import json

TOKEN = "a-token-for-the-tests"
SMUGGLED = b"GET /hello/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
NOTE = b'{"title":"smuggled"}'
AROUND = b"Content-Length: %d" % len(SMUGGLED)
BEYOND = b"Content-Length: %d" % (len(SMUGGLED) + 1)
CLOSED = "closed"


@dataclasses.dataclass(frozen=True)
class Case:
    """A thing to send."""

    group: str
    what: str
    sent: bytes
    response: str
    rule: str  # where the RFC says so


def head(*lines: bytes) -> bytes:
    return b"\r\n".join(lines) + b"\r\n\r\n"


def get(*fields: bytes, line: bytes = b"GET /hello/x HTTP/1.1") -> bytes:
    return head(line, b"Host: x", *fields)


def target(uri: bytes, method: bytes = b"GET") -> bytes:
    return get(line=method + b" " + uri + b" HTTP/1.1")


def post(*fields: bytes, body: bytes) -> bytes:
    """Add a note; the fields have to say where the body ends."""
    authorization = b"Authorization: Bearer " + TOKEN.encode()
    line = b"POST /notes HTTP/1.1"
    return get(authorization, b"Content-Type: application/json", *fields, line=line) + body


def length(value: bytes, body: bytes = NOTE) -> bytes:
    return post(b"Content-Length: " + value, body=body)


def coding(value: bytes, *more: bytes) -> bytes:
    """A well-formed chunked body under this Transfer-Encoding, and a request behind it."""
    body = b"14\r\n" + NOTE + b"\r\n0\r\n\r\n"
    return post(b"Transfer-Encoding: " + value, *more, body=body + SMUGGLED)


def chunks(body: bytes) -> bytes:
    return post(b"Transfer-Encoding: chunked", body=body)


def note(title: str) -> bytes:
    return json.dumps({"title": title}).encode()


def chunk(data: bytes, extension: bytes = b"") -> bytes:
    return b"%x%s\r\n%s\r\n" % (len(data), extension, data)


LAST = b"0\r\n\r\n"

# For each group: the rule that most of its cases are about, then what is sent and the response; a
# fourth member is a rule of the case's own.
GROUPS: dict[str, tuple[str, list[tuple[str, bytes, str] | tuple[str, bytes, str, str]]]] = {
    "Request line": (
        "RFC 9112, 3",
        [
            ("nothing at all", b"", CLOSED, "RFC 9112, 8"),
            ("an empty line alone", b"\r\n", CLOSED, "RFC 9112, 2.2"),
            ("one empty line, then a request", b"\r\n" + get(), "200", "RFC 9112, 2.2"),
            ("three empty lines, then a request", b"\r\n" * 3 + get(), "200", "RFC 9112, 2.2"),
            ("four empty lines, then a request", b"\r\n" * 4 + get(), "400", "RFC 9112, 2.2"),
            ("an empty line and a line feed, then a request", b"\r\n\n" + get(), "400",
             "RFC 9112, 2.2"),
            ("an empty line and a CR, then a request", b"\r\n\r" + get(), "400",
             "RFC 9112, 2.2"),
            ("a line feed, then a request", b"\n" + get(), "400", "RFC 9112, 2.2"),
            ("a space, then a request", b" " + get(), "400"),
            ("a word", b"nonsense\r\n\r\n", "400"),
            ("two words", head(b"GET /hello/x", b"Host: x"), "400"),
            ("four words", get(line=b"GET /hello/x HTTP/1.1 x"), "400"),
            ("two spaces before the target", get(line=b"GET  /hello/x HTTP/1.1"), "400"),
            ("two spaces before the version", get(line=b"GET /hello/x  HTTP/1.1"), "400"),
            ("a space after the version", get(line=b"GET /hello/x HTTP/1.1 "), "400"),
            ("tabs for spaces", get(line=b"GET\t/hello/x\tHTTP/1.1"), "400"),
            ("a vertical tab for a space", get(line=b"GET\x0b/hello/x HTTP/1.1"), "400"),
            ("a bare LF at its end", b"GET /hello/x HTTP/1.1\nHost: x\r\n\r\n", "400"),
            ("a bare CR at its end", b"GET /hello/x HTTP/1.1\rHost: x\r\n\r\n", "400"),
            ("CR CR LF at its end", b"GET /hello/x HTTP/1.1\r\r\nHost: x\r\n\r\n", "400"),
            ("LF CR at its end", b"GET /hello/x HTTP/1.1\n\rHost: x\r\n\r\n", "400"),
            ("cut off in its middle", b"GET /hello/smuggled HT", CLOSED, "RFC 9112, 8"),
            ("a NUL before it", b"\x00" + get(), "400"),
            ("a byte order mark before it", b"\xef\xbb\xbf" + get(), "400"),
        ],
    ),
    "Method": (
        "RFC 9110, 9.1",
        [
            ("lower case", get(line=b"get /hello/x HTTP/1.1"), "400"),
            ("mixed case", get(line=b"Get /hello/x HTTP/1.1"), "400"),
            ("none", get(line=b" /hello/x HTTP/1.1"), "400"),
            ("one letter", target(b"/hello/x", b"G"), "400"),
            ("10,000 letters", target(b"/hello/x", b"G" * 10_000), "414", "RFC 9112, 3"),
            ("21 letters", target(b"/hello/x", b"G" * 21), "400"),
            ("a NUL in it", target(b"/hello/x", b"GE\x00T"), "400"),
            ("a colon in it", target(b"/hello/x", b"GET:"), "400"),
            ("brackets in it", target(b"/hello/x", b"(GET)"), "400"),
            ("a letter that is not ASCII", target(b"/hello/x", "GÉT".encode()), "400"),
            ("an escape code in it", target(b"/hello/x", b"\x1b[31mGET"), "400"),
            ("unknown: FROBNICATE", target(b"/hello/x", b"FROBNICATE"), "405", "RFC 9110, 15.5.6"),
            ("PROPFIND", target(b"/hello/x", b"PROPFIND"), "405", "RFC 9110, 15.5.6"),
            ("TRACE", target(b"/hello/x", b"TRACE"), "405", "RFC 9110, 9.3.8"),
            ("POST where only GET is", target(b"/hello/x", b"POST"), "405", "RFC 9110, 15.5.6"),
            ("OPTIONS", target(b"/hello/x", b"OPTIONS"), "200", "RFC 9110, 9.3.7"),
            ("HEAD", target(b"/hello/x", b"HEAD"), "200", "RFC 9110, 9.3.2"),
            # A rejection that had a body would be more than a response without one.
            ("HEAD, without Host", head(b"HEAD /hello/x HTTP/1.1"), "400", "RFC 9110, 9.3.2"),
            ("HEAD, a target too long", target(b"/" + b"x" * 8190, b"HEAD"), "414",
             "RFC 9110, 9.3.2"),
            ("HEAD, of 70,000 bytes", target(b"/" + b"x" * 70_000, b"HEAD"), "414",
             "RFC 9110, 9.3.2"),
            ("HEAD, an unknown expectation", get(b"Expect: x", line=b"HEAD / HTTP/1.1"), "417",
             "RFC 9110, 9.3.2"),
            ("HEAD, a field too long", get(b"X: " + b"x" * 9000, line=b"HEAD / HTTP/1.1"), "431",
             "RFC 9110, 9.3.2"),
            ("HEAD, a version that is none", target(b"/hello/x HTTP/9.9", b"HEAD"), "400",
             "RFC 9110, 9.3.2"),
            ("HEAD, a body too large",
             get(b"Content-Length: 1048577", line=b"HEAD / HTTP/1.1") + b"x", "413",
             "RFC 9110, 9.3.2"),
        ],
    ),
    "Target": (
        "RFC 9112, 3.2",
        [
            ("none", head(b"GET HTTP/1.1", b"Host: x"), "400"),
            ("no slash before it", target(b"hello/x"), "400"),
            ("a query alone", target(b"?q=http://x"), "400"),
            ("an asterisk with GET", target(b"*"), "400", "RFC 9112, 3.2.4"),
            ("an asterisk with OPTIONS", target(b"*", b"OPTIONS"), "404", "RFC 9112, 3.2.4"),
            ("a host and port with GET", target(b"x:80"), "400", "RFC 9112, 3.2.3"),
            ("CONNECT to a host and port", target(b"x:443", b"CONNECT"), "404", "RFC 9110, 9.3.6"),
            ("CONNECT to a path", target(b"/hello/x", b"CONNECT"), "405", "RFC 9110, 9.3.6"),
            ("absolute", target(b"http://x/hello/x"), "200", "RFC 9112, 3.2.2"),
            ("absolute, of https", target(b"https://x/hello/x"), "200", "RFC 9112, 3.2.2"),
            ("absolute, in capitals", target(b"HTTP://X/hello/x"), "200", "RFC 9112, 3.2.2"),
            ("absolute, of another host", target(b"http://y/hello/x"), "200", "RFC 9112, 3.2.2"),
            ("absolute, with a user", target(b"http://u:p@x/hello/x"), "400", "RFC 9110, 4.2.4"),
            ("absolute, without a host", target(b"http:///hello/x"), "400", "RFC 9110, 4.2.1"),
            ("absolute, without a path", target(b"http://x"), "200", "RFC 9112, 3.2.1"),
            ("absolute, a bad port", target(b"http://x:a/hello/x"), "400", "RFC 3986, 3.2.3"),
            ("absolute, a bracket left open", target(b"http://[::1/"), "400", "RFC 3986, 3.2.2"),
            ("absolute, of ftp", target(b"ftp://x/hello/x"), "400", "RFC 9110, 7.4"),
            ("absolute, of file", target(b"file:///etc/passwd"), "400", "RFC 9110, 7.4"),
            ("a scheme inside a path", target(b"x/http://x"), "400"),
            ("a fragment", target(b"/hello/x#y"), "400"),
            ("two slashes before it", target(b"//hello/x"), "404", "RFC 3986, 3.3"),
            ("a backslash", target(b"/hello\\x"), "404", "RFC 3986, 2"),
            ("a NUL", target(b"/hello/\x00"), "400", "RFC 3986, 2"),
            ("an escape code", target(b"/hello/\x1b[31m"), "400", "RFC 3986, 2"),
            ("DEL", target(b"/hello/\x7f"), "400", "RFC 3986, 2"),
            ("bytes that are not UTF-8", target(b"/hello/\xff\xfe"), "400", "RFC 3986, 2"),
            ("letters in plain UTF-8", target("/hello/é".encode()), "400", "RFC 3986, 2"),
            ("bytes over 127 in the query", target(b"/hello/x?q=\xff"), "400", "RFC 3986, 2"),
            ("an escaped NUL", target(b"/hello/%00"), "200", "RFC 3986, 2.1"),
            ("an escaped line end", target(b"/hello/%0d%0aX:%20y"), "200", "RFC 3986, 2.1"),
            ("an escaped %", target(b"/hello/%2500"), "200", "RFC 3986, 2.1"),
            ("escaped bytes, not UTF-8", target(b"/hello/%ff%fe"), "200", "RFC 3986, 2.5"),
            ("an overlong escaped slash", target(b"/hello/%c0%af"), "200", "RFC 3629, 3"),
            ("half an escape", target(b"/hello/%4"), "200", "RFC 3986, 2.1"),
            ("an escape that is not hex", target(b"/hello/%zz"), "200", "RFC 3986, 2.1"),
            ("dots that lead out", target(b"/../../etc/passwd"), "404", "RFC 3986, 5.2.4"),
            ("escaped dots", target(b"/%2e%2e/%2e%2e/etc/passwd"), "404", "RFC 3986, 5.2.4"),
            ("escaped slashes", target(b"/hello/..%2f..%2fx"), "404", "RFC 3986, 2.2"),
            ("an escaped ?", target(b"/hello/x%3fy"), "200", "RFC 3986, 2.2"),
            ("a semicolon", target(b"/hello/x;y=z"), "200", "RFC 3986, 3.3"),
            ("8,191 bytes with the line", target(b"/" + b"x" * 8177), "414"),
            ("8,190 bytes with the line", target(b"/" + b"x" * 8176), "404"),
            ("100,000 bytes", target(b"/" + b"x" * 100_000), "414"),
        ],
    ),
    "Version": (
        "RFC 9112, 2.3",
        [
            ("none (HTTP/0.9)", b"GET /hello/smuggled\r\n\r\n", "400"),
            ("1.0, without Host", head(b"GET /hello/x HTTP/1.0"), "200", "RFC 9112, 3.2"),
            ("1.2", get(line=b"GET /hello/x HTTP/1.2"), "200", "RFC 9110, 2.5"),
            ("0.9", get(line=b"GET /hello/x HTTP/0.9"), "400"),
            ("2.0", get(line=b"GET /hello/x HTTP/2.0"), "400"),
            ("9.9", get(line=b"GET /hello/x HTTP/9.9"), "400"),
            ("1", get(line=b"GET /hello/x HTTP/1"), "400"),
            ("1.10", get(line=b"GET /hello/x HTTP/1.10"), "400"),
            ("01.1", get(line=b"GET /hello/x HTTP/01.1"), "400"),
            ("1,1", get(line=b"GET /hello/x HTTP/1,1"), "400"),
            ("+1.1", get(line=b"GET /hello/x HTTP/+1.1"), "400"),
            ("lower case", get(line=b"GET /hello/x http/1.1"), "400"),
            ("another protocol", get(line=b"GET /hello/x ICY/1.1"), "400"),
            ("digits that are not ASCII", get(line="GET / HTTP/\uff11.\uff11".encode()), "400"),
        ],
    ),
    "Host": (
        "RFC 9112, 3.2",
        [
            ("none", head(b"GET /hello/smuggled HTTP/1.1"), "400"),
            ("none, but other fields", head(b"GET /hello/x HTTP/1.1", b"Accept: */*"), "400"),
            ("none, with an absolute target", head(b"GET http://x/ HTTP/1.1"), "400"),
            ("two", get(b"Host: y"), "400"),
            ("two that are the same", get(b"Host: x"), "400"),
            ("two, one in capitals", get(b"HOST: y"), "400"),
            ("empty", head(b"GET /hello/x HTTP/1.1", b"Host:"), "200"),
            ("a list", head(b"GET /hello/x HTTP/1.1", b"Host: x, y"), "400"),
            ("a space in it", head(b"GET /hello/x HTTP/1.1", b"Host: x y"), "400"),
            ("a path in it", head(b"GET /hello/x HTTP/1.1", b"Host: x/y"), "400"),
            ("a user in it", head(b"GET /hello/x HTTP/1.1", b"Host: u@x"), "400"),
            ("a query in it", head(b"GET /hello/x HTTP/1.1", b"Host: x?y"), "400"),
            ("a fragment in it", head(b"GET /hello/x HTTP/1.1", b"Host: x#y"), "400"),
            ("a backslash in it", head(b"GET /hello/x HTTP/1.1", b"Host: x\\y"), "400"),
            ("markup in it", head(b"GET /hello/x HTTP/1.1", b"Host: <script>"), "400"),
            ("a whole address", head(b"GET /hello/x HTTP/1.1", b"Host: http://x"), "400"),
            ("a port that is a word", head(b"GET /hello/x HTTP/1.1", b"Host: x:http"), "400"),
            ("two ports", head(b"GET /hello/x HTTP/1.1", b"Host: x:1:2"), "400"),
            ("a bracket left open", head(b"GET /hello/x HTTP/1.1", b"Host: [::1"), "400"),
            ("letters that are not ASCII", head(b"GET / HTTP/1.1", "Host: é".encode()), "400"),
            ("a NUL in it", head(b"GET /hello/x HTTP/1.1", b"Host: x\x00y"), "400"),
            ("a name and port", head(b"GET /hello/x HTTP/1.1", b"Host: a-b.c_d:8080"), "200"),
            ("an IPv6 address and port", head(b"GET / HTTP/1.1", b"Host: [::1]:8080"), "200"),
            ("an empty port", head(b"GET /hello/x HTTP/1.1", b"Host: x:"), "200"),
            ("bad, in HTTP/1.0", head(b"GET /hello/x HTTP/1.0", b"Host: x y"), "400"),
        ],
    ),
    "Header fields": (
        "RFC 9112, 5",
        [
            ("no colon", get(b"X"), "400"),
            ("no name", get(b": x"), "400"),
            ("a space before the colon", get(b"X : x"), "400", "RFC 9112, 5.1"),
            ("a tab before the colon", get(b"X\t: x"), "400", "RFC 9112, 5.1"),
            ("a space before the name", get(b" X: x"), "400", "RFC 9112, 5.2"),
            ("a space before the first name", head(b"GET / HTTP/1.1", b" Host: x"), "400"),
            ("folded over two lines", get(b"X: x", b" y"), "400", "RFC 9112, 5.2"),
            ("folded with a tab", get(b"X: x", b"\ty"), "400", "RFC 9112, 5.2"),
            ("Content-Length, folded", length(b"20\r\n 0"), "400", "RFC 9112, 5.2"),
            ("a line of spaces", get(b"X: x", b"  "), "400", "RFC 9112, 2.2"),
            ("a space in the name", get(b"X Y: x"), "400", "RFC 9110, 5.1"),
            ("brackets in the name", get(b"X(Y): x"), "400", "RFC 9110, 5.1"),
            ("a NUL in the name", get(b"X\x00: x"), "400", "RFC 9110, 5.1"),
            ("a letter over 127 in the name", get("É: x".encode()), "400", "RFC 9110, 5.1"),
            ("a NUL in the value", get(b"X: x\x00y"), "400", "RFC 9110, 5.5"),
            ("an escape code in the value", get(b"X: \x1b[31m"), "400", "RFC 9110, 5.5"),
            ("a vertical tab in the value", get(b"X: \x0b"), "400", "RFC 9110, 5.5"),
            ("DEL in the value", get(b"X: \x7f"), "400", "RFC 9110, 5.5"),
            ("a bare CR in the value", get(b"X: x\ry"), "400", "RFC 9112, 2.2"),
            ("a bare LF in the value", get(b"X: x\nY: y"), "400", "RFC 9112, 2.2"),
            ("lines that end with LF", get().replace(b"\r\n", b"\n"), "400", "RFC 9112, 2.2"),
            ("lines that end with CR", get().replace(b"\r\n", b"\r"), CLOSED, "RFC 9112, 2.2"),
            ("LF LF at the end", get()[:-4] + b"\n\n", "400", "RFC 9112, 2.2"),
            ("CR LF LF at the end", get()[:-2] + b"\n", "400", "RFC 9112, 2.2"),
            ("bytes over 127 in the value", get(b"X: \xff\xfe"), "200", "RFC 9110, 5.5"),
            ("a tab and spaces around it", get(b"X: \t x\t "), "200", "RFC 9110, 5.5"),
            ("an empty value", get(b"X:"), "200", "RFC 9110, 5.5"),
            ("the same field twice", get(b"X: x", b"X: y"), "200", "RFC 9110, 5.3"),
            ("Content-Type twice", get(b"Content-Type: a/b", b"Content-Type: a/b"), "400"),
            ("100 fields", get(*[b"X: x"] * 99), "200", "RFC 9110, 5.4"),
            ("101 fields", get(*[b"X: x"] * 100), "431", "RFC 9110, 5.4"),
            ("100,000 fields", get(*[b"X: x"] * 100_000), "431", "RFC 9110, 5.4"),
            ("a field of 8,190 bytes", get(b"X: " + b"x" * 8185), "200", "RFC 9110, 5.4"),
            ("a field of 8,191 bytes", get(b"X: " + b"x" * 8186), "431", "RFC 9110, 5.4"),
            ("a field of 1 MB", get(b"X: " + b"x" * 1_000_000), "431", "RFC 9110, 5.4"),
            ("a name of 100,000 bytes", get(b"X" * 100_000 + b": x"), "431", "RFC 9110, 5.4"),
            ("cut off in a name", get()[:-4] + b"\r\nX", CLOSED, "RFC 9112, 8"),
            ("cut off before the empty line", get()[:-2], CLOSED, "RFC 9112, 8"),
            # gunicorn leaves them out: in the environment X_Y and X-Y would be the same.
            ("underscores in a name", get(b"X_Forwarded_For: y"), "200", "RFC 9110, 17.10"),
            ("Content_Length", get(b"Content_Length: 9") + SMUGGLED, "200 200", "RFC 9110, 17.10"),
            ("SCRIPT_NAME", get(b"SCRIPT_NAME: /hello"), "200", "RFC 9110, 17.10"),
            ("PATH_INFO", get(b"PATH_INFO: /nope"), "200", "RFC 9110, 17.10"),
            ("REMOTE_ADDR", get(b"REMOTE_ADDR: 127.0.0.1"), "200", "RFC 9110, 17.10"),
            ("Proxy", get(b"Proxy: http://192.0.2.1"), "200", "RFC 3875, 4.1.18"),
            ("forwarding fields from an untrusted client",
             get(b"X-Forwarded-Proto: ssl", b"X-Forwarded-Proto: http", b"X-Forwarded-For: \xff"),
             "200", "RFC 7239, 8.1"),
        ],
    ),
    "Content-Length": (
        "RFC 9112, 6.3",
        [
            ("two", post(b"Content-Length: 20", b"Content-Length: 0", body=NOTE), "400"),
            ("two that are the same",
             post(b"Content-Length: 20", b"Content-Length: 20", body=NOTE), "400"),
            ("a list", length(b"20, 0"), "400"),
            ("a list of the same", length(b"20, 20"), "400"),
            ("empty", length(b""), "400"),
            ("negative", length(b"-1"), "400"),
            ("with a plus sign", length(b"+20"), "400"),
            ("hexadecimal", length(b"0x14"), "400"),
            ("with an exponent", length(b"2e1"), "400"),
            ("with a decimal point", length(b"20.0"), "400"),
            ("with an underscore", length(b"2_0"), "400"),
            ("with a space inside", length(b"2 0"), "400"),
            ("with a comma at the end", length(b"20,"), "400"),
            ("in quotes", length(b'"20"'), "400"),
            ("a word", length(b"twenty"), "400"),
            ("superscript digits", length("²⁰".encode()), "400"),
            ("a superscript digit of Latin-1", length(b"\xb2"), "400"),
            ("digits that are not ASCII", length("\uff12\uff10".encode()), "400"),
            ("a NUL behind it", length(b"20\x00"), "400"),
            ("a vertical tab before it", length(b"\x0b20"), "400"),
            ("2 to the power of 64", length(b"18446744073709551616"), "413", "RFC 9110, 15.5.14"),
            ("larger than is allowed", length(b"1048577"), "413", "RFC 9110, 15.5.14"),
            ("5,000 digits", length(b"9" * 5000), "413"),
            ("zeros before it", length(b"00018", note("zeros")), "201", "RFC 9110, 8.6"),
            ("smaller than what follows", length(b"19") + SMUGGLED, "400 400"),
            ("larger than what follows", length(b"21"), CLOSED, "RFC 9112, 8"),
            ("none, but a body", post(body=NOTE + SMUGGLED), "400 400"),
            ("of a GET, and a body", get(AROUND) + SMUGGLED, "200"),
            ("of a GET, and half a body", get(BEYOND) + SMUGGLED, CLOSED,
             "RFC 9112, 8"),
            ("of a GET, larger than any body", get(b"Content-Length: 99999999999"), "413",
             "RFC 9110, 15.5.14"),
            ("0 of a GET, and a request", get(b"Content-Length: 0") + get(), "200 200"),
            ("of a HEAD, and a body",
             get(AROUND, line=b"HEAD /hello/x HTTP/1.1") + SMUGGLED, "200"),
            ("in HTTP/1.0", head(b"GET / HTTP/1.0", AROUND) + SMUGGLED, "200"),
        ],
    ),
    "Transfer-Encoding": (
        "RFC 9112, 6.1",
        [
            ("with Content-Length", coding(b"chunked", b"Content-Length: 30"), "400"),
            ("with Content-Length: 0", coding(b"chunked", b"Content-Length: 0"), "400"),
            ("before Content-Length: 4",
             post(b"Content-Length: 4", b"Transfer-Encoding: chunked", body=LAST + SMUGGLED),
             "400"),
            ("identity with Content-Length", coding(b"identity", b"Content-Length: 20"), "400"),
            ("chunked twice", coding(b"chunked, chunked"), "400"),
            ("chunked in two fields", coding(b"chunked", b"Transfer-Encoding: chunked"), "400"),
            ("chunked, then identity", coding(b"chunked", b"Transfer-Encoding: identity"), "400"),
            ("identity, then chunked", coding(b"identity, chunked"), "400"),
            ("identity", coding(b"identity"), "400"),
            ("chunked, identity", coding(b"chunked, identity"), "400"),
            ("xchunked", coding(b"xchunked"), "400"),
            ("chunkedx", coding(b"chunkedx"), "400"),
            ("a comma before it", coding(b", chunked"), "400"),
            ("a comma after it", coding(b"chunked,"), "400"),
            ("a parameter", coding(b"chunked;q=1"), "400"),
            ("in quotes", coding(b'"chunked"'), "400"),
            ("in quotes of one kind", coding(b"'chunked'"), "400"),
            ("empty", coding(b""), "400"),
            ("a vertical tab before it", coding(b"\x0bchunked"), "400"),
            ("a form feed behind it", coding(b"chunked\x0c"), "400"),
            ("a NUL behind it", coding(b"chunked\x00"), "400"),
            ("a no-break space before it", coding(b"\xa0chunked"), "400"),
            ("folded", coding(b"\r\n chunked"), "400", "RFC 9112, 5.2"),
            ("a Kelvin sign for its k", coding("chun\u212aed".encode()), "400"),
            ("gzip", coding(b"gzip"), "400"),
            ("gzip, chunked", coding(b"gzip, chunked"), "400"),
            ("chunked, gzip", coding(b"chunked, gzip"), "400"),
            ("unknown, chunked", coding(b"x, chunked"), "400"),
            ("a space before the colon",
             post(b"Transfer-Encoding : chunked", b"Content-Length: 5", body=LAST + SMUGGLED),
             "400", "RFC 9112, 5.1"),
            ("a space before the name",
             post(b" Transfer-Encoding: chunked", b"Content-Length: 5", body=LAST + SMUGGLED),
             "400", "RFC 9112, 5.2"),
            ("in HTTP/1.0",
             head(b"POST /notes HTTP/1.0", b"Transfer-Encoding: chunked") + LAST, "400"),
            ("in HTTP/1.0, with Content-Length",
             head(b"POST / HTTP/1.0", b"Transfer-Encoding: chunked", b"Content-Length: 5") + LAST,
             "400"),
            ("an underscore in the name",
             get(b"Transfer_Encoding: chunked", b"Connection: close") + LAST, "200",
             "RFC 9110, 17.10"),
            ("in capitals", post(b"TRANSFER-ENCODING: CHUNKED",
                                 body=chunk(note("capitals")) + LAST), "201", "RFC 9112, 7"),
            ("TE: chunked instead", get(b"TE: chunked") + get(), "200 200", "RFC 9110, 10.1.4"),
        ],
    ),
    "Chunks": (
        "RFC 9112, 7.1",
        [
            ("well-formed", chunks(chunk(note("chunks")) + LAST), "201"),
            ("with zeros before the size",
             chunks(b"0000" + chunk(note("zeros in chunks")) + b"00\r\n\r\n"), "201"),
            ("with an extension", chunks(chunk(note("extended"), b';a=1;b="x;y"') + LAST), "201",
             "RFC 9112, 7.1.1"),
            ("with a trailer", chunks(chunk(note("trailer")) + b"0\r\nX: x\r\n\r\n"), "201",
             "RFC 9112, 7.1.2"),
            ("a size with 0x", chunks(b"0x14\r\n" + NOTE + b"\r\n" + LAST), "400"),
            ("a size with a plus sign", chunks(b"+14\r\n" + NOTE + b"\r\n" + LAST), "400"),
            ("a negative size", chunks(b"-14\r\n" + NOTE + b"\r\n" + LAST), "400"),
            ("a size with an underscore", chunks(b"1_4\r\n" + NOTE + b"\r\n" + LAST), "400"),
            ("a size with a space before it", chunks(b" 14\r\n" + NOTE + b"\r\n" + LAST), "400"),
            ("a size with a space behind it", chunks(b"14 \r\n" + NOTE + b"\r\n" + LAST), "400"),
            ("a size with a NUL", chunks(b"14\x00\r\n" + NOTE + b"\r\n" + LAST), "400"),
            ("an empty size", chunks(b"\r\n" + NOTE + b"\r\n" + LAST), "400"),
            ("a size that is no number", chunks(b"zz\r\n" + NOTE + b"\r\n" + LAST), "400"),
            ("a size of 2 to the power of 64",
             chunks(b"10000000000000014\r\n" + NOTE + b"\r\n" + LAST), "413", "RFC 9110, 15.5.14"),
            ("a size of 100,000 digits", chunks(b"0" * 100_000 + b"14\r\n" + NOTE), "400"),
            ("a size larger than is allowed", chunks(chunk(b"x" * 2**21) + LAST), "413",
             "RFC 9110, 15.5.14"),
            ("a size that is too small", chunks(b"13\r\n" + NOTE + b"\r\n" + LAST), "400"),
            ("a size that is too large", chunks(b"15\r\n" + NOTE + b"\r\n" + LAST), "400"),
            ("no CRLF behind the data", chunks(b"14\r\n" + NOTE + LAST), "400"),
            ("a bare LF behind the size", chunks(b"14\n" + NOTE + b"\r\n" + LAST), "400"),
            ("a bare CR behind the size", chunks(b"14\r" + NOTE + b"\r\n" + LAST), "400"),
            ("a bare LF behind the data", chunks(b"14\r\n" + NOTE + b"\n" + LAST), "400"),
            ("a bare LF at the end", chunks(chunk(NOTE) + b"0\n\n"), CLOSED),
            ("cut off in a size", chunks(b"14"), CLOSED, "RFC 9112, 8"),
            ("cut off in the data", chunks(b"14\r\n" + NOTE[:9]), CLOSED, "RFC 9112, 8"),
            ("no last chunk", chunks(chunk(NOTE)), CLOSED, "RFC 9112, 8"),
            ("no empty line at the end", chunks(chunk(NOTE) + b"0\r\n"), CLOSED, "RFC 9112, 8"),
            ("no body at all", chunks(b""), CLOSED, "RFC 9112, 8"),
            ("an extension without a name", chunks(b"14;\r\n" + NOTE + b"\r\n" + LAST), "400",
             "RFC 9112, 7.1.1"),
            ("a bare LF in an extension", chunks(b"14;a\nb\r\n" + NOTE + b"\r\n" + LAST), "400",
             "RFC 9112, 7.1.1"),
            ("a bare CR in an extension", chunks(b"14;a\rb\r\n" + NOTE + b"\r\n" + LAST), "400",
             "RFC 9112, 7.1.1"),
            ("an extension's quotes left open", chunks(chunk(NOTE, b';a="b') + LAST), "400",
             "RFC 9112, 7.1.1"),
            ("an extension of 100,000 bytes", chunks(chunk(NOTE, b";" + b"a" * 100_000) + LAST),
             "400", "RFC 9112, 7.1.1"),
            ("a trailer without a colon", chunks(chunk(NOTE) + b"0\r\nX\r\n\r\n"), "400",
             "RFC 9112, 7.1.2"),
            ("a trailer with a bare LF", chunks(chunk(NOTE) + b"0\r\nX: x\n\r\n"), CLOSED,
             "RFC 9112, 7.1.2"),
            ("Content-Length as a trailer",
             chunks(chunk(NOTE) + b"0\r\nContent-Length: 5\r\n\r\n"), "400", "RFC 9110, 6.5.1"),
            ("Transfer-Encoding as a trailer",
             chunks(chunk(NOTE) + b"0\r\nTransfer-Encoding: chunked\r\n\r\n"), "400",
             "RFC 9110, 6.5.1"),
            ("Host as a trailer", chunks(chunk(NOTE) + b"0\r\nHost: y\r\n\r\n"), "400",
             "RFC 9110, 6.5.1"),
            ("Authorization as a trailer",
             chunks(chunk(NOTE) + b"0\r\nAuthorization: x\r\n\r\n"), "400", "RFC 9110, 6.5.1"),
            ("trailers of 1 MB", chunks(chunk(NOTE) + b"0\r\n" + b"X: x\r\n" * 170_000 + b"\r\n"),
             "431", "RFC 9112, 7.1.2"),
            ("of a GET, and a request behind",
             get(b"Transfer-Encoding: chunked") + chunk(SMUGGLED) + LAST + get(), "200 200"),
            ("of a GET, broken", get(b"Transfer-Encoding: chunked") + b"zz\r\n" + SMUGGLED, "400"),
            ("of a GET, cut off", get(b"Transfer-Encoding: chunked") + b"14\r\n", CLOSED,
             "RFC 9112, 8"),
            ("to an unknown path, broken",
             get(b"Transfer-Encoding: chunked", line=b"POST /nope HTTP/1.1") + b"zz\r\n" + SMUGGLED,
             "404"),
        ],
    ),
    "One after the other": (
        "RFC 9112, 9.3",
        [
            ("two requests", get() + get(), "200 200", "RFC 9112, 9.3.2"),
            ("ten requests", get() * 10, " ".join(["200"] * 10), "RFC 9112, 9.3.2"),
            ("a request, an empty line, another", get() + b"\r\n" + get(), "200 200",
             "RFC 9112, 2.2"),
            ("a request, three empty lines, another", get() + b"\r\n" * 3 + get(), "200 200",
             "RFC 9112, 2.2"),
            ("a request, four empty lines, another", get() + b"\r\n" * 4 + SMUGGLED, "200 400",
             "RFC 9112, 2.2"),
            ("a request, then nonsense", get() + b"nonsense\r\n\r\n" + SMUGGLED, "200 400"),
            ("a request, then bytes that are no request", get() + b"\x00\xff" * 9 + b"\r\n\r\n",
             "200 400"),
            ("nonsense, then a request", b"nonsense\r\n\r\n" + SMUGGLED, "400"),
            ("after Connection: close", get(b"Connection: close") + SMUGGLED, "200",
             "RFC 9112, 9.6"),
            ("after Connection: Close, in a list", get(b"Connection: te, Close") + SMUGGLED, "200",
             "RFC 9112, 9.6"),
            ("after close in a second field",
             get(b"Connection: keep-alive", b"Connection: close") + SMUGGLED, "200",
             "RFC 9112, 9.6"),
            ("after HTTP/1.0", head(b"GET /hello/x HTTP/1.0") + SMUGGLED, "200"),
            ("after HTTP/1.0 with keep-alive",
             head(b"GET /hello/x HTTP/1.0", b"Connection: keep-alive") + get(), "200 200"),
            ("after CONNECT", target(b"x:443", b"CONNECT") + SMUGGLED, "404", "RFC 9110, 9.3.6"),
            ("after an unknown expectation", get(b"Expect: x") + SMUGGLED, "417",
             "RFC 9110, 10.1.1"),
            ("after a body that is too large",
             length(b"1048577", b"x" * 1_048_577) + SMUGGLED, "413"),
            ("after a body that nobody read",
             get(b"Content-Length: 3", line=b"POST /nope HTTP/1.1") + b"abc" + get(), "404 200"),
            ("Content-Length hidden from Connection",
             get(b"Connection: content-length", AROUND) + SMUGGLED, "200",
             "RFC 9110, 7.6.1"),
        ],
    ),
    "Expectations and upgrades": (
        "RFC 9110, 10.1.1",
        [
            ("100-continue", post(b"Expect: 100-continue", b"Content-Length: 18",
                                  body=b'{"title":"expect"}'), "201"),
            ("100-Continue, in capitals", get(b"Expect: 100-CONTINUE"), "200"),
            ("100-continue, twice", get(b"Expect: 100-continue", b"Expect: 100-continue"), "200"),
            ("100-continue, in a list", get(b"Expect: 100-continue, x"), "417"),
            ("100-continue in HTTP/1.0", head(b"GET / HTTP/1.0", b"Expect: 100-continue"), "200"),
            ("200-ok", get(b"Expect: 200-ok"), "417"),
            ("empty", get(b"Expect:"), "417"),
            ("Upgrade: h2c",
             get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMA"),
             "200", "RFC 9110, 7.8"),
            ("Upgrade: websocket", get(b"Connection: Upgrade", b"Upgrade: websocket"), "400",
             "RFC 9110, 7.8"),
            ("Upgrade, and a request behind",
             get(b"Connection: Upgrade", b"Upgrade: websocket") + get(), "400 200",
             "RFC 9110, 7.8"),
        ],
    ),
    "Other protocols": (
        "RFC 9112, 3",
        [
            ("TLS", bytes.fromhex("160301020001000001fc0303") + bytes(range(256)) * 2, "400"),
            ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
             "400", "RFC 9113, 3.4"),
            ("the PROXY protocol, version 1",
             b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + SMUGGLED, "400"),
            ("the PROXY protocol, version 2",
             b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\x00\x01\x00\x02"
             + SMUGGLED, "400"),
            ("SSH", b"SSH-2.0-OpenSSH_9.2\r\n", CLOSED),
            ("SMTP", b"EHLO x\r\nMAIL FROM:<x@x>\r\n", CLOSED),
            ("Redis", b"*1\r\n$4\r\nPING\r\n", CLOSED),
            ("memcached", b"get x\r\n", CLOSED),
            ("FastCGI", bytes.fromhex("01010001000800000001000000000000"), CLOSED),
            ("RTSP", head(b"OPTIONS rtsp://x/ RTSP/1.0", b"CSeq: 1"), "400"),
            ("SIP", head(b"OPTIONS sip:x SIP/2.0", b"Via: x"), "400"),
            ("a response", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "400"),
            ("a line for the log",
             b'\r\n{"level":"error","logger":"forged","message":"forged"}\r\n\r\n', "400"),
            ("4,096 NULs", bytes(4096), CLOSED),
            ("100,000 times 0xff", b"\xff" * 100_000, "414"),
            ("100,000 line ends", b"\r\n" * 100_000, "400"),
        ],
    ),
}  # fmt: skip

CASES = [
    Case(group, what, sent, response, *(rule or [rules]))
    for group, (rules, cases) in GROUPS.items()
    for what, sent, response, *rule in cases
]
