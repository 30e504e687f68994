"""What the tests of the image and of the stack share: `--image NAME`, for any image of a fork."""

from __future__ import annotations

import fcntl
import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import containers
import database
from containers import docker
from depth import FULL, QUICK
from processes import heed_interrupts

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

heed_interrupts()


def pytest_addoption(parser: pytest.Parser) -> None:
    default = os.environ.get("IMAGE")
    parser.addoption("--image", default=default, help="the image to prove (default: $IMAGE)")


def has_workers(config: pytest.Config) -> bool:
    """Whether this process runs no tests, but has workers that do."""
    return bool(getattr(config.option, "numprocesses", None))


def pytest_configure(config: pytest.Config) -> None:
    """Give the run an id that is known here as well as to its workers."""
    if has_workers(config):
        config.option.testrunuid = config.option.testrunuid or uuid.uuid4().hex


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is `long`, but at length, or `slow`, in `make test`; put what is `alone` last.

    That is where workers run files side by side, and its file comes late.

    Else a worker would wait with such a test until the others have run out of files. A file that is
    marked `early` comes first: it takes long, and nobody else has anything to do in the end.
    """
    database.leave_out(config, items)
    unwanted = [mark for mark, leave_out in (("long", not FULL), ("slow", QUICK)) if leave_out]
    if left_out := [item for item in items if any(map(item.get_closest_marker, unwanted))]:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    if hasattr(config, "workerinput"):
        alone = {item for item in items if item.get_closest_marker("alone")}
        late = {item.path for item in alone}
        early = {item.path for item in items if item.get_closest_marker("early")}
        items.sort(key=lambda item: (item.path in late, item.path not in early, item in alone))


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    return database.ignored(collection_path)


def pytest_report_header() -> str | None:
    return None if database.HAS_DATABASE else database.NOTE


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run a test that is marked `alone` while no other runs: in this checkout, in any process.

    Its fixtures are set up and torn down under the same lock. Such a test must not start pytest
    here: that would wait for it for ever.
    """
    folder = os.open(Path(__file__).parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH)
        return (yield)
    finally:
        os.close(folder)


@pytest.hookimpl(wrapper=True, trylast=True)  # after the workers' end, before the summary
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, Any, Any]:
    """Remove what interrupted or killed workers have left."""
    try:
        return (yield)
    finally:
        if has_workers(session.config):
            left = containers.sweep(session.config.option.testrunuid)
            if left:
                print("\nremoved what tests had left:", *left)


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
