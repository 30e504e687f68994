"""The service in the cluster that $CONTEXT names: `make kubernetes` sets it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

import clusters

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def where() -> clusters.Where:
    context = os.environ.get("CONTEXT")
    if not context:
        pytest.exit("name a cluster: CONTEXT=..., or `make kubernetes`", returncode=2)
    return clusters.find(context)


@pytest.fixture(scope="module")
def space(where: clusters.Where, probe: str) -> Iterator[clusters.Deployed]:
    """A namespace with secrets and a database, and nothing deployed yet."""
    with clusters.namespace(where, probe) as found:
        yield found


@pytest.fixture(scope="module")
def service(space: clusters.Deployed) -> clusters.Deployed:
    """The service, deployed, with two pods."""
    space.deploy(space.objects())
    space.settled()
    return space
