"""The service, and some endpoints that no service should have: mounted into containers under test.

Served by `gunicorn chaos:application`, with the image's own settings.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import time
from typing import TYPE_CHECKING

from app import create_app

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from wsgiref.types import StartResponse, WSGIEnvironment

if os.environ.get("CHAOS_FAIL") == "import":
    raise RuntimeError("this application can't be imported")

# It says that the data is in a file, which is right here; what else is logged is a test's to judge.
logging.getLogger("app.database").setLevel(logging.ERROR)
service = create_app()
PIECE = b"0123456789abcdef" * 512


def pieces(size: int) -> Iterator[bytes]:
    while size > 0:
        yield PIECE[:size]
        size -= len(PIECE)


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    path, argument = environ["PATH_INFO"], environ["QUERY_STRING"]
    if os.environ.get("CHAOS_FAIL") == "requests":
        os._exit(1)
    if path == "/chaos/slow":  # so many seconds
        time.sleep(float(argument))
        body: Iterable[bytes] = [b"slow\n"]
        length = 5
    elif path == "/chaos/busy":  # so many seconds of the processor
        until = time.thread_time() + float(argument)
        while time.thread_time() < until:
            pass
        body, length = [b"busy\n"], 5
    elif path == "/chaos/large":  # so many bytes, as one
        length = int(argument)
        body = [b"".join(pieces(length))]
    elif path == "/chaos/pieces":  # so many bytes, made while they are sent
        length = int(argument)
        body = pieces(length)
    elif path == "/chaos/digest":  # of what was sent
        body = [hashlib.sha256(environ["wsgi.input"].read()).hexdigest().encode()]
        length = 64
    elif path == "/chaos/modules":  # that the worker has imported
        names = " ".join(sys.modules).encode()
        body, length = [names], len(names)
    elif path == "/chaos/worker":
        body = [f"{os.getpid():10}".encode()]
        length = 10
    else:
        return service(environ, start_response)
    start_response("200 OK", [("Content-Length", str(length))])
    return body
