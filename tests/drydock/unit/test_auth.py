"""The rule of who may write, of a view of the test's own: no part of a service is needed for it."""

from __future__ import annotations

import contextlib
import hmac
import types
from typing import TYPE_CHECKING

import pytest
from prometheus_client import REGISTRY
from werkzeug.exceptions import Forbidden, Unauthorized

from drydock.auth import writer_only

if TYPE_CHECKING:
    from flask import Flask

    from applications import Build

TOKEN = "t0ken=/+é"  # as a header brings it: bytes beyond ASCII are read as Latin-1


def write(app: Flask, authorization: str | None = None) -> str:
    """Call a view that only a writer may call, in a request with this header."""

    @writer_only
    def view(number: int, *, name: str) -> str:
        return f"{name} {number}"

    headers = {} if authorization is None else {"Authorization": authorization}
    with app.test_request_context(method="POST", headers=headers):
        return str(view(1, name="written"))


@pytest.mark.parametrize(
    "authorization",
    [
        f"Bearer {TOKEN}",
        # RFC 9110, 11.1: the scheme is case-insensitive; RFC 6750 has one space, others send more.
        f"bearer {TOKEN}",
        f"BEARER {TOKEN}",
        f"Bearer   {TOKEN} ",
    ],
)
def test_the_token_lets_a_request_pass(build: Build, authorization: str) -> None:
    assert write(build(api_token=TOKEN), authorization) == "written 1"


@pytest.mark.parametrize(
    "authorization",
    [
        *(None, "", " ", "Bearer", "Bearer ", TOKEN, f" {TOKEN}", f"Basic {TOKEN}"),
        *(f"Bearer{TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN[1:]}"),
        *(f"Bearer {TOKEN.upper()}", f"Bearer {TOKEN} {TOKEN}", f"Bearer Bearer {TOKEN}"),
        f"Basic Bearer {TOKEN}",
        "Bearer \ud800",  # what no encoding can spell is another token, and no crash
    ],
)
@pytest.mark.parametrize("environment", ["development", "production"])
def test_any_other_request_is_told_to_authenticate(
    build: Build, environment: str, authorization: str | None
) -> None:
    app = build(api_token=TOKEN, app_env=environment)
    with pytest.raises(Unauthorized) as rejected:
        write(app, authorization)
    # RFC 9110, 11.6.1: a 401 has to say which scheme would do.
    assert rejected.value.get_response().headers["WWW-Authenticate"] == "Bearer"
    assert "bearer token" in str(rejected.value.description)


@pytest.mark.parametrize("authorization", [None, "Bearer ", "Bearer None", "Bearer x"])
def test_without_a_token_nobody_may_write_but_in_development(
    build: Build, authorization: str | None
) -> None:
    for environment in ("production", "staging"):
        with pytest.raises(Forbidden, match="API_TOKEN"):
            write(build(api_token=None, app_env=environment), authorization)
    assert write(build(api_token=None, app_env="development"), authorization) == "written 1"


def uses(place: int) -> float:
    labels = {"place": str(place)}
    return REGISTRY.get_sample_value("app_token_requests_total", labels) or 0.0


@pytest.mark.parametrize("between", ["\n", " ", "\r\n", "  \n\t"])
def test_two_tokens_are_accepted_while_one_replaces_the_other(build: Build, between: str) -> None:
    app = build(api_token=f"newer-{TOKEN}{between}older-{TOKEN}")
    before = uses(1), uses(2)
    assert write(app, f"Bearer older-{TOKEN}") == "written 1"
    assert write(app, f"Bearer older-{TOKEN}") == "written 1"
    assert write(app, f"Bearer newer-{TOKEN}") == "written 1"
    # Whether anybody still uses the old one.
    assert (uses(1), uses(2)) == (before[0] + 1, before[1] + 2)


@pytest.mark.parametrize(
    "token",
    [
        *(f"newer-{TOKEN} older-{TOKEN}", TOKEN, "", "-"),
        *(
            f"newer-{TOKEN}older-{TOKEN}",
            f"newer-{TOKEN[:-1]}",
            f"lder-{TOKEN}",
            "newer-",
            "older-",
        ),
    ],
)
def test_of_two_tokens_neither_both_nor_a_part_is_accepted(build: Build, token: str) -> None:
    app = build(api_token=f"newer-{TOKEN}\nolder-{TOKEN}")
    before = uses(1), uses(2)
    with pytest.raises(Unauthorized):
        write(app, f"Bearer {token}")
    assert (uses(1), uses(2)) == before


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_time_does_not_show_which_token_it_was(
    build: Build, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    """Each is compared, in constant time, whichever of them matched before."""
    compared: list[tuple[bytes, bytes]] = []

    def compare(first: bytes, second: bytes) -> bool:
        compared.append((first, second))
        return hmac.compare_digest(first, second)

    monkeypatch.setattr("drydock.auth.hmac", types.SimpleNamespace(compare_digest=compare))
    given = ("neither", "newer", "older")[place]
    with contextlib.suppress(Unauthorized):
        write(build(api_token="newer\nolder"), f"Bearer {given}")
    assert compared == [(given.encode(), b"newer"), (given.encode(), b"older")]


def test_a_view_keeps_its_name() -> None:
    """Flask names a path's endpoint after its view."""

    @writer_only
    def view() -> None:
        """What it does."""

    assert (view.__name__, view.__doc__) == ("view", "What it does.")
