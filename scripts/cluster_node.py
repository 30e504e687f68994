"""Kubernetes 1.20 on this machine, with one node, on the engine that is there; gone in the end.

All its programs run as root and end with what is done in it. It has no network plugin, so pods get
addresses of Docker's own bridge, network policies are not enforced, and there is no DNS. Nothing
but this machine reaches it. scripts/cluster_build.py builds it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import cluster_build
from common import capture, die, output, say

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "drydock"  # of the context and the node
PAUSE = "drydock-cluster-pause"  # what holds a pod's network: it waits, and ends on SIGTERM
SECONDS = 90  # in which all has to be ready
# By the kubelet of every pod's container; two kubelets on one engine would remove each other's.
PODS = "label=io.kubernetes.pod.uid"
PROFILES = Path("/var/lib/kubelet/seccomp")  # where nodes have them, and node-profile puts one
# What kube-proxy sets, of the whole machine.
KERNEL = (
    "net/ipv4/conf/all/route_localnet",
    "net/bridge/bridge-nf-call-iptables",
    "net/netfilter/nf_conntrack_tcp_timeout_established",
    "net/netfilter/nf_conntrack_tcp_timeout_close_wait",
)
WAIT = "import signal, sys; signal.signal(15, lambda *_: sys.exit()); signal.pause()"


@dataclasses.dataclass
class Node:
    """What a cluster of one node runs with."""

    folder: Path
    address: str  # Docker's bridge, where the pods are
    programs: Path
    running: list[subprocess.Popen[bytes]] = dataclasses.field(default_factory=list)

    @property
    def kubeconfig(self) -> Path:
        """The file for all who talk to the cluster."""
        return self.folder / "kubeconfig"

    def start(self, program: str, *options: str) -> None:
        """Start one of the programs, in a session of its own; its log is in the folder."""
        with (self.folder / f"{Path(program).name}.log").open("wb") as log:
            process = subprocess.Popen(
                [program, *options],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.running.append(process)

    def check(self) -> None:
        """End with the last lines of a program that has ended."""
        for process in self.running:
            if process.poll() is not None:
                name = Path(str(process.args[0])).name  # type: ignore[index]
                lines = (self.folder / f"{name}.log").read_text(errors="replace").splitlines()
                die("\n".join([f"{name} ended with {process.returncode}:", *lines[-10:]]))

    def kubectl(self, *arguments: str) -> str | None:
        """What kubectl prints; None if it fails."""
        program = Path(sys.executable).with_name("kubectl")
        return output(str(program), f"--kubeconfig={self.kubeconfig}", *arguments)


def free_port(address: str) -> int:
    """A TCP port that nobody listens on."""
    with socket.create_server((address, 0)) as server:
        port: int = server.getsockname()[1]
        return port


def write_keys(node: Node) -> str:
    """Make the keys of the cluster's parts; return the token of its one user."""
    request = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2")
    for name in ("client", "accounts"):
        files = ("-keyout", f"{node.folder}/{name}.key", "-out", f"{node.folder}/{name}.crt")
        done = capture(*request, *files, "-subj", f"/CN={name}")
        if done.returncode != 0:
            die(f"no keys can be made: {done.stderr.strip()}")
    token = secrets.token_hex(16)
    (node.folder / "tokens").write_text(f"{token},admin,admin,system:masters\n")
    return token


def write_kubeconfig(node: Node, port: int, token: str) -> None:
    """Write how to reach the API. Its certificate is made at its start, by itself."""
    server = {"server": f"https://{node.address}:{port}", "insecure-skip-tls-verify": True}
    text = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": NAME, "cluster": server}],
        "users": [{"name": NAME, "user": {"token": token}}],
        "contexts": [{"name": NAME, "context": {"cluster": NAME, "user": NAME}}],
        "current-context": NAME,
    }
    node.kubeconfig.write_text(json.dumps(text))
    node.kubeconfig.chmod(0o600)


def write_kubelet_config(node: Node) -> Path:
    """Write what a kubelet has to be told that shares the machine and its engine with others."""
    text = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": node.address,
        "port": free_port(node.address),
        "healthzPort": 0,
        "cgroupDriver": output("docker", "info", "--format", "{{.CgroupDriver}}"),
        "failSwapOn": False,
        "oomScoreAdj": 0,
        # Or it would remove images of the engine that are not its own.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "50Mi"},
        "authentication": {
            "x509": {"clientCAFile": f"{node.folder}/client.crt"},
            "anonymous": {"enabled": False},
            "webhook": {"enabled": False},
        },
        "authorization": {"mode": "AlwaysAllow"},
    }
    file = node.folder / "kubelet.json"
    file.write_text(json.dumps(text))
    return file


