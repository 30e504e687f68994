"""The problem document (RFC 9457): the body of every error response, of the server and of Flask."""

from __future__ import annotations

from typing import Any

CONTENT_TYPE = "application/problem+json"
RETRY_AFTER = 5  # seconds


def document(status: int, title: str, detail: str, request_id: str) -> dict[str, Any]:
    """A problem document's members."""
    return {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        "request_id": request_id,
    }
