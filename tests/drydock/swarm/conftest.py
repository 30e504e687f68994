"""The service in a swarm of three nodes, which are made here and are gone in the end."""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING

import pytest

import swarms
from containers import docker, unique

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def swarm() -> Iterator[swarms.Swarm]:
    """The nodes, with nothing deployed yet."""
    with swarms.swarm() as found:
        yield found


@pytest.fixture(scope="session")
def variant(swarm: swarms.Swarm, probe: str) -> Iterator[Callable[[str], str]]:
    """Makes and pushes images with slow endpoints, each with some lines of a Dockerfile."""
    with contextlib.ExitStack() as stack:

        def make(lines: str) -> str:
            name = f"{unique('variant')}:latest"
            text = f"FROM {probe}\nCOPY application.py /app/chaos.py\n"
            text += f'CMD ["gunicorn", "chaos:application"]\n{lines}\n'
            command = ["docker", "build", "--quiet", "--provenance=false", "--tag", name]
            stack.callback(docker, "image", "rm", "--force", name, check=False)
            subprocess.run(
                [*command, "--file=-", str(swarms.CHAOS)],
                input=text,
                text=True,
                check=True,
                capture_output=True,
            )
            return swarm.push(name)

        yield make


@pytest.fixture(scope="session")
def first(variant: Callable[[str], str]) -> str:
    """The version that is deployed first."""
    return variant("LABEL version=1")


@pytest.fixture(scope="session")
def service(swarm: swarms.Swarm, first: str) -> swarms.Swarm:
    """The stack, deployed, with three tasks."""
    for name, value in (
        ("db_password", swarms.PASSWORD),
        ("db_owner_password", swarms.PASSWORD),
        ("api_token", swarms.TOKEN),
    ):
        swarm.make_secret(name, value)
    done = swarm.deploy(f"IMAGE={first}")
    assert done.returncode == 0, done.stdout + done.stderr
    return swarm
