"""Build, measure and push the image.

The image's name is $IMAGE; its tag tells another PLATFORM. What its labels say comes from
pyproject.toml and git.
"""

from __future__ import annotations

import argparse
import datetime
import gzip
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zlib
from pathlib import Path
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any

import base
import emulation
import engine
import registry
import stand_ins
from common import ROOT, die, entry, output, say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TARGETS = ("runtime", "test", "dev", "debug")  # of the Dockerfile
PEERS = ("peers", "slim")  # of bench/peers/Dockerfile
SWARM_NODE = "drydock-swarm-node"  # of tests/swarm-node.Dockerfile

# What a failed build's output says, and what that means to the one who typed the command.
DIAGNOSES = {
    r"DO NOT MATCH THE HASHES": "a dependency's hash does not match its lock in requirements/: "
    "never install it; if the lock was edited by hand, run `make lock`",
    r"Hashes are required in|all requirements must have their versions pinned": "a lock in "
    "requirements/ lacks a version or a hash; run `make lock`",
    r"which is not installed\.$|but you have ": "a lock in requirements/ does not fit "
    "pyproject.toml; run `make lock`",
    r"Could not open requirements file": "requirements/optional.list names what is no lock: a"
    " name in it is one of a file in requirements/, without .txt, as `tracing`",
    r"No matching distribution found|Could not find a version that satisfies": "the index of Python"
    " packages no longer has what a lock in requirements/ names; run `make upgrade`",
    r"E: Unable to locate package|has no installation candidate": "Debian's archive has no package"
    " of a name that the Dockerfile or requirements/debian.list has: correct it; that of another"
    " Debian's Python is at the Dockerfile's top",
    r"no dated archive in /etc/apt": "DEBIAN_SNAPSHOT is set, but this base does not name Debian's"
    " dated archive: the official base does, its stand-in does not",
    r"archive/\S+/\d{8}T\d{6}Z \S+ Release' does not have a Release file": "Debian's dated archive"
    " has nothing of the moment in DEBIAN_SNAPSHOT: name another one",
    r"Temporary failure|Could not resolve|Failed to resolve|Could not connect|no such host|"
    r"Failed to establish a new connection|Network is unreachable|i/o timeout": "no network: "
    "Debian's or Python's package archive can't be reached from the build",
    r"CERTIFICATE_VERIFY_FAILED": "a proxy inspects TLS here: name its certificates' file in "
    "SSL_CERT_FILE",
}


def checked(image: str, variable: str) -> str:
    """The image's name with its tag; `variable` is who named it, for the error.

    Always with a tag: without one, `docker save` takes all the tags there are.
    """
    if not re.fullmatch(r"[a-z0-9][\w./:-]*(@sha256:[0-9a-f]{64})?", image, re.ASCII):
        die(
            f"{variable}={image!r} is no image name; one looks like"
            f" {variable}=registry.example/name:tag"
        )
    return image if ":" in image.rpartition("/")[2] else f"{image}:latest"


def name(target: str = "runtime") -> str:
    """$IMAGE with its tag, which tells another target than `runtime` and another platform."""
    image = checked(os.environ.get("IMAGE", ""), "IMAGE")
    told = (target if target != "runtime" else "", emulation.architecture())
    return "-".join([image, *filter(None, told)])


def peer(target: str) -> str:
    """The name of an image that `make bench` measures this one beside."""
    return f"drydock-bench-{target}:latest"


def git(*arguments: str) -> str:
    """What git prints in this checkout; empty where there is no git or no checkout."""
    return output("git", "-C", str(ROOT), *arguments) or ""


def sources_time() -> int | None:
    """When the sources were last changed, in seconds since 1970; None if nobody can know.

    The commit's time or, where something is not committed, that file's: the same sources always
    give the same image.
    """
    committed = git("log", "-1", "--format=%ct")
    changed = git("ls-files", "--modified", "--others", "--exclude-standard").splitlines()
    times = [int((ROOT / file).stat().st_mtime) for file in changed if (ROOT / file).exists()]
    return max([int(committed), *times]) if committed else None


