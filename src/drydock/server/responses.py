"""Responses that the server makes by itself, without a thread and without the application."""

from __future__ import annotations

import email.utils
import functools
import http
import json
import time
import uuid

import gunicorn

from drydock import logs, problems
from drydock.server.rejections import rejections


@functools.lru_cache(maxsize=2)
def _date(second: int) -> str:
    return email.utils.formatdate(second, usegmt=True)


def http_date(timestamp: float | None = None) -> str:
    """The field Date (RFC 9110, 5.6.7): of now, or of so many seconds since 1970."""
    return _date(int(time.time() if timestamp is None else timestamp))


def _message(
    status: str, connection: str, content_type: str, body: bytes, *fields: str, version: str = "1.1"
) -> bytes:
    """A whole response, with the fields of the application's, in their order."""
    head = (
        f"HTTP/{version} {status}",
        f"Server: {gunicorn.SERVER}",
        f"Date: {http_date()}",
        f"Connection: {connection}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in problems.FIELDS.items()),
        *fields,
    )
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def problem(status: int, title: str, detail: str, request_id: str, *fields: str) -> bytes:
    """A problem document, as a whole response that closes the connection."""
    document = problems.document(status, title, detail, request_id)
    body = json.dumps(document).encode() + b"\n"
    fields = (*fields, f"X-Request-ID: {request_id}")
    return _message(f"{status} {title}", "close", problems.CONTENT_TYPE, body, *fields)


def without_body(response: bytes) -> bytes:
    """The same response, to a HEAD: its Content-Length is that of a GET's (RFC 9110, 8.6)."""
    return response[: response.index(b"\r\n\r\n") + 4]


def rejection(client: str, status: int, title: str, detail: str, reason: str = "") -> bytes:
    """Reject a request that has no id yet; the log alone gets `reason`, which quotes the client."""
    request_id = uuid.uuid4().hex
    rejections.note(client, status, reason or detail, request_id)
    return problem(status, title, detail, request_id)


def overloaded() -> bytes:
    """Reject a request for which there was no thread in time. Counted, not logged one by one."""
    title = http.HTTPStatus.SERVICE_UNAVAILABLE.phrase
    retry = f"Retry-After: {problems.RETRY_AFTER}"
    return problem(503, title, "There are too many requests.", uuid.uuid4().hex, retry)


def too_slow() -> bytes:
    """Reject a request that did not arrive in time. Counted as well."""
    title = http.HTTPStatus.REQUEST_TIMEOUT.phrase
    return problem(408, title, "The request took too long to arrive.", uuid.uuid4().hex)


def alive(version: tuple[int, int], given: str, *, keep_alive: bool) -> bytes:
    """The response to `/livez`, byte for byte as the application makes it.

    `version`: the request's; `given`: its X-Request-ID.
    """
    body = json.dumps({"status": "ok"}, separators=(",", ":")).encode() + b"\n"
    connection = "keep-alive" if keep_alive else "close"
    field = f"X-Request-ID: {logs.request_id(given)}"
    number = ".".join(map(str, version))
    return _message("200 OK", connection, "application/json", body, field, version=number)


def measured(version: tuple[int, int], accept: str, *, keep_alive: bool) -> bytes:
    """The response to `/metrics`.

    `version`: the request's; `accept`: its Accept.
    """
    from drydock import metrics  # not before the directory of its files is set

    body, content_type = metrics.render(accept)
    connection = "keep-alive" if keep_alive else "close"
    number = ".".join(map(str, version))
    return _message("200 OK", connection, content_type, body, version=number)
