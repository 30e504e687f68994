"""Every error is a problem document (RFC 9457), and shows a client nothing internal."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

from flask import json, request
from gunicorn.http.errors import ParseException
from marshmallow import Schema, fields
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import BadRequest, HTTPException, InternalServerError, ServiceUnavailable

from drydock import metrics
from drydock.outages import is_temporary
from drydock.problems import CONTENT_TYPE, RETRY_AFTER, document

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.wrappers import Response

log = logging.getLogger("app.errors")


class Problem(Schema):
    """A problem document, for the API's description."""

    type = fields.String(required=True, metadata={"description": "`about:blank`: see `status`."})
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True)
    request_id = fields.String(required=True, metadata={"description": "As in the logs."})
    errors = fields.Dict(metadata={"description": "What is wrong with each part of the request."})


def init_app(app: Flask) -> None:
    """Respond to every error of the application with a problem document."""
    app.register_error_handler(HTTPException, problem)
    app.register_error_handler(ParseException, broken_body)
    for kind in (DBAPIError, PoolTimeout):
        app.register_error_handler(kind, database_error)


def broken_body(_error: ParseException) -> Response:
    """Reject a body whose chunks gunicorn can't parse: it finds that only as the body is read."""
    return problem(BadRequest("The request's body is not valid HTTP."))


def problem(error: HTTPException) -> Response:
    """Turn an HTTP error into a problem document, keeping headers such as Allow."""
    if isinstance(error, InternalServerError):
        # What went wrong is in the log, with its trace, under the request's id.
        error = InternalServerError("The service failed to serve this request.")
    response = error.get_response()
    if error.code is None or error.code < HTTPStatus.BAD_REQUEST:  # a redirect
        return response
    request_id = request.environ.get("app.request_id", "")
    body = document(error.code, error.name, error.description or error.name, request_id)
    # What webargs found when it checked the request's parts.
    if messages := getattr(error, "data", {}).get("messages"):
        body |= {"detail": "The request is not valid.", "errors": messages}
    response.set_data(json.dumps(body) + "\n")
    response.content_type = CONTENT_TYPE
    return response


def database_error(error: DBAPIError | PoolTimeout) -> Response:
    """Respond with a 503 to what is temporary: a retry may help.

    Raises:
        DBAPIError: the same, if it is a fault. Flask logs its trace and responds with a 500.

    """
    if not is_temporary(error):
        raise error
    metrics.database_outages.inc()
    log.error("the database is not available: %s", str(error).partition("\n")[0])
    detail = "The database is not available."
    return problem(ServiceUnavailable(detail, retry_after=RETRY_AFTER))
