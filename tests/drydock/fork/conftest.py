"""One fork for all tests, in a temporary folder: adopted, then extended by the how-to alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import howto
from checkouts import copy
from containers import docker, unique
from forks import Fork

if TYPE_CHECKING:
    from collections.abc import Iterator

EXTEND = "docs/extend.md"


@pytest.fixture(scope="session")
def adopted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fork]:
    """As it is on its first day: without the sample, and nothing of its own yet."""
    fork = Fork(copy(tmp_path_factory.mktemp("fork") / "checkout"), unique("fork") + ":latest")
    fork.begin()
    fork.verb("adopt", "NAME=notes-service", "SAMPLE=remove", "OWNERS=@acme/notes", "HOLDER=Acme")
    fork.commit("Adopt it")
    yield fork
    for target in ("", "-test", "-dev", "-debug"):
        docker("image", "rm", "--force", fork.image + target, check=False)


@pytest.fixture(scope="session")
def fork(adopted: Fork) -> Fork:
    """With all that the how-to adds to it, and its image."""
    adopted.follow(EXTEND, howto.sections(EXTEND)[-1])
    adopted.commit("Add notes")
    adopted.verb("image")
    return adopted
