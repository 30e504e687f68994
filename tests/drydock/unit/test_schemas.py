"""What marshmallow costs at a start, and that it does all the same what it is for."""

from __future__ import annotations

import subprocess
import sys

import pytest
from marshmallow import ValidationError, validate

START = """
import drydock.server.config, re
from drydock.schemas import Deferred, validate
compiled = lambda: "_compiled" in vars(validate.Email.DOMAIN_REGEX)
assert isinstance(validate.Email.DOMAIN_REGEX, Deferred) and not compiled()
assert isinstance(re.compile("a"), re.Pattern)
validate.Email()("jane@example.org")
assert compiled()
"""


def test_the_pattern_of_e_mail_addresses_is_compiled_when_it_is_used() -> None:
    subprocess.run([sys.executable, "-c", START], check=True)


@pytest.mark.parametrize(
    "address", ["jane@example.org", "jane@münchen.example", "jane@[127.0.0.1]"]
)
def test_e_mail_addresses_are_accepted(address: str) -> None:
    assert validate.Email()(address) == address


@pytest.mark.parametrize("address", ["jane", "jane@", "@example.org", "jane@example..org"])
def test_other_texts_are_rejected(address: str) -> None:
    with pytest.raises(ValidationError):
        validate.Email()(address)