def source_address() -> str:
    """Where the sources are published, from git's remote; without the credentials it may hold."""
    remote = git("remote", "get-url", "origin").removesuffix(".git")
    remote = re.sub(r"^ssh://git@([^:/]+)(?::\d+)?/", r"https://\1/", remote)
    remote = re.sub(r"^git@([^:/]+):", r"https://\1/", remote)
    remote = re.sub(r"^(https?://)[^/@]*@", r"\1", remote)
    return remote if remote.startswith(("https://", "http://")) else ""


def build_arguments() -> dict[str, str]:
    """What the Dockerfile's ARG lines take; an unknown value is empty."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text()).get("project", {})
    revision = git("rev-parse", "--verify", "HEAD")
    changed = git("status", "--porcelain")
    seconds = sources_time()
    arguments = {
        "TITLE": project.get("name", ""),
        "VERSION": project.get("version", ""),
        "LICENSES": project.get("license", ""),
        "REVISION": revision + ("-dirty" if revision and changed else ""),
        "SOURCE": source_address(),
        "DEBIAN_SNAPSHOT": base.snapshot(),
    }
    if seconds is not None:
        created = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
        arguments["CREATED"] = created.isoformat().replace("+00:00", "Z")
        # BuildKit's own: the times in the image's history, so that two builds agree.
        arguments["SOURCE_DATE_EPOCH"] = str(seconds)
    return arguments


def secrets() -> list[str]:
    """The certificates of a proxy that inspects TLS, where the environment names some."""
    bundle = os.environ.get("SSL_CERT_FILE")
    return ["--secret", f"id=ca,src={bundle}"] if bundle else []


def command(target: str, tag: str, context: Path = ROOT) -> list[str]:
    """The command that builds `target` of the sources in `context` as the image `tag`."""
    options = list(base.build_options())
    for key, value in build_arguments().items():
        options += ["--build-arg", f"{key}={value}"]
    options += secrets()
    # `docker build` uses the engine's own builder, whichever is selected for buildx: only that one
    # sees the stand-in among the engine's images.
    words = ["docker", "build", "--progress=plain", "--provenance=false"]
    if architecture := emulation.architecture():
        words += ["--platform", f"linux/{architecture}"]
    return [*words, "--target", target, "--tag", tag, *options, str(context)]


def run(
    command: Sequence[str], tag: str, options: Mapping[str, Any] = MappingProxyType({})
) -> list[str]:
    """Run a build of the image `tag`, showing one line for each step that does work.

    Returns the lines of its output; ends with one line and status 1 if it fails. `options` are
    those of subprocess.Popen: as which user it runs, for one.
    """
    say(f"building {tag} ...")
    log: list[str] = []
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        **options,
    ) as process:
        assert process.stdout is not None
        show_progress(process.stdout, log)
    if process.returncode != 0:
        sys.stderr.writelines(f"    {line}" for line in log[-25:])
        text = "".join(log)
        for pattern, meaning in DIAGNOSES.items():
            if re.search(pattern, text, re.MULTILINE):
                die(meaning)
        die(f"the build of {tag} failed; the end of its output is above")
    return log


def build(target: str, *, fresh: bool = False) -> None:
    """Build `target` as the image $IMAGE.

    A `fresh` build takes nothing from the cache of layers, which keeps Debian's packages as they
    were when it was filled; later builds take theirs from this one.
    """
    if "@" in name():
        die(f"{name()} names a digest, which no build can promise; name a tag")
    base.snapshot()  # what is wrong with it is said before an engine is started
    architecture = emulation.architecture()
    engine.main()
    if architecture:
        emulation.start(architecture)
    words = command(target, name(target))
    run([*words, *(["--no-cache"] if fresh else [])], name(target))


def show_progress(lines: IO[str], log: list[str]) -> None:
    """Show the title of each step that is not cached, when it starts to print or ends."""
    titles: dict[str, str] = {}
    shown: set[str] = set()
    for line in lines:
        log.append(line)
        number, _, text = line.partition(" ")
        if number in shown:
            continue
        if text.startswith("[") and not text.startswith(("[internal]", "[context")):
            titles[number] = " ".join(text.split())
        elif text.startswith("CACHED"):
            titles.pop(number, None)
        elif title := titles.get(number):
            shown.add(number)
            print(f"    {title[:96]}", file=sys.stderr, flush=True)


def sizes(image: str) -> list[tuple[int, int]]:
    """The image's layers, as (compressed, unpacked) bytes each."""
    layers = []
    with tempfile.TemporaryFile() as file:
        subprocess.run(["docker", "save", image], stdout=file, check=True)
        file.seek(0)
        with tarfile.open(fileobj=file) as archive:
            manifest = archive.extractfile("manifest.json")
            assert manifest is not None
            for layer in json.load(manifest)[0]["Layers"]:
                blob = archive.extractfile(layer)
                assert blob is not None
                data = blob.read()
                # One kind of image store keeps layers compressed, the other does not.
                if data[:2] == b"\x1f\x8b":
                    compressed, data = len(data), zlib.decompress(data, 31)
                else:
                    compressed = len(gzip.compress(data, 6))
                layers.append((compressed, len(data)))
    return layers


