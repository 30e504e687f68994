from __future__ import annotations

import datetime
import platform
from typing import TYPE_CHECKING

import pytest

from app import create_app
from app.settings import Settings

if TYPE_CHECKING:
    from flask.testing import FlaskClient


def test_index_greets_and_lists_the_paths(client: FlaskClient) -> None:
    answer = client.get("/").get_json()
    assert answer["message"] == "Hello from Docker!"
    assert {"/", "/GetMyInfo", "/health", "/hello/<name>"} <= set(answer["paths"])


@pytest.mark.parametrize("name", ["jvictor", "José 東京", "a<b>&'\"", "x" * 1000])
def test_hello_greets_any_name(client: FlaskClient, name: str) -> None:
    answer = client.get(f"/hello/{name}")
    assert answer.get_json() == {"message": f"Hello, {name}!", "environment": "staging"}


def test_info_describes_the_service(client: FlaskClient) -> None:
    before = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=1)
    answer = client.get("/GetMyInfo").get_json()
    assert before < datetime.datetime.fromisoformat(answer.pop("started_at"))
    assert answer.pop("name")
    assert answer.pop("version")
    assert answer == {
        "environment": "staging",
        "python_version": platform.python_version(),
        "revision": "abc123",
    }


def test_health_names_the_environment(client: FlaskClient) -> None:
    assert client.get("/health").get_json() == {"status": "healthy", "environment": "staging"}


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_probes_answer(client: FlaskClient, path: str) -> None:
    assert client.get(path).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nope", 404), ("GET", "/hello/", 404), ("POST", "/health", 405)],
)
def test_errors_are_problem_documents(
    client: FlaskClient, method: str, path: str, status: int
) -> None:
    answer = client.open(path, method=method)
    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"
    document = answer.get_json(force=True)
    assert document["status"] == status
    assert document["title"]


def test_a_refused_method_names_the_allowed_ones(client: FlaskClient) -> None:
    assert "GET" in client.post("/health").headers["Allow"]


def test_a_crash_tells_the_client_nothing_of_the_inside() -> None:
    app = create_app(Settings())

    @app.get("/crash")
    def crash() -> str:
        raise RuntimeError("the inside")

    answer = app.test_client().get("/crash")
    assert answer.status_code == 500
    assert answer.content_type == "application/problem+json"
    assert "the inside" not in answer.get_data(as_text=True)
