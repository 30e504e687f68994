"""What a deployment in Kubernetes must never lack: rules about rendered objects, in plain Python.

`make lint` holds each overlay to them, `make apply` what it is about to apply. A rule gets all
objects and yields a sentence for each breach. tests/drydock/repository/test_kubernetes.py breaks
each by hand. Most are of the restricted Pod Security Standard:
https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any

from app.settings import Settings
from drydock.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Thing = dict[str, Any]
SPARE = 1  # seconds that a stop takes beyond DRAIN_SECONDS and GRACEFUL_TIMEOUT
HOSTS = ("hostNetwork", "hostPID", "hostIPC")
VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "persistentVolumeClaim", "projected"}
ANYONE: tuple[Thing, ...] = ({}, {"namespaceSelector": {}}, {"ipBlock": {"cidr": "0.0.0.0/0"}})
WORKLOADS = ("Deployment", "Job", "StatefulSet", "DaemonSet", "CronJob")


@dataclasses.dataclass(frozen=True)
class Pod:
    """The pods of one workload."""

    workload: Thing
    template: Thing

    @property
    def name(self) -> str:
        """The workload's kind and name."""
        return f"{self.workload['kind']} {self.workload['metadata']['name']}"

    @property
    def spec(self) -> Thing:
        """What the pods are."""
        found: Thing = self.template["spec"]
        return found

    @property
    def labels(self) -> dict[str, str]:
        """By what others find the pods."""
        found: dict[str, str] = self.template["metadata"]["labels"]
        return found

    @property
    def containers(self) -> list[Thing]:
        """All of them; those that start the pod, too."""
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    def security(self, container: Thing, key: str) -> Any:  # noqa: ANN401 (as YAML has it)
        """A field of the container's security context, or else of the pod's."""
        own, pods = container.get("securityContext", {}), self.spec.get("securityContext", {})
        return own.get(key, pods.get(key))


def of_kind(objects: list[Thing], kind: str) -> list[Thing]:
    """The objects of a kind."""
    return [each for each in objects if each["kind"] == kind]


def pods(objects: list[Thing]) -> list[Pod]:
    """The pods of each workload."""
    found = []
    for each in objects:
        if each["kind"] in WORKLOADS:
            spec = each["spec"]
            spec = spec["jobTemplate"]["spec"] if each["kind"] == "CronJob" else spec
            found.append(Pod(each, spec["template"]))
    return found


def services(objects: list[Thing]) -> list[Pod]:
    """The pods that serve."""
    return [pod for pod in pods(objects) if pod.workload["kind"] == "Deployment"]


def selects(selector: Thing, labels: dict[str, str]) -> bool:
    """Whether a selector by labels finds these."""
    wanted: dict[str, str] = selector.get("matchLabels", {})
    return wanted.items() <= labels.items()


def environment(pod: Pod, objects: list[Thing]) -> dict[str, str]:
    """The variables of the pods' first container, as far as the objects say."""
    maps = {
        each["metadata"]["name"]: each.get("data", {}) for each in of_kind(objects, "ConfigMap")
    }
    container = pod.spec["containers"][0]
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        found |= maps.get(source.get("configMapRef", {}).get("name"), {})
    return found | {each["name"]: each.get("value", "") for each in container.get("env", [])}


def settings(pod: Pod, objects: list[Thing]) -> Settings:
    """The settings that the pods would have, without what comes from files."""
    given = environment(pod, objects)
    return Settings.load({name: given[name] for name in given if not name.endswith("_FILE")})


def is_not_root(objects: list[Thing]) -> Iterator[str]:
    """No process of a pod is root."""
    for pod in pods(objects):
        for each in pod.containers:
            if pod.security(each, "runAsNonRoot") is not True:
                yield f"{pod.name}: {each['name']} has no runAsNonRoot: true"
            if pod.security(each, "runAsUser") == 0:
                yield f"{pod.name}: {each['name']} has runAsUser: 0, which is root"


def gains_no_privilege(objects: list[Thing]) -> Iterator[str]:
    """A process has no capability and can gain none."""
    for pod in pods(objects):
        for each in pod.containers:
            own = each.get("securityContext", {})
            if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
                yield f"{pod.name}: {each['name']} has no allowPrivilegeEscalation: false"
            capabilities = own.get("capabilities", {})
            if capabilities.get("drop") != ["ALL"] or capabilities.get("add"):
                yield f"{pod.name}: {each['name']} does not drop all capabilities"
            profile = (pod.security(each, "seccompProfile") or {}).get("type")
            if profile not in ("RuntimeDefault", "Localhost"):
                yield f"{pod.name}: {each['name']} has no seccompProfile"


