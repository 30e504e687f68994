"""The settings of the service: the template's, and its own."""

from __future__ import annotations

import dataclasses

import drydock
from drydock.settings import one_of, setting, text

KINDS = ("read", "write", "loud", "more", "slow", "fail", "exit", "stubborn", "outside", "fork")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(drydock.Settings):
    """The settings; each is the environment variable of the same name in capitals."""

    greeting: str = setting(
        "Hello from Docker!",
        text(200),
        "up to 200 characters, none of them a control character",
        "What `/` says.",
    )
    step: str = setting(
        "read",
        one_of(*KINDS),
        " or ".join(KINDS),
        "What a step of the background process does.",
    )
