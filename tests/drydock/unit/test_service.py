"""The service's frame: paths, header fields, probes, errors, the API's description."""

from __future__ import annotations

import datetime
import platform
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from flask import Response
    from flask.testing import FlaskClient

    from applications import Build


def test_index_greets_and_lists_the_paths(client: FlaskClient) -> None:
    response = client.get("/").get_json()
    assert response["message"] == "Hello from Docker!"
    assert {"/", "/about", "/health", "/hello/{name}", "/notes/{note_id}"} <= set(response["paths"])


def test_the_greeting_is_a_setting(build: Build) -> None:
    assert build(greeting="Good day").test_client().get("/").get_json()["message"] == "Good day"


@pytest.mark.parametrize("name", ["jvictor", "José 東京", "a<b>&'\"", "x" * 1000])
def test_hello_greets_any_name(client: FlaskClient, name: str) -> None:
    response = client.get(f"/hello/{name}")
    assert response.get_json() == {"message": f"Hello, {name}!", "environment": "staging"}


def test_info_describes_the_service(client: FlaskClient) -> None:
    before = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=1)
    response = client.get("/about").get_json()
    assert before < datetime.datetime.fromisoformat(response.pop("started_at"))
    assert response.pop("name")
    assert response.pop("version")
    assert response == {
        "environment": "staging",
        "python_version": platform.python_version(),
        "revision": None,
    }


def test_the_revision_is_shown_only_where_a_setting_lets_it(build: Build) -> None:
    client = build(show_revision=True).test_client()
    assert client.get("/about").get_json()["revision"] == "abc123"


FIELDS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        *(("GET", "/", 200), ("HEAD", "/", 200), ("OPTIONS", "/", 200), ("GET", "/notes", 200)),
        *(("GET", "/nope", 404), ("POST", "/health", 405), ("POST", "/notes", 401)),
        *(("GET", "/notes?page=x", 422), ("GET", "/crash", 500), ("GET", "/folder", 308)),
        *(("GET", "/livez", 200), ("GET", "/readyz", 200), ("GET", "/openapi.json", 200)),
    ],
)
def test_each_response_is_as_an_api_s_should_be(
    build: Build, method: str, path: str, status: int
) -> None:
    app = build()
    app.add_url_rule("/crash", "crash", lambda: str(1 / 0))
    app.add_url_rule("/folder/", "folder", lambda: "here")
    response = app.test_client().open(path, method=method)
    assert response.status_code == status
    for name, value in FIELDS.items():
        assert response.headers.getlist(name) == [value]


def test_what_a_view_sets_itself_stays(build: Build) -> None:
    app = build()
    own = {"cache-control": "max-age=60", "Content-Security-Policy": "default-src 'self'"}
    app.add_url_rule("/own", "own", lambda: ("<p>a page", own))
    response = app.test_client().get("/own")
    assert response.headers.getlist("Cache-Control") == ["max-age=60"]
    assert response.headers.getlist("Content-Security-Policy") == ["default-src 'self'"]
    assert response.headers.getlist("X-Content-Type-Options") == ["nosniff"]


def test_what_a_fork_adds_after_each_request_stays(build: Build) -> None:
    app = build()

    @app.after_request
    def add(response: Response) -> Response:
        response.headers["Cache-Control"] = "no-cache"
        return response

    assert app.test_client().get("/").headers.getlist("Cache-Control") == ["no-cache"]


def test_slashes_at_the_beginning_are_not_merged(client: FlaskClient) -> None:
    """As gunicorn hands it over; from an address like this the test client would take the host."""
    response = client.get("/", environ_overrides={"PATH_INFO": "//hello/x"})
    assert response.status_code == 404


def test_health_names_the_environment(client: FlaskClient) -> None:
    assert client.get("/health").get_json() == {"status": "healthy", "environment": "staging"}


def test_liveness_responds(client: FlaskClient) -> None:
    assert client.get("/livez").get_json() == {"status": "ok"}


@pytest.mark.database
def test_readiness_has_asked_the_database(client: FlaskClient) -> None:
    assert client.get("/readyz").get_json() == {"status": "ok", "checks": {"database": "ok"}}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nope", 404),
        ("GET", "/hello/", 404),
        ("GET", "//hello/x", 404),
        ("GET", "/notes/0", 404),
        ("GET", "/notes/99999999999999999999", 404),
        ("POST", "/health", 405),
    ],
)
def test_errors_are_problem_documents(
    client: FlaskClient, method: str, path: str, status: int
) -> None:
    response = client.open(path, method=method)
    assert response.status_code == status
    assert response.content_type == "application/problem+json"
    document = response.get_json(force=True)
    assert document["type"] == "about:blank"
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    assert document["request_id"] == response.headers["X-Request-ID"]


def test_a_rejected_method_names_the_allowed_ones(client: FlaskClient) -> None:
    assert "GET" in client.post("/health").headers["Allow"]


def test_a_crash_shows_the_client_nothing_and_the_log_everything(
    build: Build, capfd: pytest.CaptureFixture[str]
) -> None:
    app = build()

    @app.get("/crash")
    def crash() -> str:
        raise RuntimeError("the inside")

    response = app.test_client().get("/crash", headers={"X-Request-ID": "look-for-me"})
    assert response.status_code == 500
    assert response.content_type == "application/problem+json"
    assert "inside" not in response.get_data(as_text=True)
    logged = capfd.readouterr().out
    assert "the inside" in logged
    assert "Traceback" in logged
    assert "look-for-me" in logged


def test_a_redirect_stays_one(build: Build) -> None:
    app = build()

    @app.get("/folder/")
    def folder() -> str:
        return "here"

    response = app.test_client().get("/folder")
    assert response.status_code == 308
    assert response.content_type.startswith("text/html")


def test_the_description_documents_each_path_and_its_errors(client: FlaskClient) -> None:
    described = client.get("/openapi.json").get_json()
    paths = set(client.get("/").get_json()["paths"]) - {"/openapi.json"}
    assert paths == set(described["paths"])
    for path in described["paths"].values():
        for method, operation in path.items():
            if method == "parameters":
                continue
            assert "default" not in operation["responses"]
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    response = described["components"]["responses"].get(
                        response.get("$ref", "").rpartition("/")[2], response
                    )
                    assert set(response["content"]) == {"application/problem+json"}
