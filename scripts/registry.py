"""Copy images to, within and from a registry by their digests; a tag comes last, if at all.

skopeo does it, in a container of deploy/release/Dockerfile, as does cosign: see sign.py. On a disk
an image is an OCI layout, a folder; its digest is that of its manifest, wherever it is. The
registry is asked as Docker's settings say (`docker login`); one on loopback by plain HTTP.
https://github.com/opencontainers/image-spec/blob/main/image-layout.md
https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path
from typing import Any

import base
import layout
from common import ROOT, die, say, step

TOOLS = "drydock-release-tools:latest"
# An index has the kind of its images, for some registries take no mixture.
INDEX = "application/vnd.oci.image.index.v1+json"
DOCKERS = "application/vnd.docker.distribution.manifest.v2+json"
LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
REFERENCE = re.compile(r"[\w.:-]+(/[a-z0-9._-]+)+@sha256:[0-9a-f]{64}", re.ASCII)
REPOSITORY = re.compile(r"[\w.:-]+(/[a-z0-9._-]+)+", re.ASCII)
TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
# What registries say to those who may not push.
FORBIDDEN = re.compile(r"denied|unauthorized|forbidden|authentication required", re.IGNORECASE)
# By these GitHub tells cosign how to get a certificate for the workflow.
PASSED_ON = ("ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN")


@functools.cache
def build_tools() -> None:
    """Build the image with the tools; the cache makes it cheap."""
    folder = ROOT / "deploy/release"
    command = ["docker", "build", "--provenance=false", "--tag", TOOLS, *base.build_options()]
    step("building the release's tools", [*command, str(folder)])


@functools.cache
def toolbox() -> str:
    """Start a container of the tools that ends with this process; return its name.

    One for all calls: to start another costs more than most of them.
    """
    build_tools()
    name, shared = f"drydock-tools-{uuid.uuid4().hex[:12]}", tempfile.gettempdir()
    options = ["--rm", "--interactive", "--name", name, "--network", "host"]
    options += ["--user", f"{os.getuid()}:{os.getgid()}", "--volume", f"{shared}:{shared}"]
    options += ["--tmpfs", "/home:mode=1777", "--env", "HOME=/home"]
    login = Path(os.environ.get("DOCKER_CONFIG", Path.home() / ".docker")) / "config.json"
    if login.is_file():
        options += ["--volume", f"{login}:/login/config.json:ro", "--env", "DOCKER_CONFIG=/login"]
        options += ["--env", "REGISTRY_AUTH_FILE=/login/config.json"]
    # It reads until nobody can write any more: also when this process is killed.
    process = subprocess.Popen(
        ["docker", "run", *options, TOOLS, "sh", "-c", "echo started; exec cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for this process, which may have to tidy up
    )
    atexit.register(process.communicate)
    assert process.stdout is not None
    if not process.stdout.readline():
        die("the tools of a release did not start; what the engine says is above")
    return name


def tool(folder: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run one of the tools with `folder` as its working directory, and keep what it prints.

    `folder` is below the one for temporary files, which the tools share.
    """
    # By name alone: a value would be seen in the list of processes.
    given = {name: os.environ[name] for name in PASSED_ON if name in os.environ} | variables
    options = [word for name in given for word in ("--env", name)]
    return subprocess.run(
        ["docker", "exec", "--workdir", str(folder), *options, toolbox(), *command],
        env={**os.environ, **given},
        capture_output=True,
        text=True,
        check=False,
    )


def reason(done: subprocess.CompletedProcess[str]) -> str:
    """Return what a failed tool says, as one line."""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("Error: ") or "level=fatal" in line]
    text = (errors or lines or [f"it ended with status {done.returncode}"])[-1]
    found = re.search(r'level=fatal msg="(.*)"$', text)
    return (found[1].replace('\\"', '"') if found else text).removeprefix("Error: ")[:400]


def is_loopback(reference: str) -> bool:
    """Whether a registry on this machine is meant, which speaks plain HTTP."""
    return re.match(r"(127\.0\.0\.1|localhost)[:/]", reference) is not None


def split(reference: str) -> tuple[str, str]:
    """Return `repository@sha256:...` as its repository and its digest, or end with one line."""
    if not REFERENCE.fullmatch(reference):
        die(f"{reference!r} is no image by its digest: registry.example/name@sha256:<64 digits>")
    repository, _, digest = reference.partition("@")
    return repository, digest


def checked(repository: str) -> str:
    """Return the repository's name as it is, or end with one line."""
    if not REPOSITORY.fullmatch(repository):
        die(f"REPOSITORY={repository}: expected registry.example/name, without a tag")
    return repository


def copy(folder: Path, source: str, target: str, *options: str) -> str | None:
    """Copy an image or an index; return why it could not be done, or None if it was."""
    for side, place in (("src", source), ("dest", target)):
        if place.startswith("docker://") and is_loopback(place.removeprefix("docker://")):
            options += (f"--{side}-tls-verify=false",)
    done = tool(folder, "skopeo", "copy", "--insecure-policy", "--quiet", *options, source, target)
    return reason(done) if done.returncode != 0 else None


