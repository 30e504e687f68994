"""The API's frame, of an application and a part of the test's own: no service is needed for it."""

from __future__ import annotations

import io
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask
from marshmallow import Schema, fields
from werkzeug.test import Client

from drydock import api, errors
from drydock.middleware import Observe

if TYPE_CHECKING:
    from werkzeug.test import TestResponse

LIMIT = 100  # bytes of a body


class Thing(Schema):
    """What a client sends."""

    name = fields.String(required=True)
    size = fields.Float()


@pytest.fixture
def app() -> Flask:
    """An application of one path, which adds things."""
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = LIMIT
    errors.init_app(app)
    documented = api.init_app(app, title="Things", version="1.2.3")
    blueprint = api.Blueprint("things", __name__, url_prefix="/things", description="All things")

    @blueprint.route("/<int:thing_id>", methods=["PUT"])
    @blueprint.problems(401, 409)
    @blueprint.doc(**api.SECURITY)
    @blueprint.arguments(Thing)
    @blueprint.response(200, Thing)
    def put(thing: dict[str, Any], thing_id: int) -> dict[str, Any]:
        assert thing_id == 1
        return thing

    documented.register_blueprint(blueprint)
    return app


def put(app: Flask, body: bytes, **options: Any) -> TestResponse:
    options = {"content_type": "application/json", "buffered": True, **options}
    return app.test_client().put("/things/1", input_stream=io.BytesIO(body), **options)


def described(app: Flask) -> dict[str, Any]:
    response = app.test_client().get("/openapi.json", buffered=True)
    assert response.content_type == "application/json"
    found: dict[str, Any] = response.get_json()
    return found


def test_the_description_says_what_it_describes(app: Flask) -> None:
    found = described(app)
    assert found["openapi"] == "3.1.0"
    assert found["info"] == {"title": "Things", "version": "1.2.3"}
    assert set(found["paths"]) == {"/things/{thing_id}"}


# Of the path itself; of any path: a target too long, fields too large, a bad request, a crash; of
# its arguments.
ERRORS = (401, 409, 400, 414, 431, 500, 422)


def test_a_path_documents_its_errors_and_those_of_any_path_by_their_names(app: Flask) -> None:
    responses = described(app)["paths"]["/things/{thing_id}"]["put"]["responses"]
    assert set(responses) == {"200", *map(str, ERRORS)}
    for status in ERRORS:
        name = HTTPStatus(status).name
        assert responses[str(status)] == {"$ref": f"#/components/responses/{name}"}


def test_the_description_holds_the_named_errors_that_it_refers_to_and_no_more(app: Flask) -> None:
    problem = {"schema": {"$ref": "#/components/schemas/Problem"}}
    assert described(app)["components"]["responses"] == {
        HTTPStatus(status).name: {
            "description": HTTPStatus(status).phrase,  # required by OpenAPI
            "content": {"application/problem+json": problem},
        }
        for status in ERRORS
    }


def test_the_description_says_how_a_writer_authenticates(app: Flask) -> None:
    found = described(app)
    (required,) = found["paths"]["/things/{thing_id}"]["put"]["security"]
    (name,) = required
    assert found["components"]["securitySchemes"] == {name: {"type": "http", "scheme": "bearer"}}


@pytest.mark.parametrize(
    ("rule", "template"),
    [
        ("/", "/"),
        ("/a/<b>", "/a/{b}"),
        ("/a/<int:b>/<path:c>", "/a/{b}/{c}"),
        ("/<string(length=2):lang>/x", "/{lang}/x"),
        ("/<any(a, 'b:c'):d>", "/{d}"),
    ],
)
def test_a_route_s_template_is_openapi_s(rule: str, template: str) -> None:
    assert api.route_template(rule) == template


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b" ", b"{", b'{"name": "x"} x', b"{'name': 'x'}", b'{"name": "x",}', b"\x00"),
        *(b'{"name": "x", "size": %s}' % size for size in (b"NaN", b"Infinity", b"-Infinity")),
        *(b'{"name": "\xff"}', b'{"name": "\\ud800"}', b'{"\\udfff": 1}', b'"\xed\xa0\x80"'),
        *(b"[" * LIMIT, '{"name": "x"}'.encode("utf-16"), b'\xef\xbb\xbf{"name": "x"}'),
    ],
)
def test_what_is_not_json_in_utf_8_is_a_bad_request(app: Flask, body: bytes) -> None:
    response = put(app, body)
    assert response.status_code == 400
    assert response.content_type == "application/problem+json"
    assert "JSON in UTF-8" in response.get_json(force=True)["detail"]


@pytest.mark.parametrize("body", [b"null", b"1", b'"x"', b"[]", b"{}", b'{"name": "x", "more": 1}'])
def test_what_is_json_but_not_what_is_asked_for_is_unprocessable(app: Flask, body: bytes) -> None:
    response = put(app, body)
    assert response.status_code == 422
    assert response.get_json(force=True)["errors"]


@pytest.mark.parametrize(
    "content_type",
    [
        *("", "text/json", "application/xml", "application/problem+json", "application/jsonx"),
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
    ],
)
def test_another_content_type_is_rejected(app: Flask, content_type: str) -> None:
    response = put(app, b'{"name": "x"}', content_type=content_type)
    assert response.status_code == 415
    assert "application/json" in response.get_json(force=True)["detail"]


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "APPLICATION/JSON"])
def test_json_by_another_spelling_of_its_type_is_taken(app: Flask, content_type: str) -> None:
    response = put(app, '{"name": "é"}'.encode(), content_type=content_type)
    assert (response.status_code, response.get_json()) == (200, {"name": "é"})


@pytest.mark.parametrize(("size", "status"), [(LIMIT, 200), (LIMIT + 1, 413), (LIMIT * 9, 413)])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_may_have_so_many_bytes_and_no_more(
    app: Flask, size: int, status: int, chunked: bool
) -> None:
    # As gunicorn hands a chunked body over: without a length, with an end.
    ended = {"wsgi.input_terminated": True, "CONTENT_LENGTH": None}
    how = {"environ_overrides": ended} if chunked else {"content_length": size}
    assert put(app, b'{"name": "x"}'.ljust(size), **how).status_code == status


@pytest.mark.parametrize(("announced", "status"), [(13, 200), (14, 400)])
@pytest.mark.parametrize("ended", [{"wsgi.input_terminated": True}, {}])
def test_a_body_that_was_cut_off_is_rejected(
    app: Flask, announced: int, status: int, ended: dict[str, bool]
) -> None:
    """gunicorn hands over what came, and says that its stream ends where the body does."""
    client = Client(Observe(app))
    response = client.put(
        "/things/1",
        input_stream=io.BytesIO(b'{"name": "x"}'),
        content_type="application/json",
        environ_overrides={"CONTENT_LENGTH": str(announced), **ended},
        buffered=True,
    )
    assert response.status_code == status
