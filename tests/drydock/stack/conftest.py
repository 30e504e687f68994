"""One stack for the tests that leave it as it was: `make up` in a copy of this checkout.

Each process has its own, as a project of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from containers import free_port, inspect, unique
from stacks import Stack, add_services, copy, remove

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Note which tests failed, for the fixture `stack`."""
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


@pytest.fixture(scope="session")
def shared_stack(probe: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    checkout = copy(tmp_path_factory.mktemp("stack") / "checkout")
    add_services(checkout)
    found = Stack(
        checkout,
        {
            "COMPOSE_PROJECT_NAME": unique("stack"),
            "PORT": str(free_port()),
            # The very image that is to be proved, and not one built of a copy.
            "IMAGE": probe,
            "IMAGE_AS_IS": "1",
            # All that a fork may have switched off, too.
            "COMPOSE_PROFILES": "*",
            # These tests' load all comes from one address.
            "GATEWAY_RATE": "100000",
            "GATEWAY_BURST": "1000",
        },
    )
    built = inspect(probe)["Id"]
    try:
        up = found.make("up")
        assert up.returncode == 0, up.stderr
        assert f"The page is at http://localhost:{found.variables['PORT']}/" in up.stdout
        assert "200 {" in up.stdout
        yield found
        assert inspect(probe)["Id"] == built
    finally:
        remove(found.project)
        remove(f"{found.project}-dev")


@pytest.fixture
def stack(shared_stack: Stack, request: pytest.FixtureRequest) -> Iterator[Stack]:
    """The stack that tests share; what a failed one broke is repaired before the next."""
    yield shared_stack
    if request.node.stash.get(FAILED, False):
        (shared_stack.checkout / ".env").unlink(missing_ok=True)
        shared_stack.make("down")
        up = shared_stack.make("up")
        assert up.returncode == 0, up.stderr


@pytest.fixture
def three(stack: Stack) -> Iterator[Stack]:
    """The same with three replicas of the service; in the end with one again."""
    stack.scale(3)
    yield stack
    stack.scale(1)


@pytest.fixture
def small(tmp_path: Path, image: str) -> Iterator[Stack]:
    """Another stack, not started, for what the shared one would not survive."""
    variables = {"COMPOSE_PROJECT_NAME": unique("stack"), "PORT": str(free_port()), "IMAGE": image}
    variables["IMAGE_AS_IS"] = "1"
    found = Stack(copy(tmp_path / "checkout"), variables)
    yield found
    remove(found.project)


@pytest.fixture
def page_address(stack: Stack) -> str:
    """Where the page is; there is a note for it to show."""
    if not stack.titles():
        stack.add("The first")
    return stack.address


@pytest.fixture
def show(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print a figure that was measured, also where the test passes."""

    def print_it(text: str) -> None:
        with capsys.disabled():
            print(f"\n    {text}")

    return print_it
