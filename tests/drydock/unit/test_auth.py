"""The rule of who may write, of a view of the test's own: no part of a service is needed for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from werkzeug.exceptions import Forbidden, Unauthorized

from drydock.auth import writer_only

if TYPE_CHECKING:
    from flask import Flask

    from applications import Build

TOKEN = "t0ken=/+ é"  # as a header brings it: bytes beyond ASCII are read as Latin-1


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


def test_a_view_keeps_its_name() -> None:
    """Flask names a path's endpoint after its view."""

    @writer_only
    def view() -> None:
        """What it does."""

    assert (view.__name__, view.__doc__) == ("view", "What it does.")
