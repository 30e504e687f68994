from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from flask.testing import FlaskClient

    from applications import Build

TOKEN = {"Authorization": "Bearer t0ken"}


def add(client: FlaskClient, title: Any, **options: Any) -> Any:
    return client.post("/blogs", json={"title": title}, headers=TOKEN, **options)


def test_there_are_none_at_first(client: FlaskClient) -> None:
    assert client.get("/blogs").get_json() == {"blogs": [], "page": 1, "page_size": 20, "total": 0}


def test_there_are_samples_in_development(build: Build) -> None:
    listed = build(app_env="development").test_client().get("/blogs").get_json()
    assert listed["total"] > 0


@pytest.mark.parametrize("title", ["A", "A title", "東京, é", "x" * 200, "<b>'\"; DROP TABLE"])
def test_an_added_one_is_listed_and_read(client: FlaskClient, title: str) -> None:
    added = add(client, title)
    assert added.status_code == 201
    blog = added.get_json()
    assert blog["title"] == title
    assert added.headers["Location"] == f"/blogs/{blog['id']}"
    assert client.get(added.headers["Location"]).get_json() == blog
    assert client.get("/blogs").get_json()["blogs"] == [blog]


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
        response = client.get(f"/blogs?page={page}&page_size=2").get_json()
        assert response["total"] == 5
        seen += [blog["title"] for blog in response["blogs"]]
    assert seen == [f"title {number}" for number in range(5)]


@pytest.mark.parametrize(
    "query", ["page=0", "page=x", "page_size=0", "page_size=101", "page=1e9", "page=-1"]
)
def test_an_impossible_page_is_rejected(client: FlaskClient, query: str) -> None:
    response = client.get(f"/blogs?{query}")
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
    assert client.get("/blogs").get_json()["total"] == 0


def test_a_title_that_exists_is_a_conflict(client: FlaskClient) -> None:
    add(client, "unique")
    assert add(client, "unique").status_code == 409
    assert client.get("/blogs").get_json()["total"] == 1


def test_writing_needs_the_token(client: FlaskClient) -> None:
    assert client.post("/blogs", json={"title": "x"}).status_code == 401
    assert client.delete("/blogs/1").status_code == 401
