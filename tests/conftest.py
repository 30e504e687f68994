"""What the tests of the image and of the stack share: `--image NAME`, for any image of a fork."""

from __future__ import annotations

import os

import pytest

from containers import docker
from processes import heed_interrupts

heed_interrupts()


def pytest_addoption(parser: pytest.Parser) -> None:
    default = os.environ.get("IMAGE")
    parser.addoption("--image", default=default, help="the image to prove (default: $IMAGE)")


@pytest.fixture(scope="session")
def image(request: pytest.FixtureRequest) -> str:
    name: str | None = request.config.getoption("--image")
    if not name:
        pytest.exit("name an image: pytest tests/image --image NAME", returncode=2)
    if ":" not in name.rpartition("/")[2]:
        name += ":latest"  # without a tag, `docker save` takes all the tags there are
    if docker("image", "inspect", name, check=False).returncode != 0:
        pytest.exit(f"there is no image {name} here; `make image` builds one", returncode=2)
    return name
