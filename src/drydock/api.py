"""The API and its description in OpenAPI, which `/openapi.json` serves."""

from __future__ import annotations

import functools
import http
import json
import re
from typing import TYPE_CHECKING, Any

import flask_smorest
from flask_smorest.utils import prepare_response
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType

from drydock.errors import Problem
from drydock.problems import CONTENT_TYPE

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask, Request
    from marshmallow import Schema

SECURITY: dict[str, Any] = {"security": [{"bearer": []}]}


@functools.cache
def route_template(rule: str) -> str:
    """A route as OpenAPI writes it: `/blogs/<int:blog_id>` is `/blogs/{blog_id}`."""
    return re.sub(r"<(?:[^>]*:)?([^>:]+)>", r"{\1}", rule)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


class Parser(FlaskParser):
    """Reads a JSON body strictly; broken JSON and another type are other errors than wrong data."""

    @staticmethod
    def _body(req: Request) -> bytes:
        limit = req.max_content_length
        if req.content_length is None and limit is not None:
            # Of a chunked body werkzeug returns what fits, without an error for the rest.
            req.max_content_length = limit + 1
            body = req.get_data(cache=False)
            if len(body) > limit:
                raise RequestEntityTooLarge
            return body
        return req.get_data(cache=False)

    def load_json(self, req: Request, schema: Schema) -> Any:  # noqa: ANN401, ARG002 (webargs's signature)
        """Return the body as Python data."""
        if req.mimetype != "application/json":
            raise UnsupportedMediaType("The body has to be application/json.")
        try:
            # bytes.decode() fails on what is not UTF-8, encode() on a lone surrogate (\ud800),
            # which JSON can contain but no database can store.
            body = self._body(req).decode()
            data = json.loads(body, parse_constant=_no_constant)
            json.dumps(data, ensure_ascii=False).encode()
        except (ValueError, RecursionError):
            raise BadRequest("The body is not valid JSON in UTF-8.") from None
        return data


class Blueprint(flask_smorest.Blueprint):
    """A part of the API."""

    ARGUMENTS_PARSER = Parser()

    def problems(self, *statuses: int) -> Callable[[Any], Any]:
        """Document the errors that a path can respond with, beside those of every path.

        By their names, in one step: a schema for each status would be copied again and again while
        the service starts.
        """
        every = {*statuses, 400, 414, 431, 500}
        document = self.doc(responses={status: http.HTTPStatus(status).name for status in every})

        def decorate(function: Any) -> Any:  # noqa: ANN401
            # What it documents, without its wrapper, which would cost something at every request.
            function._apidoc = document(function)._apidoc
            return function

        return decorate


class Api(flask_smorest.Api):
    """Collects the parts and describes them."""

    # Each path lists its errors, so there is no default.
    DEFAULT_ERROR_RESPONSE_NAME = None

    def _register_error_handlers(self) -> None:
        """Errors are registered by drydock.errors, for the whole service."""

    def _register_responses(self) -> None:
        """Name each error response, which flask-smorest refers to, as a problem document."""
        for status in http.HTTPStatus:
            response = {"description": status.phrase, "schema": Problem}
            prepare_response(response, self.spec, CONTENT_TYPE)
            self.spec.components.response(status.name, response, lazy=True)


def init_app(app: Flask, *, title: str, version: str) -> Api:
    """Set the API up; its parts are registered with what this returns."""
    app.config.update(
        API_TITLE=title,
        API_VERSION=version,
        OPENAPI_VERSION="3.1.0",
        OPENAPI_URL_PREFIX="/",
        OPENAPI_JSON_PATH="openapi.json",
    )
    api = Api(app)
    api.spec.components.security_scheme("bearer", {"type": "http", "scheme": "bearer"})
    return api
