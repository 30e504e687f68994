"""What Kubernetes is told: rendered, valid by strict schemas, and held to rules that bite."""

from __future__ import annotations

import copy
import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import yaml

import apply
import manifests
import policies
from checkouts import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Callable

Thing = dict[str, Any]
BASE, COMPONENTS = manifests.FOLDER / "base", manifests.FOLDER / "components"
IMAGE = "registry.example.org/team/service@sha256:" + "0123456789abcdef" * 4
NO_DRAIN = """\
apiVersion: apps/v1
kind: Deployment
metadata: { name: app }
spec: { template: { spec: { terminationGracePeriodSeconds: 10 } } }
"""
# The one for an old cluster has what a current one does not know.
CURRENT = sorted(path for path in COMPONENTS.iterdir() if path.name != "kubernetes-1.20")
OVERLAYS = sorted(file.parent for file in manifests.FOLDER.glob("overlays/*/kustomization.yaml"))


@pytest.fixture(scope="module")
def rendered() -> list[Thing]:
    return manifests.with_image(manifests.render(BASE), IMAGE)


@pytest.fixture
def objects(rendered: list[Thing]) -> list[Thing]:
    """The base's, to be broken."""
    return copy.deepcopy(rendered)


def the(objects: list[Thing], kind: str, name: str = "app") -> Thing:
    return next(o for o in objects if o["kind"] == kind and o["metadata"]["name"] == name)


def pod(objects: list[Thing]) -> Thing:
    found: Thing = the(objects, "Deployment")["spec"]["template"]["spec"]
    return found


def container(objects: list[Thing]) -> Thing:
    found: Thing = pod(objects)["containers"][0]
    return found


def settings(objects: list[Thing]) -> dict[str, str]:
    found: dict[str, str] = policies.of_kind(objects, "ConfigMap")[0]["data"]
    return found


def compose() -> Thing:
    found: Thing = yaml.safe_load((CHECKOUT / "compose.yaml").read_text())["services"]["app"]
    return found


def test_the_base_is_valid_and_breaks_no_rule(objects: list[Thing]) -> None:
    assert manifests.problems(objects) == []


@pytest.mark.parametrize("component", CURRENT, ids=lambda path: path.name)
def test_each_component_is_valid_and_breaks_no_rule(component: Any) -> None:
    found = manifests.with_image(manifests.with_component(BASE, component), IMAGE)
    assert manifests.problems(found) == []
    assert found != manifests.with_image(manifests.render(BASE), IMAGE)


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.name)
def test_each_overlay_is_valid_and_breaks_no_rule(overlay: Any) -> None:
    assert manifests.problems(manifests.render(overlay)) == []


def test_an_older_cluster_gets_the_versions_that_it_has() -> None:
    found = manifests.with_component(BASE, COMPONENTS / "kubernetes-1.20")
    versions = {each["kind"]: each["apiVersion"] for each in found}
    assert versions["PodDisruptionBudget"] == "policy/v1beta1"
    assert versions["HorizontalPodAutoscaler"] == "autoscaling/v2beta2"


@pytest.mark.parametrize(
    ("kind", "misspell", "message"),
    [
        ("Deployment", lambda o: container(o).update(livenesProbe={}), "livenesProbe"),
        ("Deployment", lambda o: pod(o).update(terminationGracePeriodSeconds="30s"), "30s"),
        (
            "NetworkPolicy",
            lambda o: the(o, "NetworkPolicy", "deny-all")["spec"].update(egres=[]),
            "egres",
        ),
        (
            "PodDisruptionBudget",
            lambda o: the(o, "PodDisruptionBudget").update(apiVersion="policy/v1beta1"),
            "has no policy/v1beta1",
        ),
    ],
)
def test_a_field_that_does_not_exist_is_not_ignored(
    objects: list[Thing], kind: str, misspell: Callable[[list[Thing]], None], message: str
) -> None:
    misspell(objects)
    (found,) = manifests.invalid(objects)
    assert found.startswith(f"{kind} ")
    assert message in found


@pytest.mark.parametrize(
    ("component", "kind", "misspell"),
    [
        ("service-monitor", "ServiceMonitor", lambda s: s["endpoints"][0].update(prot="metrics")),
        ("gateway-route", "HTTPRoute", lambda s: s.update(hostname=["app.example.org"])),
    ],
)
def test_a_field_of_an_extension_that_does_not_exist_is_not_ignored(
    component: str, kind: str, misspell: Callable[[Thing], None]
) -> None:
    found = manifests.with_component(BASE, COMPONENTS / component)
    misspell(the(found, kind)["spec"])
    assert len(manifests.invalid(found)) == 1


def without(thing: Thing, key: str) -> None:
    del thing[key]


def secure(objects: list[Thing], **fields: Any) -> None:
    container(objects)["securityContext"].update(fields)


def policy(objects: list[Thing], name: str) -> Thing:
    found: Thing = the(objects, "NetworkPolicy", name)["spec"]
    return found


