"""A deployment into a real swarm: what is checked, migrated, replaced, put back, and survives."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest
import urllib3

import confinement
import swarms
from chaos import harness
from containers import docker, eventually
from depth import rounds

if TYPE_CHECKING:
    from collections.abc import Callable

    from swarms import Swarm

KEPT, SINGLE = ("--keep-alive",), ()


def served(load: harness.Load) -> harness.Result:
    """What a load has counted, every request of which was served."""
    result = load.result(finish=True)
    harness.report(f"{result!r}, the slowest after {max(result.seconds):.1f} s")
    assert result.all_served(), result
    assert result.refused == 0
    return result


def on_all_nodes(swarm: Swarm, path: str) -> list[urllib3.BaseHTTPResponse]:
    """What the gateway of each node responds."""
    urls = [f"http://{node.address}:8080{path}" for node in swarm.nodes]
    return [urllib3.request("GET", url, timeout=10, retries=False) for url in urls]


def test_without_its_secrets_or_a_manager_nothing_is_deployed(swarm: Swarm, first: str) -> None:
    done = swarm.deploy(f"IMAGE={first}")
    assert done.returncode != 0
    assert "docker secret create notes_api_token FILE" in done.stderr
    done = swarm.deploy(f"IMAGE={first}", DOCKER_HOST=swarm.nodes[1].host)
    assert "the engine is a worker of a swarm; expected a manager" in done.stderr
    assert swarm.manager.docker("service", "ls", "--quiet") == ""
    done = swarm.deploy("IMAGE=service:1.2")
    assert "'service:1.2' is no image by its digest" in done.stderr


def test_tasks_are_on_several_nodes_and_each_node_has_a_gateway(service: Swarm) -> None:
    assert len(service.tasks("app")) == 3
    assert len(set(service.tasks("app").values())) > 1
    assert sorted(service.tasks("gateway").values()) == ["node-1", "node-2", "node-3"]
    assert [each.status for each in on_all_nodes(service, "/api/hello/x")] == [200] * 3


@pytest.mark.database
def test_the_database_is_migrated(service: Swarm) -> None:
    assert [each.json()["total"] for each in on_all_nodes(service, "/api/notes")] == [0] * 3


def test_a_task_can_do_little_and_no_secret_is_in_its_environment(service: Swarm) -> None:
    node, container = next(
        (node, container) for node in service.nodes for container in service.containers(node, "app")
    )
    found = json.loads(node.docker("exec", container, "python3", "-c", confinement.STATUS))
    confinement.check(found)
    assert "api_token" in found["secrets"]
    assert swarms.TOKEN not in found["environment"].values()
    known = json.dumps(service.service("app")) + json.dumps(service.service("gateway"))
    assert swarms.TOKEN not in known
    assert "proxy_pass" not in known  # the gateway's file
    limits = json.loads(node.docker("inspect", container))[0]["HostConfig"]
    assert limits["Memory"] == 256 << 20
    assert limits["PidsLimit"] == 64


@pytest.mark.database
def test_a_failed_migration_touches_no_task(service: Swarm, variant: Callable[[str], str]) -> None:
    before = [service.service(name)["Version"] for name in ("app", "gateway")]
    tasks = service.tasks("app")
    bad = 'services: {migrate: {command: ["app", "no-such-command"]}}\n'
    (service.folder / "bad.yaml").write_text(bad)
    files = service.variables["COMPOSE_FILE"] + ":bad.yaml"
    done = service.deploy(f"IMAGE={variant('LABEL version=x')}", COMPOSE_FILE=files)
    assert done.returncode != 0
    assert "migrate failed (its last lines are above); no service was touched" in done.stderr
    assert "No such command" in done.stdout
    assert [service.service(name)["Version"] for name in ("app", "gateway")] == before
    assert service.tasks("app") == tasks


def test_a_rolling_update_loses_no_request_and_takes_the_newest_secret(
    service: Swarm, first: str, variant: Callable[[str], str]
) -> None:
    second = variant("LABEL version=2")
    service.make_secret("api_token.2", "another-" + swarms.TOKEN)
    gateways = service.tasks("gateway")
    for number in rounds(4, 1):
        old = service.tasks("app")
        with service.load(*(SINGLE if number % 2 else KEPT)) as load:
            done = service.deploy(f"IMAGE={first if number % 2 else second}")
            assert done.returncode == 0, done.stdout + done.stderr
            served(load)
        new = service.tasks("app")
        assert len(new) == 3
        assert not set(new) & set(old)
        assert len(set(new.values())) > 1
    # What has not changed is not replaced, though all of it was deployed again.
    assert service.tasks("gateway") == gateways
    mounted = service.service("app")["Spec"]["TaskTemplate"]["ContainerSpec"]["Secrets"]
    assert "notes_api_token.2" in {each["SecretName"] for each in mounted}


def test_undo_puts_the_version_before_back(service: Swarm) -> None:
    before = service.image()
    service_before = service.service("app")["PreviousSpec"]["TaskTemplate"]["ContainerSpec"]
    with service.load(*KEPT) as load:
        done = service.deploy("UNDO=1")
        assert done.returncode == 0, done.stdout + done.stderr
        served(load)
    assert service.image() == service_before["Image"] != before


def test_a_bad_image_is_taken_back_and_costs_no_request(
    service: Swarm, variant: Callable[[str], str]
) -> None:
    before = service.image()
    bad = variant('CMD ["python3", "-c", "import no_such_module"]')
    with service.load(*SINGLE) as load:
        done = service.deploy(f"IMAGE={bad}")
        served(load)
    assert done.returncode != 0
    assert "the version before serves, as it did all along" in done.stderr
    assert "No module named 'no_such_module'" in done.stdout
    assert service.image() == before
    assert len(service.tasks("app")) == 3


def test_a_restart_of_the_manager_loses_nothing(service: Swarm) -> None:
    """Its tasks end and come again; what it knows is on its disk."""
    names = ("secret", "ls", "--format={{.Name}}")
    before, secrets = service.image(), service.manager.docker(*names)
    with service.load(*SINGLE) as load:
        docker("restart", "--time=60", service.manager.name)
        eventually(service.manager.answers, 60, "the manager answers")
        eventually(lambda: len(service.tasks("app")) == 3, 60, "three tasks", every=1)
        eventually(lambda: len(service.tasks("gateway")) == 3, 60, "three gateways", every=1)
        served(load)
    assert service.image() == before
    assert service.manager.docker(*names) == secrets
    done = service.deploy(f"IMAGE={before}")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_node_without_power_costs_no_request(service: Swarm) -> None:
    """Neither new ones nor those that it was working on; its tasks are soon elsewhere.

    The last test: the node does not come back.
    """
    lost = service.nodes[2]
    if not service.containers(lost, "app"):  # Swarm spreads tasks, but not evenly over updates
        service.manager.docker("service", "update", "--quiet", "--force", "notes_app")
    assert service.containers(lost, "app")
    # Two tasks have eight threads: with more that are slow the others would wait too long.
    few = ("--clients", "6")
    slower = service.load(*few, path="/api/chaos/slow?1")
    with service.load(*SINGLE) as load, slower as slow:
        time.sleep(3)
        killed = time.monotonic()
        lost.lose_power()

        def elsewhere() -> bool:
            return len([n for n in service.tasks("app").values() if n != "node-3"]) == 3

        eventually(elsewhere, 60, "three tasks on two nodes", every=0.5)
        seconds = time.monotonic() - killed
        harness.report(f"three tasks again after {seconds:.0f} s")
        rejected = [line for line in service.gateway_log() if '"status":503' in line]
        harness.report("\n".join(rejected[:5]))
        served(slow)
        served(load)
    assert seconds < 45  # 30 on a machine that does nothing else
