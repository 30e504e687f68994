"""The settings of the service: the template's, and its own."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from drydock.kinds import Folder
from drydock.settings import BaseSettings, one_of, setting, text

from . import HAS_DATABASE

if TYPE_CHECKING or HAS_DATABASE:
    from drydock.settings import Settings as Template
else:

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Template(BaseSettings):
        """Where the notes are, as in an embedded database."""

        data_dir: Path = setting(Path("data"), Folder(), "a directory's path", "For the notes.")


KINDS = ("read", "write", "loud", "more", "slow", "fail", "exit", "stubborn", "outside", "fork")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(Template):
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
