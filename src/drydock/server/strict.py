"""Rejects what gunicorn lets pass though RFC 9112 forbids it, before the request is served.

What two servers in a row read differently can be used to smuggle a request past the first one, so
nothing is guessed or repaired. docs/malformed.md shows the response to each.
"""

from __future__ import annotations

import io
import logging
import re
from typing import TYPE_CHECKING, Any

from gunicorn.http.errors import InvalidHeader, InvalidRequestLine, NoMoreData, ParseException
from gunicorn.http.parser import RequestParser

from drydock.server.hooks import settings

if TYPE_CHECKING:
    from gunicorn.config import Config
    from gunicorn.workers.base import Worker

    Request = Any  # gunicorn.http.message.Request; the stubs know it only before it is parsed
    Parser = Any  # gunicorn.http.parser.Parser; they do not know that finish_body() returns a bool

log = logging.getLogger("app.server.strict")

# Narrower than the RFC's, which allows a comma: two fields that were joined look like that.
HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]*)(?::[0-9]*)?")
ABSOLUTE = re.compile(r"(?i:https?)://([^/?#:][^/?#]*)([/?][^#]*)?")

# The application does not read the content of these, so it would not notice that it is broken.
WITHOUT_CONTENT = {"GET", "HEAD", "DELETE", "OPTIONS", "TRACE"}
CONTENT_FIELDS = {"CONTENT-LENGTH", "TRANSFER-ENCODING"}  # that announce content


def parse_head(cfg: Config, head: bytes, client: Any) -> Request:  # noqa: ANN401
    """Parse a head, all of which is there, as a thread does: by gunicorn and what is below.

    Raises:
        ParseException: if it is not valid.

    """
    req = next(RequestParser(cfg, iter((head,)), client))
    _check_head(req)
    return req


def pre_request(_worker: Worker | None, req: Request) -> None:
    """Check a request whose head gunicorn has parsed; one of its hooks.

    Raises:
        ParseException: if it is not valid; gunicorn responds with 400 and closes.
        NoMoreData: if it was cut off; gunicorn closes.

    """
    length, follows = _check_head(req)
    if follows and req.method in WITHOUT_CONTENT:
        _read_content(req, length)


def _check_head(req: Request) -> tuple[int | None, bool]:
    """Check the head; return the Content-Length, and whether content follows without a 100.

    Raises:
        ParseException: if it is not valid.

    """
    host = length = None
    chunked = expects = False
    for name, value in req.headers:
        if name == "HOST":
            host = value
        elif name == "CONNECTION":
            # gunicorn finds `close` only where it is alone.
            if "close" in re.split(r"[ \t]*,[ \t]*", value.lower()):
                req.force_close()
        elif name == "CONTENT-LENGTH":
            length = int(value)
        elif name == "TRANSFER-ENCODING":
            chunked = True
            # gunicorn takes `gzip, chunked` too, and passes the content on still compressed.
            if value.lower() != "chunked":
                raise InvalidHeader(name, req=req)
        elif name == "EXPECT":
            expects = req.version > (1, 0)
    _check_host(req, host)
    _check_target(req)
    # gunicorn's response repeats the version of the request.
    req.version = min(req.version, (1, 1))
    # A client that expects a 100 has not sent the content yet.
    return length, bool(length or chunked) and not expects


def _check_host(req: Request, host: str | None) -> None:
    """Reject a Host field that is missing, in HTTP/1.1, or is not a host."""
    if (host is None and req.version > (1, 0)) or (host and not HOST.fullmatch(host)):
        raise InvalidHeader("HOST", req=req)


def _check_target(req: Request) -> None:
    """Reject a target with a fragment, or one that is neither a path nor an address of HTTP."""
    if req.uri.startswith("/"):
        if "#" in req.uri:
            raise InvalidRequestLine(req.uri)
    elif req.uri != "*" and req.method != "CONNECT":
        found = ABSOLUTE.fullmatch(req.uri)
        if not found or not HOST.fullmatch(found[1]):
            raise InvalidRequestLine(req.uri)
        # RFC 9112, 3.2.2: the target's host counts, whatever the field says.
        others = [field for field in req.headers if field[0] != "HOST"]
        req.headers = [*others, ("HOST", found[1])]
        req.path = req.path or "/"


def _read_content(req: Request, length: int | None) -> None:
    """Read the content now, so that what is wrong with it shows before there is a response."""
    limit = settings().max_body_bytes
    if length is not None and length > limit:
        req.force_close()  # the content stays unread, so no other request can follow it
        return
    content = req.body.read(limit + 1)
    if length is not None and len(content) < length:
        raise NoMoreData
    if len(content) > limit:
        raise InvalidHeader("TRANSFER-ENCODING", req=req)
    req.body = io.BytesIO(content)


def skip_body(parser: Parser) -> bool:
    """Skip what the application left unread; return False if the connection has to be closed.

    gunicorn lets a broken chunk's exception pass here and responds a second time, with a 400. A
    proxy in front would take that for the response to its next request.
    """
    try:
        return bool(parser.finish_body())
    except ParseException as error:
        log.warning("closed the connection of %s: %s", parser.source_addr, error)
        return False