BREAKS: list[tuple[Callable[[list[Thing]], object], str]] = [
    (lambda o: pod(o)["securityContext"].update(runAsUser=0), "runAsUser: 0, which is root"),
    (lambda o: without(pod(o)["securityContext"], "runAsNonRoot"), "no runAsNonRoot: true"),
    (lambda o: secure(o, runAsNonRoot=False), "no runAsNonRoot: true"),
    (lambda o: secure(o, allowPrivilegeEscalation=True), "no allowPrivilegeEscalation: false"),
    (lambda o: secure(o, privileged=True), "no allowPrivilegeEscalation: false"),
    (lambda o: secure(o, capabilities={"drop": ["ALL"], "add": ["SYS_ADMIN"]}), "drop all"),
    (lambda o: secure(o, seccompProfile={"type": "Unconfined"}), "no seccompProfile"),
    (lambda o: secure(o, readOnlyRootFilesystem=False), "no readOnlyRootFilesystem: true"),
    (lambda o: without(pod(o)["volumes"][0]["emptyDir"], "sizeLimit"), "tmp has no sizeLimit"),
    (lambda o: pod(o)["volumes"].append({"name": "node", "hostPath": {"path": "/"}}), "a hostPath"),
    (lambda o: pod(o).update(hostNetwork=True), "hostNetwork is on"),
    (lambda o: container(o)["ports"][0].update(hostPort=80), "has a hostPort"),
    (lambda o: without(container(o)["resources"]["limits"], "memory"), "no memory among its li"),
    (lambda o: without(container(o)["resources"]["limits"], "cpu"), "no cpu among its limits"),
    (lambda o: without(container(o)["resources"], "requests"), "no memory among its requests"),
    (lambda o: container(o).update(image="registry.example.org/team/service:1.2"), "no digest"),
    (lambda o: pod(o).update(automountServiceAccountToken=True), "automountServiceAccountToken"),
    (lambda o: without(pod(o), "serviceAccountName"), "no service account of its own"),
    (lambda o: without(pod(o), "enableServiceLinks"), "APP_PORT would be a Service's"),
    (lambda o: without(container(o), "startupProbe"), "startupProbe does not ask for /livez"),
    (lambda o: without(container(o), "livenessProbe"), "livenessProbe does not ask for /livez"),
    (
        lambda o: container(o)["livenessProbe"]["httpGet"].update(path="/readyz"),
        "livenessProbe does not ask for /livez",
    ),
    (lambda o: without(container(o), "readinessProbe"), "readinessProbe does not ask for /readyz"),
    (lambda o: pod(o).update(terminationGracePeriodSeconds=25), "Seconds is less than 26"),
    (lambda o: settings(o).update(GRACEFUL_TIMEOUT="60"), "Seconds is less than 71"),
    (lambda o: settings(o).update(DRAIN_SECONDS="0"), "DRAIN_SECONDS is 0"),
    (lambda o: settings(o).update(DRAIN_SECOND="10"), "DRAIN_SECOND is no setting"),
    (lambda o: settings(o).update(LOG_LEVEL="loud"), "LOG_LEVEL='loud'"),
    (lambda o: settings(o).update(API_TOKEN="0123456789abcdef"), "API_TOKEN is a secret"),
    (
        lambda o: the(o, "Deployment")["spec"]["strategy"]["rollingUpdate"].update(
            maxUnavailable=1
        ),
        "its rollout has no maxUnavailable: 0",
    ),
    (lambda o: o.remove(the(o, "PodDisruptionBudget")), "no PodDisruptionBudget"),
    (lambda o: the(o, "HorizontalPodAutoscaler")["spec"].update(minReplicas=1), "keeps 2 replicas"),
    (lambda o: the(o, "Deployment")["spec"].update(replicas=2), "which the autoscaler decides"),
    (lambda o: o.remove(the(o, "NetworkPolicy", "deny-all")), "no NetworkPolicy denies all"),
    (lambda o: without(policy(o, "deny-all"), "policyTypes"), "no NetworkPolicy denies all"),
    (lambda o: without(policy(o, "from-gateway")["ingress"][0], "from"), "allows all clients"),
    (
        lambda o: policy(o, "to-dns")["egress"][0].update(to=[{"ipBlock": {"cidr": "0.0.0.0/0"}}]),
        "allows all servers",
    ),
    (lambda o: without(policy(o, "from-gateway")["ingress"][0], "ports"), "allows all ports"),
    (
        lambda o: [policy(o, f"from-{n}").pop("ingress") for n in ("gateway", "monitoring")],
        "lets anybody reach it",
    ),
    (
        lambda o: o.append({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "app"}}),
        "Secret app: is in the manifests",
    ),
    (lambda o: the(o, "Service")["spec"].update(selector={"app": "x"}), "app: selects no pod"),
    (lambda o: o.remove(policies.of_kind(o, "ConfigMap")[0]), "variables from nowhere"),
]


@pytest.mark.parametrize(("harm", "message"), BREAKS, ids=[message for _, message in BREAKS])
def test_each_breach_of_a_rule_is_noticed(
    objects: list[Thing], harm: Callable[[list[Thing]], object], message: str
) -> None:
    harm(objects)
    assert message in "\n".join(policies.breaches(objects))


