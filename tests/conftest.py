"""What the tests of the image and of the stack share: `--image NAME`, for any image of a fork."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

import containers
from containers import docker
from processes import heed_interrupts

if TYPE_CHECKING:
    from collections.abc import Iterator

heed_interrupts()


def pytest_addoption(parser: pytest.Parser) -> None:
    default = os.environ.get("IMAGE")
    parser.addoption("--image", default=default, help="the image to prove (default: $IMAGE)")


@pytest.fixture(scope="session")
def named_image(request: pytest.FixtureRequest) -> str:
    """The image that --image names."""
    name: str | None = request.config.getoption("--image")
    if not name:
        pytest.exit("name an image: pytest tests/drydock/image --image NAME", returncode=2)
    if ":" not in name.rpartition("/")[2]:
        name += ":latest"  # without a tag, `docker save` takes all the tags there are
    if docker("image", "inspect", name, check=False).returncode != 0:
        pytest.exit(f"there is no image {name} here; `make image` builds one", returncode=2)
    return name


@pytest.fixture(scope="session")
def probe(named_image: str) -> Iterator[str]:
    """The same with the service of tests/drydock/probe in place of the fork's."""
    with containers.probe(named_image) as name:
        yield name


@pytest.fixture(scope="session")
def image(named_image: str) -> str:
    """The image that a test is about; some modules put the probe's in its place."""
    return named_image
