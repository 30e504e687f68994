"""Run a command with a Kubernetes cluster: the one that $CONTEXT names, or else one made here.

By kind, where that is installed (https://kind.sigs.k8s.io): today's Kubernetes. Elsewhere it is
1.20, built from Debian's source package: scripts/cluster_node.py.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import cluster_node
from cluster_node import NAME
from common import capture, entry, step

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def by_kind() -> Iterator[Path]:
    """A cluster in a container of kind's, gone in the end: the path of its kubeconfig."""
    with tempfile.TemporaryDirectory(prefix="drydock-cluster-") as folder:
        file = Path(folder, "kubeconfig")
        options = ("--name", NAME, "--kubeconfig", str(file))
        try:
            step("making a cluster by kind", ["kind", "create", "cluster", "--wait=120s", *options])
            yield file
        finally:
            capture("kind", "delete", "cluster", *options)


def run(command: list[str], **variables: str) -> int:
    """Run the command and return its status; a Ctrl-C is for the command first."""
    with subprocess.Popen(command, env={**os.environ, **variables}) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue


def main() -> None:
    """Run the command with $CONTEXT, and $KUBECONFIG where the cluster is made here."""
    command = sys.argv[1:]
    if os.environ.get("CONTEXT"):
        raise SystemExit(run(command))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    made, context = cluster_node.built(os.environ["IMAGE"]), NAME
    if shutil.which("kind"):
        made, context = by_kind(), f"kind-{NAME}"
    with made as kubeconfig:
        status = run(command, KUBECONFIG=str(kubeconfig), CONTEXT=context)
    raise SystemExit(status)


if __name__ == "__main__":
    with entry():
        main()
