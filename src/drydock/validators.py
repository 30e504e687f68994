"""Checks of a value that settings and requests share."""

from __future__ import annotations

import re

from drydock.schemas import ValidationError, validate


class Printable(validate.Validator):
    """A visible character first and last, and no control character in between."""

    # The API's description shows it. JavaScript's `$` means the end of the text, Python's also the
    # place before a last line end, so it is matched in full here.
    regex = re.compile(r"^[^\x00-\x20\x7f-\xa0]([^\x00-\x1f\x7f-\x9f]*[^\x00-\x20\x7f-\xa0])?$")

    def __call__(self, value: str) -> str:
        """Check the value.

        Raises:
            ValidationError: if it is anything else.

        """
        if self.regex.fullmatch(value) is None:
            raise ValidationError("Control characters, or spaces at an end, are not allowed.")
        return value
