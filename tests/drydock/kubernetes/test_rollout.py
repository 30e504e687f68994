"""Rollouts, ended pods and a drained node, under load: nothing is lost."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

import clusters
from chaos import harness
from containers import eventually, paused
from depth import rounds

if TYPE_CHECKING:
    from clusters import Deployed

KEPT, SINGLE = ("--keep-alive",), ()


@pytest.mark.parametrize("options", [KEPT, SINGLE], ids=["kept", "single"])
def test_a_rollout_loses_no_request(service: Deployed, options: tuple[str, ...]) -> None:
    """With kept connections, and with one for each request.

    But for those that the engine itself cuts off, where pods run on it: docs/kubernetes.md.
    """
    for number in rounds(5, 1):
        with clusters.cut_off(service) as events, service.load(*options) as load:
            service.restart()
            result = load.result(finish=True)
        cut = len(events)
        harness.report(f"rollout {number + 1} {options}: {result!r}, {cut} cut off by the engine")
        assert set(result.statuses) == {"200"}
        assert result.lost + result.truncated + result.timed_out <= (0 if options else cut), result
        assert result.refused == 0


def test_a_bad_image_never_takes_a_request(
    service: Deployed, capsys: pytest.CaptureFixture[str]
) -> None:
    """It starts, but is never ready: here since it does not find what it imports."""
    before = service.ready()
    with clusters.bad(service.image, 'CMD ["python3", "-c", "import no_such_module"]') as image:
        service.where.take(image)
        with service.load(*KEPT) as load:
            with pytest.raises(SystemExit):
                service.deploy(service.objects(image))
            result = load.result(finish=True)
        shown = capsys.readouterr()
        assert "the one before, which has served all along, was put back" in shown.err
        assert "No module named 'no_such_module'" in shown.out
        assert result.all_served(), result
        assert result.refused == 0
        service.settled()
        assert service.ready() == before


def test_a_pod_that_is_deleted_loses_no_request(service: Deployed) -> None:
    with service.load(*KEPT) as load:
        service.kubectl("delete", "pod", service.ready()[0], "--wait=false")
        service.settled()
        result = load.result(finish=True)
    assert result.all_served(), result
    assert result.refused == 0


def test_a_drained_node_keeps_a_pod_until_there_is_another(service: Deployed) -> None:
    """With one node there can't be another: the budget lets one pod go, and keeps the other."""
    (node,) = {pod["spec"]["nodeName"] for pod in service.pods()}
    # Of all that is on the node only the service: a cluster of kind has its own pods there.
    options = (f"--pod-selector={clusters.SELECTOR}", "--delete-emptydir-data")
    try:
        with service.load(*KEPT) as load:
            done = service.cluster.kubectl("drain", node, *options, "--timeout=25s")
            assert done.returncode != 0
            assert "disruption budget" in done.stderr
            assert len(service.ready()) == 1
            service.kubectl("uncordon", node)
            service.settled()
            result = load.result(finish=True)
    finally:
        service.kubectl("uncordon", node)
    assert result.all_served(), result
    assert result.refused == 0


@pytest.mark.database
def test_without_the_database_pods_are_not_ready_and_not_restarted(service: Deployed) -> None:
    """And they get requests again as soon as it is back."""
    pod = service.ready()[0]
    with paused(service.database):
        eventually(lambda: service.ready() == [], 60, "no pod is ready", every=1)
        time.sleep(35)  # longer than liveness needs to have a container restarted
        alive = "import urllib.request as r; print(r.urlopen('http://localhost:5000/livez').status)"
        assert service.python(pod, alive) == "200\n"
    service.settled()
    assert service.restarts() == 0
    assert pod in service.ready()