def read(reference: str, folder: Path, *options: str) -> bytes:
    """Return what a registry has: a manifest or, with `--config`, a configuration."""
    if is_loopback(reference):
        options += ("--tls-verify=false",)
    done = tool(folder, "skopeo", "inspect", "--raw", *options, f"docker://{reference}")
    if done.returncode != 0:
        die(f"{reference} can't be read: {reason(done)}")
    return done.stdout.encode()


def digest_of(data: bytes) -> str:
    """Return what a registry knows these bytes by."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def save(image: str, folder: Path) -> Path:
    """Write an image of the engine below `folder` as an OCI layout; return the layout's folder.

    As the engine has it, with the same digest, if its store keeps layers compressed. Else they are
    compressed. The manifest's kind stays: from Docker's to OCI's own, skopeo drops HEALTHCHECK.
    """
    saved = layout.save(image, folder)
    found = layout.load(saved)
    if all(layer["mediaType"].endswith("gzip") for layer in found.manifest["layers"]):
        return saved
    if failed := copy(folder, "oci:saved", "oci:compressed"):
        die(f"{image} can't be compressed: {failed}")
    if layout.load(folder / "compressed").config != found.config:
        die(f"{image}: its configuration would be another one in the registry")
    return folder / "compressed"


def push(folder: Path, repository: str, *, optional: bool = False) -> str:
    """Push the OCI layout `folder` by its digest, without a tag; return the digest.

    Empty if the push is `optional` and the registry says that it is not allowed.
    """
    digest = layout.load(folder).digest
    target = f"docker://{checked(repository)}@{digest}"
    if failed := copy(folder, "oci:.", target, "--preserve-digests"):
        if optional and FORBIDDEN.search(failed):
            say(f"{repository} does not allow the push: {failed}")
            return ""
        die(f"{repository} does not take the image: {failed}; is it right, are you logged in?")
    return digest


def pull(reference: str, folder: Path) -> None:
    """Write the image of a registry as the OCI layout `folder`; each byte by its digest."""
    folder.mkdir()
    if failed := copy(folder, f"docker://{reference}", "oci:.", "--preserve-digests"):
        shutil.rmtree(folder)
        die(f"{reference} is not what its digest says, or can't be pulled: {failed}")


def platform_of(reference: str, folder: Path) -> dict[str, str]:
    """Return the platform that an image of a registry says it is for."""
    config = json.loads(read(reference, folder, "--config"))
    keys = ("architecture", "os", "variant")
    return {key: config[key] for key in keys if config.get(key)}


def join(repository: str, digests: list[str], folder: Path) -> str:
    """Push an index of these images of the repository, without a tag; return its digest.

    The order and the spaces are always the same, so the same images give the same index.
    """
    manifests: list[dict[str, Any]] = []
    for digest in digests:
        reference = f"{repository}@{digest}"
        manifest = read(reference, folder)
        manifests.append(
            {
                "mediaType": json.loads(manifest)["mediaType"],
                "digest": digest,
                "size": len(manifest),
                "platform": platform_of(reference, folder),
            }
        )
    manifests.sort(key=lambda each: json.dumps(each["platform"], sort_keys=True))
    platforms = [each["platform"] for each in manifests]
    if any(platforms.count(each) > 1 for each in platforms):
        die("two of the images are for the same platform; an index has one for each")
    kind = LIST if all(each["mediaType"] == DOCKERS for each in manifests) else INDEX
    index = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": manifests}).encode()
    digest = digest_of(index)
    # A layout that has nothing but the index: the images are in the registry already.
    place = folder / "index"
    (place / "blobs/sha256").mkdir(parents=True)
    (place / "blobs/sha256" / digest.removeprefix("sha256:")).write_bytes(index)
    (place / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    top = {"mediaType": kind, "digest": digest, "size": len(index)}
    (place / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [top]}))
    only = ("--multi-arch", "index-only", "--preserve-digests")
    if failed := copy(folder, "oci:index", f"docker://{repository}@{digest}", *only):
        die(f"{repository} does not take the index: {failed}")
    return digest


def images_in(reference: str, folder: Path) -> dict[str, dict[str, str]]:
    """Return the digests of an index's images, with the platform of each; of an image, its own.

    Ends with one line if the manifest is not what the digest says.
    """
    repository, digest = split(reference)
    manifest = read(reference, folder)
    if digest_of(manifest) != digest:
        die(f"{repository}: what it has as {digest} is something else")
    listed = json.loads(manifest)
    if "manifests" not in listed:
        return {digest: platform_of(reference, folder)}
    return {each["digest"]: each["platform"] for each in listed["manifests"]}


def check_tags(tags: list[str]) -> None:
    """End with one line if one of them can't be a tag."""
    for each in tags:
        if not TAG.fullmatch(each):
            die(f"TAGS: {each!r} is no tag; one has letters, digits, '.', '_' and '-'")


def tag(reference: str, tags: list[str], folder: Path) -> None:
    """Put the tags on what a repository has by a digest; nothing else is copied."""
    repository, _ = split(reference)
    only = ("--multi-arch", "index-only", "--preserve-digests")
    for each in tags:
        if failed := copy(folder, f"docker://{reference}", f"docker://{repository}:{each}", *only):
            die(f"{repository}:{each} was not put on: {failed}")
