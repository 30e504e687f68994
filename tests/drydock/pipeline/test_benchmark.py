"""`make bench` times nobody whose answers differ: real containers, by the benchmark's own code."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

import shapes
from answers import Request
from comparisons import Comparison, measure
from containers import docker, unique
from servers import Images
from wrk import Load

if TYPE_CHECKING:
    from collections.abc import Iterator

LOADS = (Load("greeting"), Load("slow", Request("/bench/slow")))
OTHER_BYTES = dataclasses.replace(
    shapes.ON, title="impostor", variables=shapes.ON.variables | {"APP_ENV": "staging"}
)
NO_SUCH_PATH = dataclasses.replace(shapes.ON, title="impostor", command=("gunicorn",))


@pytest.fixture
def images(probe: str) -> Iterator[Images]:
    volume = unique("bench")
    yield Images(probe, probe, probe, volume)
    docker("volume", "rm", "--force", volume)


@pytest.mark.parametrize(
    ("impostor", "what"),
    [
        (OTHER_BYTES, 'GET /hello/bench: the body is b\'{"environment":"staging"'),
        (NO_SUCH_PATH, "GET /bench/slow: the status is 404, but 200"),
    ],
    ids=["other bytes", "no such path"],
)
def test_a_peer_whose_answers_differ_is_rejected_before_anything_is_timed(
    images: Images, impostor: shapes.Shape, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        measure(images, Comparison((shapes.ON, impostor), LOADS), rounds=1)
    said = capsys.readouterr().err
    assert f"error: impostor: {what}" in said
    assert "round 1" not in said
    assert not docker("ps", "--all", "--quiet", "--filter", f"volume={images.volume}").stdout
