"""A WSGI function without a framework: all that is left of a figure is the server's."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

BODY = b'{"environment":"production","message":"Hello, bench!"}\n'
FIELDS = [("Content-Type", "application/json"), ("Content-Length", str(len(BODY)))]


def app(_environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    """Answer everything with the greeting."""
    start_response("200 OK", FIELDS)
    return [BODY]
