"""Every error is a problem document (RFC 9457), and tells a client nothing of the inside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import json
from werkzeug.exceptions import HTTPException, InternalServerError

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.wrappers import Response


def init_app(app: Flask) -> None:
    """Answer every error of the application with a problem document."""
    app.register_error_handler(HTTPException, problem)


def problem(error: HTTPException) -> Response:
    """Turn an HTTP error into `application/problem+json`, keeping headers such as Allow."""
    if isinstance(error, InternalServerError):
        # What went wrong is in the log, with its trace; werkzeug's text is for browsers.
        error = InternalServerError("The service failed to answer this request.")
    response = error.get_response()
    if error.code is not None and error.code >= 400:
        document = {"status": error.code, "title": error.name, "detail": error.description}
        response.set_data(json.dumps(document) + "\n")
        response.content_type = "application/problem+json"
    return response
