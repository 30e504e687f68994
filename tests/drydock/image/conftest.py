"""The contract of the image: `pytest tests/drydock/image --image NAME`, for any image of a fork."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import rootfs
from containers import HARDENED, Container, docker, inspect, network, postgres, started, unique

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from rootfs import Root


@pytest.fixture(scope="session")
def config(image: str) -> dict[str, Any]:
    """The image's configuration, as `docker inspect` shows it."""
    found: dict[str, Any] = inspect(image)["Config"]
    return found


@pytest.fixture(scope="session")
def root(image: str) -> Iterator[Root]:
    with rootfs.exported(image) as found:
        yield found


@pytest.fixture(scope="session")
def service(image: str) -> Iterator[Container]:
    """One healthy container, run as production runs it; for tests that leave it as it was."""
    with started(image, *HARDENED) as container:
        yield container.wait_until_healthy()


@pytest.fixture
def run(image: str, request: pytest.FixtureRequest) -> Callable[..., Container]:
    """Start a container of the test's own, hardened, with further options.

    Modules whose tests ask for more than any service has put the probe's image in place of `image`.
    """

    def start(*options: str, command: tuple[str, ...] = ()) -> Container:
        manager = started(image, *HARDENED, *options, command=command)
        container = manager.__enter__()
        request.addfinalizer(lambda: manager.__exit__(None, None, None))
        return container

    return start


@pytest.fixture
def net() -> Iterator[str]:
    with network() as name:
        yield name


@pytest.fixture
def database(net: str) -> Iterator[tuple[str, str]]:
    """A PostgreSQL server with an empty database: its container's name and its address."""
    with postgres(net) as server:
        yield server


@pytest.fixture
def name() -> Iterator[str]:
    """The name of an image that is removed after the test."""
    image = unique("image") + ":latest"
    yield image
    docker("image", "rm", "--force", image, check=False)
