"""Who may write: the clients that have the token."""

from __future__ import annotations

import functools
import hmac
from typing import TYPE_CHECKING, Any

from flask import request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Forbidden, Unauthorized

from drydock import metrics
from drydock.context import current

if TYPE_CHECKING:
    from collections.abc import Callable


def writer_only(view: Callable[..., Any]) -> Callable[..., Any]:
    """Let a request pass that has the bearer token (RFC 6750), before anything of it is read."""

    @functools.wraps(view)
    def guarded(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401
        require_writer()
        return view(*arguments, **named)

    return guarded


def require_writer() -> None:
    """Reject a request that may not write. A function of its own, which `make mutants` can change.

    Raises:
        Forbidden: if no token is set, outside of development.
        Unauthorized: if the request does not have the token.

    """
    settings = current().settings
    tokens = settings.api_tokens
    if not tokens:
        if not settings.development:
            raise Forbidden("Writing is off: no API_TOKEN is set.")
        return
    # Not by werkzeug's parser, which reads a token with "=" in it as parameters.
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    encoded = given.strip().encode(errors="replace")
    # Each in constant time, and always all of them: the time shows neither how much of a guess was
    # right nor of which token.
    valid = [hmac.compare_digest(encoded, token.encode()) for token in tokens]
    if scheme.lower() != "bearer" or not any(valid):
        challenge = WWWAuthenticate("bearer")
        raise Unauthorized("A valid bearer token is needed.", www_authenticate=challenge)
    metrics.writers.labels(str(valid.index(True) + 1)).inc()
