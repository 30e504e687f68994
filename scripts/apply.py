"""Put a version of the service into a Kubernetes cluster: make apply OVERLAY=folder IMAGE=...

First the overlay is checked; what breaks a rule is not applied. Then the settings and what is not a
workload, then the migration, and only after its end the service. If the new version does not become
ready, the one before is put back; its pods have served all along. CONTEXT names the cluster, by
default kubectl's current one.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import TYPE_CHECKING, Any

import manifests
import policies
from common import ROOT, die, entry, say

if TYPE_CHECKING:
    from manifests import Thing

MIGRATION = "migration"  # the Job's name
LAST = ("Deployment", "HorizontalPodAutoscaler")  # what takes the new version into service
NOTHING = "0" * 64  # the digest of an overlay that names no image yet


class Cluster:
    """A cluster, and the namespace of an overlay in it."""

    def __init__(self, context: str, namespace: str) -> None:
        """Talk to the cluster of a context of kubectl's, or to its current one if that is empty."""
        self.options = [f"--context={context}"] if context else []
        self.options += [f"--namespace={namespace}"] if namespace else []

    def kubectl(self, *arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run kubectl and keep what it prints; `text` goes to its standard input."""
        command = [str(manifests.KUBECTL), *self.options, *arguments]
        return subprocess.run(command, input=text, capture_output=True, text=True, check=False)

    def run(self, why: str, *arguments: str, text: str | None = None) -> str:
        """Run kubectl and return what it prints; if it fails, end with `why` and its words."""
        done = self.kubectl(*arguments, text=text)
        if done.returncode != 0:
            die(f"{why}: {' '.join(done.stderr.split()).removeprefix('error: ')}")
        return done.stdout

    def apply(self, objects: list[Thing]) -> None:
        """Apply the objects; a field that the cluster does not know is an error."""
        if not objects:
            return
        listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        why = "the cluster does not take it"
        self.run(why, "apply", "--validate=strict", "--filename=-", text=listed)

    def conditions(self, thing: str) -> set[str]:
        """The conditions that are true of an object."""
        found = json.loads(self.run(f"{thing} can't be read", "get", thing, "--output=json"))
        listed: list[dict[str, Any]] = found.get("status", {}).get("conditions", [])
        return {each["type"] for each in listed if each["status"] == "True"}

    def last_words(self, selector: str) -> str:
        """The last lines of the log of the pods that a selector finds."""
        options = (f"--selector={selector}", "--tail=8", "--prefix", "--ignore-errors")
        return self.kubectl("logs", *options).stdout


def check_secrets(cluster: Cluster, objects: list[Thing]) -> None:
    """End with one line if a secret that the pods mount is not in the cluster."""
    names = {
        volume["secret"]["secretName"]: [item["key"] for item in volume["secret"]["items"]]
        for pod in policies.pods(objects)
        for volume in pod.spec.get("volumes", [])
        if volume.get("secret", {}).get("items")
    }
    for name, keys in names.items():
        if cluster.kubectl("get", "secret", name).returncode != 0:
            die(
                f"there is no secret {name} with {' and '.join(keys)}; make it: kubectl"
                f" {' '.join(cluster.options)} create secret generic {name}"
                + "".join(f" --from-file={key}=..." for key in keys)
            )


def migrate(cluster: Cluster, job: Thing) -> None:
    """Run the migration and wait for its end; ends with one line if it fails."""
    say("migrating the database ...")
    why = "the migration before this one can't be removed"
    # A Job can't be changed. A migration that still runs is not cut off: the next one waits for it.
    cluster.run(why, "delete", "job", MIGRATION, "--ignore-not-found", "--cascade=foreground")
    cluster.apply([job])
    while not (ended := cluster.conditions(f"job/{MIGRATION}") & {"Complete", "Failed"}):
        time.sleep(1)
    if "Failed" in ended:
        print(cluster.last_words(f"job-name={MIGRATION}"))
        die("the migration failed (its last lines are above); the service was left as it is")


def roll_out(cluster: Cluster, objects: list[Thing]) -> None:
    """Replace the pods; if the new ones do not become ready, put the old version back."""
    before = cluster.kubectl("get", "deployment/app", "--output=name").returncode == 0
    cluster.apply(objects)
    say("replacing the pods ...")
    done = cluster.kubectl("rollout", "status", "deployment/app")
    if done.returncode == 0:
        return
    print(cluster.last_words("app.kubernetes.io/component=service"))
    reason = " ".join(done.stderr.split()).removeprefix("error: ")
    if not before:
        die(f"the service did not become ready (its last lines are above): {reason}")
    cluster.run("the old version can't be put back", "rollout", "undo", "deployment/app")
    die(
        "the new version did not become ready (its last lines are above), and the one before,"
        f" which has served all along, was put back: {reason}"
    )


def overlay(folder: str, image: str) -> list[Thing]:
    """The objects of an overlay with an image, checked; ends with a line for each fault."""
    if not folder or not (ROOT / folder / "kustomization.yaml").exists():
        die(f"OVERLAY={folder}: expected a folder with a kustomization.yaml")
    if image and not manifests.IMAGE.fullmatch(image):
        die(f"IMAGE={image}: expected registry.example/name@sha256:<64 digits>, as it was proved")
    objects = manifests.render(ROOT / folder)
    if image:
        objects = manifests.with_image(objects, image)
    if any(NOTHING in each["image"] for pod in policies.pods(objects) for each in pod.containers):
        die(f"{folder} names no image yet; name it: IMAGE=registry.example/name@sha256:...")
    found = manifests.invalid(objects)
    if (ROOT / folder).resolve() != manifests.NODES:
        found += policies.breaches(objects)
    if found:
        die(f"nothing was applied; {folder} is not as it should be:\n" + "\n".join(found))
    return objects


def deploy(cluster: Cluster, objects: list[Thing]) -> None:
    """Apply checked objects, in the order that keeps the service up."""
    jobs = [each for each in objects if each["kind"] == "Job"]
    last = [each for each in objects if each["kind"] in LAST]
    first = [each for each in objects if each not in jobs and each not in last]
    cluster.apply([each for each in first if each["kind"] == "Namespace"])
    check_secrets(cluster, objects)
    cluster.apply(first)
    for job in jobs:
        migrate(cluster, job)
    if last:
        roll_out(cluster, last)


def main() -> None:
    """Apply the overlay that $OVERLAY names."""
    objects = overlay(os.environ.get("OVERLAY", ""), os.environ.get("DEPLOYED", ""))
    spaces = {each["metadata"].get("namespace", "") for each in objects} - {""}
    cluster = Cluster(os.environ.get("CONTEXT", ""), "".join(spaces))
    deploy(cluster, objects)
    say("the new version serves" if policies.services(objects) else "applied")


if __name__ == "__main__":
    with entry():
        main()
