"""marshmallow, without the most expensive part of its import: a pattern that few services use.

It compiles the pattern of its Email validator when it is imported: a seventh of what the processor
does for a start. Here that waits until the pattern is used. The modules of the settings, the first
to need marshmallow, take it from here.
"""

from __future__ import annotations

import functools
import re
from typing import Any

_compile = re.compile


class Deferred:
    """A pattern that is compiled when it is first used, with the one method that marshmallow uses.

    No __getattr__: ABCMeta asks each attribute of a class whether it is abstract.
    """

    def __init__(self, pattern: str, flags: int) -> None:
        """Keep what re.compile() takes."""
        self._arguments = pattern, flags

    @functools.cached_property
    def _compiled(self) -> re.Pattern[str]:
        return re.compile(*self._arguments)

    def match(self, text: str) -> re.Match[str] | None:
        """Match the beginning of `text`."""
        return self._compiled.match(text)


def _deferring(pattern: Any, flags: int = 0) -> Any:  # noqa: ANN401 (as re.compile itself)
    # re tries each character of a range where case is ignored, here all 65,000.
    costly = isinstance(pattern, str) and "\uffff" in pattern and flags & re.IGNORECASE
    return Deferred(pattern, flags) if costly else _compile(pattern, flags)


re.compile = _deferring
try:
    from marshmallow import Schema, ValidationError, fields, validate
finally:
    re.compile = _compile

__all__ = ["Deferred", "Schema", "ValidationError", "fields", "validate"]