def start_control_plane(node: Node) -> None:
    """Start the store, the API and what acts on it."""
    token = write_keys(node)
    store, peers = (f"http://127.0.0.1:{free_port('127.0.0.1')}" for _ in range(2))
    port = free_port(node.address)
    write_kubeconfig(node, port, token)
    node.start(
        "etcd",
        *(f"--data-dir={node.folder}/etcd", f"--listen-client-urls={store}"),
        *(f"--advertise-client-urls={store}", f"--listen-peer-urls={peers}"),
        "--unsafe-no-fsync",
    )
    node.start(
        f"{node.programs}/kube-apiserver",
        *(f"--etcd-servers={store}", f"--secure-port={port}", "--insecure-port=0"),
        *(f"--bind-address={node.address}", f"--advertise-address={node.address}"),
        *(f"--cert-dir={node.folder}", f"--token-auth-file={node.folder}/tokens"),
        *("--authorization-mode=RBAC", "--service-cluster-ip-range=10.96.0.0/16"),
        *("--service-account-issuer=https://kubernetes.default.svc",),
        f"--service-account-key-file={node.folder}/accounts.key",
        f"--service-account-signing-key-file={node.folder}/accounts.key",
        "--kubelet-preferred-address-types=InternalIP",
        f"--kubelet-client-certificate={node.folder}/client.crt",
        f"--kubelet-client-key={node.folder}/client.key",
    )
    wait(node, "the API", "get", "--raw=/readyz")
    for name in ("kube-controller-manager", "kube-scheduler"):
        more = [f"--service-account-private-key-file={node.folder}/accounts.key"]
        node.start(
            f"{node.programs}/{name}",
            *(f"--kubeconfig={node.kubeconfig}", "--leader-elect=false"),
            *("--port=0", "--secure-port=0", *(more if "controller" in name else [])),
        )


def start_node(node: Node) -> None:
    """Start what runs pods, and what leads to them."""
    node.start(
        f"{node.programs}/kubelet",
        *(f"--config={write_kubelet_config(node)}", f"--kubeconfig={node.kubeconfig}"),
        *(f"--hostname-override={NAME}", f"--node-ip={node.address}"),
        *(f"--root-dir={node.folder}/kubelet", f"--cert-dir={node.folder}"),
        *(f"--pod-infra-container-image={PAUSE}", f"--seccomp-profile-root={PROFILES}"),
    )
    node.start(
        f"{node.programs}/kube-proxy",
        *(f"--kubeconfig={node.kubeconfig}", f"--hostname-override={NAME}"),
        *("--proxy-mode=iptables", "--conntrack-max-per-core=0", "--oom-score-adj=0"),
        *("--healthz-bind-address=", f"--metrics-bind-address=127.0.0.1:{free_port('127.0.0.1')}"),
    )
    wait(node, "the node", "wait", "--for=condition=Ready", f"node/{NAME}", "--timeout=1s")


def wait(node: Node, what: str, *command: str) -> None:
    """Wait until a command of kubectl succeeds."""
    say(f"waiting for {what} ...")
    deadline = time.monotonic() + SECONDS
    while node.kubectl(*command) is None:
        node.check()
        if time.monotonic() > deadline:
            die(f"{what} is not ready after {SECONDS} s; the logs are in {node.folder}")
        time.sleep(0.5)


def stop(node: Node) -> None:
    """End all programs, and take back what they did to this machine."""
    for process in reversed(node.running):
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()
    capture(f"{node.programs}/kube-proxy", "--cleanup")
    if left := (output("docker", "ps", "--all", "--quiet", "--filter", PODS) or "").split():
        capture("docker", "rm", "--force", "--volumes", *left)
    capture("docker", "image", "rm", PAUSE)
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted(mounts, reverse=True):
        if mount.startswith(f"{node.folder}/"):
            capture("umount", mount)
    shutil.rmtree(PROFILES / NAME, ignore_errors=True)


@contextlib.contextmanager
def kernel_as_it_was() -> Iterator[None]:
    """Put back what kube-proxy sets of the whole machine."""
    files = [file for file in (Path("/proc/sys", name) for name in KERNEL) if file.exists()]
    before = {file: file.read_text() for file in files}
    try:
        yield
    finally:
        for file, value in before.items():
            file.write_text(value)


def build_pause(image: str) -> None:
    """Build what holds a pod's network, from the service's image, which has a Python."""
    words = json.dumps(["python3", "-c", WAIT])
    text = f"FROM {image}\nENTRYPOINT {words}\nHEALTHCHECK NONE\n"
    command = ["docker", "build", "--quiet", "--provenance=false", "--tag", PAUSE, "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        die(f"{PAUSE} can't be built from {image}: {done.stderr.strip()}")


@contextlib.contextmanager
def built(image: str) -> Iterator[Path]:
    """A cluster of this machine's own, gone in the end: the path of its kubeconfig."""
    programs = cluster_build.programs()
    if os.geteuid() != 0:
        die("a cluster here needs root; name another one: CONTEXT=...")
    if output("docker", "ps", "--all", "--quiet", "--filter", PODS):
        die("this engine has a cluster's pods already; name that cluster: CONTEXT=...")
    address = output(
        "docker", "network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}"
    )
    if not address:
        die("the engine has no network `bridge`, where the pods would be")
    build_pause(image)
    with tempfile.TemporaryDirectory(prefix="drydock-cluster-") as folder, kernel_as_it_was():
        node = Node(Path(folder), address, programs)
        try:
            start_control_plane(node)
            start_node(node)
            say(f"a cluster of Kubernetes 1.20 runs: KUBECONFIG={node.kubeconfig}")
            yield node.kubeconfig
        finally:
            stop(node)
