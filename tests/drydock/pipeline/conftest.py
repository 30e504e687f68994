"""The steps of a pipeline: each verb of a release, with real registries, archives and tools."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import archives
from containers import docker, unique

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def name() -> Iterator[str]:
    """The name of an image that is removed after the test."""
    image = unique("image") + ":latest"
    yield image
    docker("image", "rm", "--force", image, check=False)


@pytest.fixture
def archive() -> Iterator[archives.Archive]:
    """A small archive of Debian packages, served."""
    with archives.served() as found:
        yield found


@pytest.fixture
def on_archive(archive: archives.Archive, tmp_path: Path) -> Iterator[Path]:
    """A copy of this checkout that builds from that archive."""
    with archives.checkout(archive, tmp_path) as found:
        yield found
