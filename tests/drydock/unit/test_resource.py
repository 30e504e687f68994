"""A resource of the API from end to end, by the probe's own: lists, bodies, the token."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from flask.testing import FlaskClient

    from applications import Build

TOKEN = {"Authorization": "Bearer t0ken"}


def add(client: FlaskClient, title: Any, **options: Any) -> Any:
    return client.post("/notes", json={"title": title}, headers=TOKEN, **options)


def test_there_are_none_at_first(client: FlaskClient) -> None:
    assert client.get("/notes").get_json() == {"notes": [], "page": 1, "page_size": 20, "total": 0}


@pytest.mark.database
def test_there_are_samples_in_development(build: Build) -> None:
    listed = build(app_env="development").test_client().get("/notes").get_json()
    assert listed["total"] > 0


@pytest.mark.parametrize("title", ["A", "A title", "東京, é", "x" * 200, "<b>'\"; DROP TABLE"])
def test_an_added_one_is_listed_and_read(client: FlaskClient, title: str) -> None:
    added = add(client, title)
    assert added.status_code == 201
    note = added.get_json()
    assert note["title"] == title
    assert added.headers["Location"] == f"/notes/{note['id']}"
    assert client.get(added.headers["Location"]).get_json() == note
    assert client.get("/notes").get_json()["notes"] == [note]


def test_a_deleted_one_is_gone_and_its_id_is_not_used_again(client: FlaskClient) -> None:
    where = add(client, "short-lived").headers["Location"]
    assert client.delete(where, headers=TOKEN).status_code == 204
    assert client.get(where).status_code == 404
    assert client.delete(where, headers=TOKEN).status_code == 404
    assert add(client, "next").headers["Location"] != where


def test_the_list_has_pages_in_a_stable_order(client: FlaskClient) -> None:
    for number in range(5):
        add(client, f"title {number}")
    seen = []
    for page in (1, 2, 3):
        response = client.get(f"/notes?page={page}&page_size=2").get_json()
        assert response["total"] == 5
        seen += [note["title"] for note in response["notes"]]
    assert seen == [f"title {number}" for number in range(5)]


@pytest.mark.parametrize(
    "query", ["page=0", "page=x", "page_size=0", "page_size=101", "page=1e9", "page=-1"]
)
def test_an_impossible_page_is_rejected(client: FlaskClient, query: str) -> None:
    response = client.get(f"/notes?{query}")
    assert response.status_code == 422
    assert query.partition("=")[0] in response.get_json(force=True)["errors"]["query"]


@pytest.mark.parametrize(
    "title",
    ["", " ", "x" * 201, "a\nb", "a\n", "\x00", " a", "a ", "a\x7f", "a\x85", None, 1, ["a"], {}],
)
def test_a_bad_title_is_rejected(client: FlaskClient, title: Any) -> None:
    response = add(client, title)
    assert response.status_code == 422
    assert response.get_json(force=True)["errors"]["json"]["title"]
    assert client.get("/notes").get_json()["total"] == 0


def test_a_title_that_exists_is_a_conflict(client: FlaskClient) -> None:
    add(client, "unique")
    assert add(client, "unique").status_code == 409
    assert client.get("/notes").get_json()["total"] == 1


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b'{"title": "x", "z": 1}', "application/json", 422),
        (b"{}", "application/json", 422),
        (b"[]", "application/json", 422),
        (b'"x"', "application/json", 422),
        (b"", "application/json", 400),
        (b"{", "application/json", 400),
        (b'{"title": NaN}', "application/json", 400),
        (b'{"title": "\\ud800"}', "application/json", 400),
        (b'{"title": "\xff"}', "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"title": ' + b"9" * 5000 + b"}", "application/json", 400),
        (b'{"title": "x"}', "text/plain", 415),
        (b"title=x", "application/x-www-form-urlencoded", 415),
        (b'{"title": "' + b"x" * 2**20 + b'"}', "application/json", 413),
    ],
)
def test_a_bad_body_is_rejected(
    client: FlaskClient, body: bytes, content_type: str, status: int
) -> None:
    response = client.post("/notes", data=body, content_type=content_type, headers=TOKEN)
    assert response.status_code == status
    assert response.content_type == "application/problem+json"


@pytest.mark.parametrize(("size", "status"), [(2**20, 201), (2**20 + 1, 413), (2**21, 413)])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_is_bounded_whether_or_not_its_length_is_given(
    client: FlaskClient, size: int, status: int, chunked: bool
) -> None:
    body = b'{"title": "x"}'.ljust(size)
    # As gunicorn hands a chunked body over: without a length, with an end.
    environ = {"wsgi.input_terminated": True, "CONTENT_LENGTH": None} if chunked else {}
    response = client.post(
        "/notes",
        input_stream=io.BytesIO(body),
        content_length=None if chunked else size,
        content_type="application/json",
        headers=TOKEN,
        environ_overrides=environ,
    )
    assert response.status_code == status


def test_a_truncated_body_is_rejected(client: FlaskClient) -> None:
    """gunicorn hands over what came, and says that its stream ends where the body does."""
    response = client.post(
        "/notes",
        input_stream=io.BytesIO(b'{"title": "x"}'),
        content_type="application/json",
        headers=TOKEN,
        environ_overrides={"wsgi.input_terminated": True, "CONTENT_LENGTH": "15"},
    )
    assert response.status_code == 400
    assert client.get("/notes").get_json()["total"] == 0


@pytest.mark.parametrize("token", ["abc=def", "a,b", 'a"b', "=", "~!@#$%^&*()"])
def test_any_token_that_the_settings_take_can_be_used(build: Build, token: str) -> None:
    client = build(api_token=token).test_client()
    for given, status in ((token, 201), (token + "x", 401)):
        headers = {"Authorization": f"Bearer {given}"}
        assert client.post("/notes", json={"title": "x"}, headers=headers).status_code == status


@pytest.mark.parametrize(
    "header",
    [
        None,
        "Bearer",
        "Bearer wrong",
        "Bearer t0ken2",
        "Bearer t0ke",
        "Basic dDBrZW46",
        "t0ken",
        "é",
    ],
)
def test_writing_needs_the_token(client: FlaskClient, header: str | None) -> None:
    headers = {"Authorization": header} if header else {}
    for response in (
        client.post("/notes", json={"title": "x"}, headers=headers),
        client.delete("/notes/1", headers=headers),
    ):
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"].lower().startswith("bearer")
        assert response.content_type == "application/problem+json"


@pytest.mark.parametrize(("environment", "status"), [("development", 201), ("production", 403)])
def test_without_a_token_writing_is_open_in_development_alone(
    build: Build, environment: str, status: int
) -> None:
    client = build(app_env=environment, api_token=None).test_client()
    assert client.post("/notes", json={"title": "x"}).status_code == status