def writes_nothing(objects: list[Thing]) -> Iterator[str]:
    """The root file system is read-only, and what is writable is bounded and not the node's."""
    for pod in pods(objects):
        for each in pod.containers:
            if each.get("securityContext", {}).get("readOnlyRootFilesystem") is not True:
                yield f"{pod.name}: {each['name']} has no readOnlyRootFilesystem: true"
        for each in pod.spec.get("volumes", []):
            if "emptyDir" in each and not each["emptyDir"].get("sizeLimit"):
                yield f"{pod.name}: the volume {each['name']} has no sizeLimit"


def is_apart_from_the_node(objects: list[Thing]) -> Iterator[str]:
    """Nothing of the node is in a pod: no network, process or directory."""
    for pod in pods(objects):
        for key in HOSTS:
            if pod.spec.get(key):
                yield f"{pod.name}: {key} is on"
        for each in pod.spec.get("volumes", []):
            for kind in each.keys() - {"name", "secret"} - VOLUMES:
                yield f"{pod.name}: the volume {each['name']} is a {kind}"
        for container in pod.containers:
            if any(port.get("hostPort") for port in container.get("ports", [])):
                yield f"{pod.name}: {container['name']} has a hostPort"


def is_bounded(objects: list[Thing]) -> Iterator[str]:
    """A container says what it needs, and has limits."""
    for pod in pods(objects):
        for each in pod.containers:
            for kind in ("requests", "limits"):
                for what in ("cpu", "memory"):
                    if not each.get("resources", {}).get(kind, {}).get(what):
                        yield f"{pod.name}: {each['name']} has no {what} among its {kind}"


def is_named_by_digest(objects: list[Thing]) -> Iterator[str]:
    """An image is what it was when it was proved."""
    for pod in pods(objects):
        for each in pod.containers:
            if not re.fullmatch(r"\S+@sha256:[0-9a-f]{64}", each["image"]):
                yield f"{pod.name}: the image {each['image']} has no digest"


def has_no_token(objects: list[Thing]) -> Iterator[str]:
    """A pod can ask the cluster's API for nothing, and has no variables that a Service makes."""
    for pod in pods(objects):
        if pod.spec.get("automountServiceAccountToken") is not False:
            yield f"{pod.name}: has no automountServiceAccountToken: false"
        if pod.spec.get("serviceAccountName", "default") == "default":
            yield f"{pod.name}: has no service account of its own"
        if pod.spec.get("enableServiceLinks") is not False:
            yield f"{pod.name}: has no enableServiceLinks: false; APP_PORT would be a Service's"


