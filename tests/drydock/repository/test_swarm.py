"""What a swarm is told: the services of compose.yaml, in the words of `docker stack deploy`."""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

import deploy
import observe
import swarm
import without_database
from checkouts import CHECKOUT
from database import HAS_DATABASE

if TYPE_CHECKING:
    from pathlib import Path

Thing = dict[str, Any]
IMAGE = "registry.example.org/team/service@sha256:" + "0123456789abcdef" * 4


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPOSE_FILE", "compose.yaml")
    monkeypatch.setenv("COMPOSE_PROJECT_NAME", "notes")
    monkeypatch.setenv("COMPOSE_PROFILES", "work")
    monkeypatch.setenv("DATABASE_SERVER", "db.example.org/app?sslmode=require")


@pytest.fixture
def config() -> Thing:
    """What compose makes of both files."""
    return swarm.merged(IMAGE)


def checked(stack: Thing) -> Thing:
    """What docker's client reads in it; it is strict about what it does not know."""
    done = subprocess.run(
        ["docker", "stack", "config", "--compose-file=-"],
        input=json.dumps(stack),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Ignoring" not in done.stderr, done.stderr
    return stack


def test_all_limits_and_rights_are_those_of_compose_yaml(config: Thing) -> None:
    services = checked(swarm.stack(config))["services"]
    assert set(services) == set(config["services"])
    assert "db" not in services
    kept = ["image", "command", "environment", "networks", "logging", "stop_grace_period"]
    kept += ["read_only", "cap_drop", "user", "stop_signal"]
    for name, old in config["services"].items():
        now = services[name]
        assert {key: now.get(key) for key in kept} == {key: old.get(key) for key in kept}
        limits = now["deploy"]["resources"]["limits"]
        expected = {"memory": old["mem_limit"], "cpus": str(old["cpus"]), "pids": old["pids_limit"]}
        assert limits == expected
        sizes = {each.split(":")[0]: each for each in old.get("tmpfs", [])}
        mounts = {each["target"]: each for each in now["volumes"] if each["type"] == "tmpfs"}
        assert set(mounts) == set(sizes)
        for target, mount in mounts.items():
            megabytes = mount["tmpfs"]["size"] // (1 << 20)
            assert f":size={megabytes}m,mode=1777,noexec,nosuid,nodev" in sizes[target]


def test_services_go_back_by_themselves_and_the_service_has_no_gap(config: Thing) -> None:
    services = swarm.stack(config)["services"]
    running = {name: each for name, each in services.items() if not swarm.is_job(each)}
    for each in running.values():
        update = each["deploy"]["update_config"]
        assert update["failure_action"] == "rollback"
        assert update["max_failure_ratio"] == 0
        assert each["deploy"]["endpoint_mode"] == "dnsrr"
    assert running["app"]["deploy"]["update_config"]["order"] == "start-first"
    assert running["app"]["deploy"]["rollback_config"]["order"] == "start-first"
    assert running["app"]["deploy"]["replicas"] == 3
    assert running["app"]["healthcheck"] == config["services"]["app"]["healthcheck"]


@pytest.mark.database
def test_the_migration_is_a_job_that_nothing_ends(config: Thing) -> None:
    """No health check, which it would not pass; and one attempt."""
    assert swarm.jobs(config) == ["migrate"]
    migrate = swarm.stack(config)["services"]["migrate"]
    assert migrate["deploy"]["mode"] == "replicated-job"
    assert migrate["deploy"]["restart_policy"] == {"condition": "none"}
    assert migrate["healthcheck"] == {"disable": True}
    url = "postgresql://app_owner@db.example.org/app?sslmode=require"
    assert migrate["environment"]["DATABASE_URL"] == url


def test_jobs_run_after_those_that_they_depend_on(config: Thing) -> None:
    job = {"restart": "no", "image": IMAGE}
    config["services"] |= {"after": job | {"depends_on": {"before": {}}}, "before": job}
    found = swarm.jobs(config)
    assert found.index("before") < found.index("after")


def test_files_become_configs_of_their_content_and_place(config: Thing) -> None:
    stack = swarm.stack(config)
    gateway = stack["services"]["gateway"]
    places = {each["target"]: each for each in gateway["configs"]}
    assert places["/etc/nginx/nginx.conf"]["mode"] == 0o444
    # The entry point passes over what it can't run.
    assert places["/docker-entrypoint.d/10-lists.envsh"]["mode"] == 0o555
    page = {
        f"/etc/nginx/gateway/page/{f.name}" for f in (CHECKOUT / "deploy/gateway/page").iterdir()
    }
    assert page <= set(places)
    # The order of two with one name would be any, and each deployment a change.
    assert len({each["source"] for each in gateway["configs"]}) == len(gateway["configs"])
    for name, each in stack["configs"].items():
        assert re.fullmatch(r"[\w.-]{1,64}", name)
        assert (CHECKOUT / each["file"]).is_file()


def test_a_mount_of_this_machine_is_refused(
    config: Thing, capsys: pytest.CaptureFixture[str]
) -> None:
    mount = {"type": "bind", "source": "/var/run/docker.sock", "target": "/s", "read_only": True}
    config["services"]["app"]["volumes"] = [mount]
    with pytest.raises(SystemExit):
        swarm.stack(config)
    assert "app: /var/run/docker.sock is mounted, but is of this machine" in capsys.readouterr().err


def test_secrets_are_the_swarm_s_own(config: Thing) -> None:
    stack = swarm.stack(config)
    assert stack["secrets"]["api_token"] == {"external": True, "name": "notes_api_token"}
    assert all(each["external"] for each in stack["secrets"].values())
    mounted = [each["source"] for each in stack["services"]["app"]["secrets"]]
    assert mounted == (["db_password", "api_token"] if HAS_DATABASE else ["api_token"])


def test_ports_are_those_of_the_nodes(config: Thing) -> None:
    """One of the whole swarm would hide the clients' addresses, which the gateway counts by."""
    ports = swarm.stack(config)["services"]["gateway"]["ports"]
    assert ports == [{"target": 8080, "published": 8080, "mode": "host"}]


def test_tls_comes_by_the_same_file_as_in_the_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPOSE_FILE", "compose.yaml:deploy/tls/compose.yaml")
    stack = checked(swarm.stack(swarm.merged(IMAGE)))
    gateway = stack["services"]["gateway"]
    assert [each["published"] for each in gateway["ports"]] == [8080, 8443]
    assert "/etc/nginx/templates/listen/redirect.conf.template" in {
        each["target"] for each in gateway["configs"]
    }
    assert stack["secrets"]["tls_key"] == {"external": True, "name": "notes_tls_key"}


@pytest.mark.database
def test_without_the_database_s_address_nothing_is_deployed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DATABASE_SERVER")
    with pytest.raises(SystemExit):
        swarm.merged(IMAGE)
    assert "DATABASE_SERVER is missing a value" in capsys.readouterr().err


@pytest.mark.database
def test_a_service_without_a_database_has_no_trace_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(CHECKOUT / "deploy", tmp_path / "deploy")
    for name in ("compose.yaml", swarm.OVERRIDE):
        less = without_database.without(name, (CHECKOUT / name).read_text())
        assert less is not None
        assert "DATABASE_" not in less
        (tmp_path / name).write_text(less)
    monkeypatch.delenv("DATABASE_SERVER")
    monkeypatch.setattr(swarm, "ROOT", tmp_path)
    monkeypatch.setattr(observe, "ROOT", tmp_path)
    config = swarm.merged(IMAGE)
    stack = checked(swarm.stack(config))
    assert swarm.jobs(config) == []
    assert set(stack["services"]) == {"app", "gateway", "work"}
    assert set(stack["secrets"]) == {"api_token"}
    assert all(each["internal"] for name, each in stack["networks"].items() if name != "outer")


def test_an_image_without_a_digest_is_not_deployed(
    config: Thing, capsys: pytest.CaptureFixture[str]
) -> None:
    deploy.check_images(swarm.stack(config))
    changed = copy.deepcopy(config)
    changed["services"]["gateway"]["image"] = "nginx:1.30"
    with pytest.raises(SystemExit):
        deploy.check_images(swarm.stack(changed))
    assert "gateway: nginx:1.30 has no digest; expected registry" in capsys.readouterr().err


def test_a_description_is_the_same_but_for_the_engine_s_defaults() -> None:
    old = {"Image": "a", "Labels": {"x": "1"}}
    assert deploy.same(old, old | {"DNSConfig": {}})
    assert not deploy.same(old, old | {"Image": "b"})
    assert not deploy.same(old, {"Image": "a", "Labels": {"x": "2"}})