def test_no_rule_is_without_a_breach(rendered: list[Thing]) -> None:
    for rule in policies.RULES:
        broken = 0
        for harm, _ in BREAKS:
            objects = copy.deepcopy(rendered)
            harm(objects)
            broken += bool(list(rule(objects)))
        assert broken, rule.__name__


@pytest.mark.database
def test_the_migration_is_held_to_the_rules_as_well(objects: list[Thing]) -> None:
    spec = the(objects, "Job", "migration")["spec"]["template"]["spec"]
    spec["containers"][0]["securityContext"] = {}
    found = policies.breaches(objects)
    assert len(found) == 3
    assert all(each.startswith("Job migration: ") for each in found)


def test_limits_and_rights_are_those_of_the_stack(objects: list[Thing]) -> None:
    stack = compose()
    for spec in (each.spec for each in policies.pods(objects)):
        found = spec["containers"][0]
        limits = found["resources"]["limits"]
        assert limits["memory"] == stack["mem_limit"].upper() + "i"
        assert float(limits["cpu"]) == stack["cpus"]
        assert found["securityContext"]["readOnlyRootFilesystem"] == stack["read_only"]
        assert found["securityContext"]["capabilities"]["drop"] == stack["cap_drop"]
        assert "no-new-privileges:true" in stack["security_opt"]
        sizes = {
            mount["mountPath"]: volume["emptyDir"]["sizeLimit"].lower().removesuffix("i")
            for mount in found["volumeMounts"]
            for volume in spec["volumes"]
            if volume["name"] == mount["name"] and "emptyDir" in volume
        }
        assert sizes == dict(re.findall(r"(/\w+):size=(\w+)", " ".join(stack["tmpfs"])))


def test_user_ports_and_pace_of_the_checks_are_those_of_the_image_and_the_stack(
    objects: list[Thing],
) -> None:
    dockerfile = (CHECKOUT / "Dockerfile").read_text()
    user = pod(objects)["securityContext"]
    assert f"USER {user['runAsUser']}:{user['runAsGroup']}\n" in dockerfile
    ports = [str(each["containerPort"]) for each in container(objects)["ports"]]
    assert f"EXPOSE {' '.join(ports)}\n" in dockerfile
    probe, check = container(objects)["livenessProbe"], compose()["healthcheck"]
    assert f"{probe['periodSeconds']}s" == check["interval"]
    assert f"{probe['timeoutSeconds']}s" == check["timeout"]
    assert probe["failureThreshold"] == check["retries"]
    start = container(objects)["startupProbe"]
    seconds = start["periodSeconds"] * start["failureThreshold"]
    assert seconds >= int(check["start_period"].removesuffix("s"))


def test_nodes_get_the_profile_that_the_stack_has() -> None:
    (found,) = policies.of_kind(manifests.render(manifests.NODES), "ConfigMap")
    assert json.loads(found["data"]["app.json"]) == json.loads(
        (CHECKOUT / "deploy/seccomp.json").read_text()
    )
    profile = manifests.with_component(BASE, COMPONENTS / "localhost-seccomp")
    for each in policies.pods(profile):
        where = each.spec["securityContext"]["seccompProfile"]["localhostProfile"]
        assert where == "drydock/app.json"
    assert manifests.invalid(manifests.render(manifests.NODES)) == []


@pytest.mark.parametrize(
    ("files", "image", "message"),
    [
        ({}, IMAGE, "expected a folder with a kustomization.yaml"),
        ({"resources": ["../base"]}, "service:1.2", "IMAGE=service:1.2: expected registry.ex"),
        ({"resources": ["../base"]}, "", "the image app has no digest"),
        ({"resources": ["../bas"]}, IMAGE, "can't be rendered"),
        (
            {"resources": ["../base"], "images": [{"name": "app", "digest": f"sha256:{0:064}"}]},
            "",
            "names no image yet",
        ),
        (
            {"resources": ["../base"], "patches": [{"patch": NO_DRAIN}]},
            IMAGE,
            "terminationGracePeriodSeconds is less than 26",
        ),
    ],
)
def test_what_breaks_a_rule_is_not_applied(
    tmp_path: Any, files: Thing, image: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(BASE, tmp_path / "base")
    (tmp_path / "overlay").mkdir()
    if files:
        (tmp_path / "overlay/kustomization.yaml").write_text(yaml.safe_dump(files))
    with pytest.raises(SystemExit):
        apply.overlay(str(tmp_path / "overlay"), image)
    assert message in capsys.readouterr().err


def test_what_breaks_no_rule_is_applied_with_the_image_that_is_named(tmp_path: Any) -> None:
    shutil.copytree(BASE, tmp_path / "base")
    (tmp_path / "kustomization.yaml").write_text("resources: [base]\n")
    found = apply.overlay(str(tmp_path), IMAGE)
    images = {each["image"] for pod in policies.pods(found) for each in pod.containers}
    assert images == {IMAGE}
