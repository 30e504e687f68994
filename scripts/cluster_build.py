"""Build Kubernetes from Debian's source package, for a cluster on this machine: scripts/cluster.py.

Debian 12 has the whole upstream tree of 1.20, with all that it depends on, and a Go that compiles
it: some 4 minutes on 2 cores. The programs are kept in a cache folder and not built again.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from common import announce, apt_get, capture, die, entry, may_install, output, say, step

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "drydock/kubernetes"
PROGRAMS = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
)
PACKAGES = ("golang-go", "etcd-server", "conntrack", "iptables", "iproute2")
TREE = CACHE / "go/src/k8s.io/kubernetes"
# Pods of the old kubelet ask for a negative OOM score, which a machine without CAP_SYS_RESOURCE in
# its first namespace can't give: there no pod starts.
SCORES = {
    "pkg/kubelet/dockershim/docker_sandbox.go": r"(defaultSandboxOOMAdj int = )-\d+",
    "pkg/kubelet/qos/policy.go": r"(guaranteedOOMScoreAdj int = )-\d+",
}
# Which kubectl asks for.
BASE = "k8s.io/kubernetes/vendor/k8s.io/component-base/version"
VERSION = f"-s -X {BASE}.gitVersion=v1.20.2"
# How the tree's own Makefile calls the generator of the one file that it lacks.
GENERATED = "k8s.io/kubernetes/pkg/generated/openapi"
GENERATOR = (
    *("--go-header-file", "hack/boilerplate/boilerplate.generatego.txt"),
    *("--output-file-base", "zz_generated.openapi", "--output-package", GENERATED),
    *("--output-base", str(CACHE / "go/src"), "--report-filename", os.devnull),
)


def install() -> None:
    """Install the compiler, etcd and what kube-proxy calls, from Debian's packages."""
    missing = [
        package
        for package in PACKAGES
        if "ok installed" not in (output("dpkg-query", "-Wf", "${Status}", package) or "")
    ]
    if not missing:
        return
    if not may_install():
        die(f"a cluster here needs {' '.join(missing)}: run this as root, or name a CONTEXT")
    announce(" ".join(missing), "no CONTEXT names a cluster, so one is made here")
    apt_get("reading the package lists", "update")
    apt_get(f"installing {' '.join(missing)}", "install", *missing)


def download(folder: Path) -> Path:
    """Download the source package, as apt trusts it; the machine's own sources stay as they are."""
    listed = output("apt-get", "indextargets", "--format", "$(REPO_URI)") or ""
    addresses = [each for each in listed.split() if re.search(r"/debian/?$", each)]
    if not addresses:
        die("a cluster is built from Debian's source package, and apt knows no archive of Debian")
    lists = folder / "lists"
    lists.mkdir(parents=True, exist_ok=True)
    source = folder / "source.list"
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    source.write_text(f"deb-src [signed-by={keyring}] {addresses[0]} bookworm main\n")
    options = (
        f"-oDir::Etc::SourceList={source}",
        "-oDir::Etc::SourceParts=-",
        f"-oDir::State::Lists={lists}",
        "-oAPT::Sandbox::User=root",  # its own user could not write here
    )
    apt_get("reading the list of Debian 12's sources", *options, "update")
    here = Path.cwd()
    os.chdir(folder)
    try:
        title = "downloading the source of Kubernetes"
        apt_get(title, *options, "source", "--download-only", "kubernetes")
    finally:
        os.chdir(here)
    return next(folder.glob("kubernetes_*.orig.tar.*"))


def unpack() -> None:
    """Unpack the tree where Go, without modules, looks for it."""
    folder = CACHE / "download"
    folder.mkdir(parents=True, exist_ok=True)
    archive = download(folder)
    unpacked = CACHE / "unpacked"
    shutil.rmtree(unpacked, ignore_errors=True)
    unpacked.mkdir()
    step(
        "unpacking it",
        ["tar", "-xf", str(archive), "-C", str(unpacked), "--strip-components=1"],
    )
    for name, pattern in SCORES.items():
        file = unpacked / name
        text, changed = re.subn(pattern, r"\g<1>0", file.read_text())
        if changed != 1:
            die(f"{name} has no {pattern}: another version than 1.20?")
        file.write_text(text)
    TREE.parent.mkdir(parents=True, exist_ok=True)
    unpacked.rename(TREE)
    shutil.rmtree(folder)


def go(*arguments: str) -> None:
    """Run the compiler on the tree, offline."""
    variables = {
        "GOPATH": str(CACHE / "go"),
        "GOCACHE": str(CACHE / "objects"),
        "GO111MODULE": "off",
        "CGO_ENABLED": "0",
    }
    # Without what clouds' own nodes need: a third of the time.
    options = ("-tags=providerless", f"-ldflags={VERSION}", "-o", f"{CACHE}/bin/")
    command = ["go", "build", *options, *arguments]
    step(f"compiling {Path(arguments[-1]).name}", ["env", "-C", str(TREE), *command], variables)


def generate() -> None:
    """Write the description of the API that kube-apiserver is compiled with."""
    go("./vendor/k8s.io/kube-openapi/cmd/openapi-gen")
    # Not by way of the links in vendor/k8s.io, which lead to staging/.
    found = capture("grep", "-rlE", r"\+k8s:openapi-gen=", "--include=*.go", str(TREE))
    folders = {Path(name).parent.relative_to(TREE) for name in found.stdout.splitlines()}
    staging = Path("staging/src")
    packages = sorted(
        f"k8s.io/kubernetes/vendor/{folder.relative_to(staging)}"
        if folder.is_relative_to(staging)
        else f"k8s.io/kubernetes/{folder}"
        for folder in folders
        if "kube-openapi" not in folder.parts
    )
    program = CACHE / "bin/openapi-gen"
    variables = {"GOPATH": str(CACHE / "go"), "GO111MODULE": "off"}
    command = [str(program), *GENERATOR, "--input-dirs", ",".join(packages)]
    step("generating its API", ["env", "-C", str(TREE), *command], variables)
    program.unlink()


def programs() -> Path:
    """Return the folder with the programs, built if they are not there yet.

    What was interrupted goes on where it was.
    """
    install()
    missing = [name for name in PROGRAMS if not (CACHE / "bin" / name).exists()]
    if missing:
        if not TREE.exists():
            unpack()
        if not (CACHE / "go/src" / GENERATED / "zz_generated.openapi.go").exists():
            generate()
        for name in missing:
            go(f"./cmd/{name}")
        for name in ("go", "objects"):
            shutil.rmtree(CACHE / name)
    version = output(str(CACHE / "bin/kubelet"), "--version")
    if version is None:
        die(f"{CACHE} holds no working kubelet; remove the folder")
    return CACHE / "bin"


if __name__ == "__main__":
    with entry():
        say(f"Kubernetes is in {programs()}")
