"""Who may write: the clients that have the token."""

from __future__ import annotations

import functools
import hmac
from typing import TYPE_CHECKING, Any

from flask import request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Forbidden, Unauthorized

from drydock.context import current

if TYPE_CHECKING:
    from collections.abc import Callable


def writer_only(view: Callable[..., Any]) -> Callable[..., Any]:
    """Let a request pass that has the bearer token (RFC 6750), before anything of it is read."""

    @functools.wraps(view)
    def guarded(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401
        settings = current().settings
        if settings.api_token is None:
            if not settings.development:
                raise Forbidden("Writing is off: no API_TOKEN is set.")
            return view(*arguments, **named)
        # Not by werkzeug's parser, which reads a token with "=" in it as parameters.
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        # In constant time, so that the time does not show how much of a guess was right.
        if scheme.lower() != "bearer" or not hmac.compare_digest(
            token.strip().encode(errors="replace"), settings.api_token.encode()
        ):
            raise Unauthorized(
                "A valid bearer token is needed.", www_authenticate=WWWAuthenticate("bearer")
            )
        return view(*arguments, **named)

    return guarded
