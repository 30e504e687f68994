"""A deployment into a cluster: migration, service, rights, and what is stopped on its way."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import urllib3

import apply
import clusters
import confinement
import manifests
import policies
from containers import eventually

if TYPE_CHECKING:
    from clusters import Deployed

# A call that the runtime's profile allows, but not the service's own.
PIPE = """
import os
try:
    os.mkfifo("/tmp/pipe")
    os.remove("/tmp/pipe")
    print("made")
except OSError as error:
    print(error.strerror)
"""


@pytest.mark.database
def test_without_its_secrets_nothing_is_replaced(
    space: Deployed, capsys: pytest.CaptureFixture[str]
) -> None:
    space.kubectl("delete", "secret", "migration")
    with pytest.raises(SystemExit):
        space.deploy(space.objects())
    assert "there is no secret migration with database-url; make it: kubectl" in (
        capsys.readouterr().err
    )
    assert space.get("deployments")["items"] == []
    url = space.get("secret", "app")["data"]["database-url"]
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "migration"}}
    space.kubectl("apply", "-f", "-", text=json.dumps(secret | {"data": {"database-url": url}}))


@pytest.mark.database
def test_the_migration_has_ended_before_the_service_is_there(service: Deployed) -> None:
    job = service.get("job", "migration")
    assert job["status"]["succeeded"] == 1
    first = min(
        pod["metadata"]["creationTimestamp"]
        for pod in service.get("pods", f"--selector={clusters.SELECTOR}")["items"]
    )
    assert job["status"]["completionTime"] <= first
    url = f"http://{service.where.host}:{service.port}/notes"
    assert urllib3.request("GET", url, timeout=10).json()["total"] == 0


def test_the_autoscaler_keeps_two_replicas(service: Deployed) -> None:
    """The Deployment names no number, so nothing but the autoscaler can have made two."""
    assert service.get("deployment", "app")["spec"]["replicas"] == 2
    assert service.get("hpa", "app")["spec"]["minReplicas"] == 2


def test_a_process_in_a_pod_can_do_little(service: Deployed) -> None:
    found = json.loads(service.python(service.ready()[0], confinement.STATUS))
    confinement.check(found)
    assert not found["token"]
    # The cluster's own address is in every pod.
    assert [name for name in found["environment"] if name.startswith("APP_SERVICE")] == []


@pytest.mark.database
def test_a_failed_migration_leaves_the_service_as_it_is(
    service: Deployed, capsys: pytest.CaptureFixture[str]
) -> None:
    before = service.get("deployment", "app")["metadata"]["generation"]
    objects = service.objects()
    (job,) = policies.of_kind(objects, "Job")
    job["spec"]["backoffLimit"] = 0
    job["spec"]["template"]["spec"]["containers"][0]["args"] = ["app", "no-such-command"]
    with pytest.raises(SystemExit):
        service.deploy(objects)
    shown = capsys.readouterr()
    assert "the migration failed" in shown.err
    assert "No such command" in shown.out
    assert service.get("deployment", "app")["metadata"]["generation"] == before
    assert len(service.ready()) == 2


def test_the_service_s_own_profile_is_put_on_the_node_and_used(service: Deployed) -> None:
    nodes = apply.Cluster(service.where.context, "node-profile")
    objects = manifests.with_image(manifests.render(manifests.NODES), service.image)
    (daemon,) = policies.of_kind(objects, "DaemonSet")
    daemon["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = "Never"
    assert service.python(service.ready()[0], PIPE) == "made\n"
    try:
        apply.deploy(nodes, objects)
        nodes.run("no profile", "rollout", "status", "daemonset/profile", "--timeout=60s")
        service.deploy(service.objects("", "localhost-seccomp"))
        service.settled()
        assert service.python(service.ready()[0], PIPE) == "Operation not permitted\n"
    finally:
        service.deploy(service.objects())
        nodes.kubectl("delete", "namespace", "node-profile", "--timeout=60s")
    eventually(lambda: len(service.ready()) == 2, 60, "two pods again")
