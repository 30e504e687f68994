"""What responses of the server and of Flask have in common: the problem document, some fields.

The problem document (RFC 9457) is the body of every error response.
"""

from __future__ import annotations

from typing import Any

CONTENT_TYPE = "application/problem+json"

# What each response has, unless the application sets the field itself. By OWASP's REST Security
# Cheat Sheet; docs/service.md says what is left out of it, and why.
FIELDS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
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
