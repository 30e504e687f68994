"""Say how an image was built, as SLSA's provenance does: docs/verify.md explains each field.

https://slsa.dev/spec/v1.1/provenance
"""

from __future__ import annotations

import hashlib
import os
import re
from typing import Any

import base
from common import ROOT, output

BUILD_TYPE = "urn:drydock:make-image:v1"  # of our own: a name, not an address
LABEL = "org.opencontainers.image."


def invocation() -> str:
    """Return the address of the run on GitHub; empty elsewhere."""
    names = ("SERVER_URL", "REPOSITORY", "RUN_ID", "RUN_ATTEMPT")
    server, repository, run, attempt = (os.environ.get(f"GITHUB_{name}", "") for name in names)
    return f"{server}/{repository}/actions/runs/{run}/attempts/{attempt}" if run else ""


def dependencies(source: str, revision: str, architecture: str) -> list[dict[str, Any]]:
    """Return what the build took, each with its digest; Debian's packages are in the SBOM."""
    name, _, digest = base.taken_for(architecture).partition("@")
    if not digest:  # a stand-in
        digest = output("docker", "image", "inspect", "--format", "{{.Id}}", name) or ""
    taken: list[dict[str, Any]] = [
        {"uri": f"docker://{name}", "digest": {"sha256": digest.removeprefix("sha256:")}}
    ]
    optional = re.sub("#.*", "", (ROOT / "requirements/optional.list").read_text()).split()
    for name in ("runtime", "build", "driver", *optional):
        file = ROOT / "requirements" / f"{name}.txt"
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        taken.append({"name": f"requirements/{name}.txt", "digest": {"sha256": digest}})
    commit = revision.removesuffix("-dirty")
    if commit:
        taken.append({"uri": f"git+{source}@{commit}", "digest": {"gitCommit": commit}})
    return taken


def predicate(config: dict[str, Any], identity: str) -> dict[str, Any]:
    """Return the provenance of the image with this configuration, built by `identity`."""
    labels = config["config"].get("Labels") or {}
    source, revision = (labels.get(LABEL + name, "") for name in ("source", "revision"))
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "source": source,
                "revision": revision,
                "version": labels.get(LABEL + "version", ""),
                "platform": f"{config['os']}/{config['architecture']}",
                "snapshot": labels.get("org.debian.snapshot", ""),
            },
            "resolvedDependencies": dependencies(source, revision, config["architecture"]),
        },
        "runDetails": {
            "builder": {"id": identity},
            "metadata": {"invocationId": invocation()},
        },
    }