def report() -> None:
    """Print the image's size, as a registry stores it and as a host unpacks it."""
    layers = sizes(name())
    compressed, unpacked = (sum(column) / 1e6 for column in zip(*layers, strict=True))
    project = layers[-1][0] / 1e3
    print(
        f"{name()}: {compressed:.1f} MB compressed, {unpacked:.1f} MB unpacked,"
        f" of which a code change replaces {project:.0f} kB"
    )


def is_here(image: str = "") -> bool:
    """Whether the engine has the image; by default $IMAGE."""
    image = image or name()
    return output("docker", "image", "inspect", image) is not None


def find(image: str = "") -> None:
    """Get an image that exists already, by default $IMAGE: the engine's own, else a pulled one.

    It is not built: the contract has to be proved of this image, not of a new one.
    """
    engine.main()
    image = image or name()
    if is_here(image):
        return
    say(f"pulling {image} ...")
    if output("docker", "pull", "--quiet", image) is None:
        die(f"there is no image {image} here, nor can it be pulled; `make image` builds one")


def save(file: Path) -> None:
    """Keep the image in a file, as `docker load` reads it."""
    engine.main()
    if not is_here():
        build("runtime")
    if output("docker", "save", "--output", str(file), name()) is None:
        die(f"{name()} was not saved to {file}; can the file be written?")
    say(f"saved {name()} to {file}")


def push(file: Path | None) -> None:
    """Push the image and print the digest that it is pulled by; `file` is one that `save` made."""
    engine.main()
    if file is None:
        if not is_here():
            build("runtime")
    else:
        loaded = output("docker", "load", "--quiet", "--input", str(file))
        if loaded is None:
            die(f"{file} holds no image that can be loaded")
        output("docker", "tag", loaded.rpartition(": ")[2], name())
    if subprocess.run(["docker", "push", name()], check=False).returncode != 0:
        die(f"{name()} was not pushed; is IMAGE=registry/name:tag right, and are you logged in?")


def remove() -> None:
    """Remove the images that `build` made, and all stand-ins."""
    stand_ins.remove_link()
    bases = output("docker", "image", "ls", "--quiet", base.STAND_IN) or ""
    stood_in = {*map(stand_ins.stand_in, stand_ins.STACK | stand_ins.MONITORING)}
    made = (*map(name, TARGETS), *map(peer, PEERS), *stood_in)
    for image in (*made, registry.TOOLS, SWARM_NODE, *bases.split()):
        if is_here(image):
            output("docker", "image", "rm", "--force", image)
            say(f"removed the image {image}")


def main() -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    builder = verbs.add_parser("build")
    builder.add_argument("--target", default="runtime", choices=TARGETS)
    builder.add_argument("--fresh", action="store_true", help="take nothing from the cache")
    verbs.add_parser("find")
    verbs.add_parser("save").add_argument("file", type=Path, nargs="?")
    verbs.add_parser("push").add_argument("file", type=Path, nargs="?")
    verbs.add_parser("remove")
    arguments = parser.parse_args()
    if arguments.verb == "build":
        build(arguments.target, fresh=arguments.fresh)
        if arguments.target == "runtime":
            report()
        else:
            print(name(arguments.target))
    elif arguments.verb == "find":
        find()
    elif arguments.verb == "save":
        if arguments.file is None:
            die("name the file to save to: make save FILE=image.tar")
        save(arguments.file)
    elif arguments.verb == "push":
        push(arguments.file)
    else:
        remove()


if __name__ == "__main__":
    with entry():
        main()
