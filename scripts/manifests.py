"""Render what Kubernetes is to be told, and check it: by strict schemas, and by policies.py.

Without arguments each overlay in deploy/kubernetes is checked, the components and the profile for
nodes as well; nothing is applied, and no cluster is needed. kubectl renders: it has kustomize.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

import policies
from common import ROOT, die, entry, say

FOLDER = ROOT / "deploy/kubernetes"
SCHEMAS = FOLDER / "schemas"  # of what is not Kubernetes' own
NODES = FOLDER / "node-profile"  # may do to nodes what no other pod may
KUBECTL = Path(sys.executable).with_name("kubectl")
IMAGE = re.compile(r"[\w.:/-]+@sha256:[0-9a-f]{64}", re.ASCII)
Thing = dict[str, Any]


def render(folder: Path) -> list[Thing]:
    """The objects of a kustomization; ends with one line if it can't be rendered.

    The profile for nodes reads a file that is above its folder, hence the option.
    """
    command = [str(KUBECTL), "kustomize", "--load-restrictor=LoadRestrictionsNone", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        die(f"{folder} can't be rendered: {' '.join(done.stderr.split()).removeprefix('error: ')}")
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def with_component(folder: Path, *components: Path) -> list[Thing]:
    """The same with components that it does not name."""
    with tempfile.TemporaryDirectory() as work:
        top = Path(work).resolve()  # kustomize takes relative paths alone

        def relative(path: Path) -> str:
            return str(Path(*[".."] * (len(top.parts) - 1), *path.resolve().parts[1:]))

        text = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [relative(folder)],
            "components": [relative(each) for each in components],
        }
        (top / "kustomization.yaml").write_text(json.dumps(text))
        return render(top)


def with_image(objects: list[Thing], image: str) -> list[Thing]:
    """The objects with `image` in place of what their containers named `app` have."""
    for pod in policies.pods(objects):
        for container in pod.containers:
            if container["name"] == "app":
                container["image"] = image
    return objects


def invalid(objects: list[Thing]) -> list[str]:
    """What is not as the API's schemas say: an unknown field, for one, is not ignored."""
    found = []
    for each in objects:
        name = f"{each['kind']} {each['metadata']['name']}"
        schema = SCHEMAS / f"{each['kind']}.json"
        try:
            if schema.exists():
                jsonschema.validate(each, json.loads(schema.read_text()))
            else:
                kubernetes_validate.validate(each, "1.37", strict=True)
        except (jsonschema.ValidationError, kubernetes_validate.ValidationError) as error:
            where = ".".join(str(part) for part in error.path)
            found.append(f"{name}: {where}: {error.message}")
        except kubernetes_validate.SchemaNotFoundError:
            found.append(f"{name}: Kubernetes 1.37 has no {each['apiVersion']} of it")
    return found


def problems(objects: list[Thing]) -> list[str]:
    """All that is wrong with the objects."""
    return [*invalid(objects), *policies.breaches(objects)]


def main() -> None:
    """Check each overlay; status 1 with a line for each thing that is wrong."""
    wrong = []
    overlays = sorted(file.parent for file in FOLDER.glob("overlays/*/kustomization.yaml"))
    for folder in overlays:
        name = folder.relative_to(ROOT)
        wrong += [f"{name}: {each}" for each in problems(render(folder))]
    wrong += [f"{NODES.relative_to(ROOT)}: {each}" for each in invalid(render(NODES))]
    if wrong:
        die("\n".join(wrong))
    say(f"{len(overlays)} overlays of deploy/kubernetes are as they should be")


if __name__ == "__main__":
    with entry():
        main()