def is_probed(objects: list[Thing]) -> Iterator[str]:
    """Each probe asks what it is for: liveness never the database, readiness always."""
    wanted = {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
    for pod in services(objects):
        container = pod.spec["containers"][0]
        for probe, path in wanted.items():
            if container.get(probe, {}).get("httpGet", {}).get("path") != path:
                yield f"{pod.name}: its {probe} does not ask for {path}"


def has_time_to_stop(objects: list[Thing]) -> Iterator[str]:
    """The kubelet kills later than the service ends, which drains before."""
    for pod in services(objects):
        try:
            found = settings(pod, objects)
        except SettingsError:
            continue  # has_good_settings says so
        needed = found.drain_seconds + found.graceful_timeout + SPARE
        if pod.spec.get("terminationGracePeriodSeconds", 30) < needed:
            yield (
                f"{pod.name}: terminationGracePeriodSeconds is less than {needed}: DRAIN_SECONDS,"
                f" GRACEFUL_TIMEOUT and {SPARE}"
            )
        if found.drain_seconds == 0:
            yield f"{pod.name}: DRAIN_SECONDS is 0, but requests come for some seconds more"


def has_good_settings(objects: list[Thing]) -> Iterator[str]:
    """The service would start: each variable is a setting of its, and has a value that it takes."""
    secret = {f.name.upper() for f in dataclasses.fields(Settings) if f.metadata["secret"]}
    known = {f.name.upper() for f in dataclasses.fields(Settings)} | {f"{s}_FILE" for s in secret}
    for pod in pods(objects):
        for name in sorted(environment(pod, objects).keys() - known):
            yield f"{pod.name}: {name} is no setting; docs/settings.md has all"
        for name in sorted(environment(pod, objects).keys() & secret):
            yield f"{pod.name}: {name} is a secret; mount it, and set {name}_FILE"
        try:
            settings(pod, objects)
        except SettingsError as error:
            yield from (f"{pod.name}: {line}" for line in str(error).splitlines())


def keeps_serving(objects: list[Thing]) -> Iterator[str]:
    """A rollout, and the drain of a node, take no pod before there is another."""
    budgets, scalers = (
        of_kind(objects, kind) for kind in ("PodDisruptionBudget", "HorizontalPodAutoscaler")
    )
    for pod in services(objects):
        rolling = pod.workload["spec"].get("strategy", {}).get("rollingUpdate", {})
        if rolling.get("maxUnavailable") != 0:
            yield f"{pod.name}: its rollout has no maxUnavailable: 0"
        found = [b["spec"] for b in budgets if selects(b["spec"]["selector"], pod.labels)]
        if not any(spec.get("maxUnavailable") == 1 for spec in found):
            yield f"{pod.name}: no PodDisruptionBudget of maxUnavailable: 1 is about it"
        name = pod.workload["metadata"]["name"]
        by = [s["spec"] for s in scalers if s["spec"]["scaleTargetRef"]["name"] == name]
        if not by or by[0].get("minReplicas", 1) < 2:
            yield f"{pod.name}: no HorizontalPodAutoscaler keeps 2 replicas of it"
        if by and "replicas" in pod.workload["spec"]:
            yield f"{pod.name}: has replicas, which the autoscaler decides"


def is_closed(objects: list[Thing]) -> Iterator[str]:
    """Network policies deny all, and then allow one port from, or to, somebody in particular."""
    policies = of_kind(objects, "NetworkPolicy")
    denies = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    if denies not in [each["spec"] for each in policies]:
        yield "no NetworkPolicy denies all"
    for each in policies:
        name = f"NetworkPolicy {each['metadata']['name']}"
        rules = [("from", rule) for rule in each["spec"].get("ingress", [])]
        rules += [("to", rule) for rule in each["spec"].get("egress", [])]
        for whom, rule in rules:
            peers = rule.get(whom) or [{}]
            if any(peer in ANYONE for peer in peers):
                yield f"{name}: allows all {'clients' if whom == 'from' else 'servers'}"
            if not rule.get("ports"):
                yield f"{name}: allows all ports"
    for pod in services(objects):
        if not any(
            policy["spec"].get("ingress") and selects(policy["spec"]["podSelector"], pod.labels)
            for policy in policies
        ):
            yield f"{pod.name}: no NetworkPolicy lets anybody reach it"


def holds_no_secret(objects: list[Thing]) -> Iterator[str]:
    """Secrets are made in the cluster; what is in git is known to all who can read it."""
    for each in of_kind(objects, "Secret"):
        yield f"Secret {each['metadata']['name']}: is in the manifests; make it in the cluster"


def finds_its_pods(objects: list[Thing]) -> Iterator[str]:
    """What selects pods finds some; a ConfigMap that they need is there."""
    labels = [pod.labels for pod in pods(objects)]
    for each in objects:
        spec = each.get("spec", {})
        selector = (
            {"matchLabels": spec["selector"]}
            if each["kind"] == "Service"
            else (spec.get("podSelector") or spec.get("selector") or {})
        )
        if each["kind"] != "ServiceMonitor" and not any(selects(selector, has) for has in labels):
            yield f"{each['kind']} {each['metadata']['name']}: selects no pod"
    maps = {each["metadata"]["name"] for each in of_kind(objects, "ConfigMap")}
    for pod in pods(objects):
        for container in pod.containers:
            for source in container.get("envFrom", []):
                if source.get("configMapRef", {}).get("name") not in maps:
                    yield f"{pod.name}: {container['name']} has variables from nowhere"


RULES: tuple[Callable[[list[Thing]], Iterator[str]], ...] = (
    is_not_root,
    gains_no_privilege,
    writes_nothing,
    is_apart_from_the_node,
    is_bounded,
    is_named_by_digest,
    has_no_token,
    is_probed,
    has_time_to_stop,
    has_good_settings,
    keeps_serving,
    is_closed,
    holds_no_secret,
    finds_its_pods,
)


def breaches(objects: list[Thing]) -> list[str]:
    """A sentence for each breach of a rule; none if all is well."""
    return [sentence for rule in RULES for sentence in rule(objects)]
