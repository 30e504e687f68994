"""What every application here has besides the greeting: slow, large, and with a large body."""

from __future__ import annotations

import time
import zlib
from typing import TYPE_CHECKING

from flask import Response, request

if TYPE_CHECKING:
    from flask import Flask

SECONDS = 0.05
LARGE = b"0123456789abcdef" * 62_500  # 1 MB


def slow() -> dict[str, str]:
    """Wait as for another service, without using the processor."""
    time.sleep(SECONDS)
    return {"status": "slow"}


def large() -> Response:
    """Give 1 MB."""
    return Response(LARGE, mimetype="application/octet-stream")


def receive() -> dict[str, int]:
    """Read what was sent; the checksum shows that it was read whole."""
    return {"crc32": zlib.crc32(request.get_data())}


def add(app: Flask) -> None:
    """Add the endpoints to an application."""
    app.add_url_rule("/bench/slow", view_func=slow)
    app.add_url_rule("/bench/large", view_func=large)
    app.add_url_rule("/bench/receive", view_func=receive, methods=["POST"])
