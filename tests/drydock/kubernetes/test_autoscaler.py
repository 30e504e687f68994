"""The autoscaler, with figures from the kubelet: more load gets more pods."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import metrics_api
import policies
from common import ROOT
from containers import docker, eventually
from processes import running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clusters import Deployed

API = {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService"}
GROUP, VERSION = metrics_api.VERSION.split("/")
NAME = "figures"
# Of a request of 250m: below what a pod uses under load, above what it uses without.
TARGET = 40


@contextlib.contextmanager
def served(service: Deployed, folder: Path) -> Iterator[None]:
    """The API of the metrics, on this machine, and known to the cluster."""
    file = folder / "certificate.pem"
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={NAME}"]
    files = ["-keyout", f"{folder}/key.pem", "-out", f"{folder}/crt.pem"]
    subprocess.run([*request, *files], check=True, capture_output=True)
    file.write_text((folder / "key.pem").read_text() + (folder / "crt.pem").read_text())
    gateway = "{{(index .IPAM.Config 0).Gateway}}"
    networks = docker("network", "inspect", service.where.network, "--format", gateway)
    address = networks.stdout.split()[0]
    program = str(Path(metrics_api.__file__))
    command = [sys.executable, program, service.where.context, address, str(file)]
    with running(
        command,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT / "scripts")},
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        about = {"name": NAME}
        ports = [{"port": 443, "targetPort": port}]
        found = {"ip": address}
        objects = [
            {"apiVersion": "v1", "kind": "Service", "metadata": about, "spec": {"ports": ports}},
            {
                "apiVersion": "v1",
                "kind": "Endpoints",
                "metadata": about,
                "subsets": [{"addresses": [found], "ports": [{"port": port}]}],
            },
            {
                **API,
                "metadata": {"name": f"{VERSION}.{GROUP}"},
                "spec": {
                    "group": GROUP,
                    "version": VERSION,
                    "service": {"name": NAME, "namespace": service.namespace},
                    "insecureSkipTLSVerify": True,
                    "groupPriorityMinimum": 100,
                    "versionPriority": 100,
                },
            },
        ]
        listed = {"apiVersion": "v1", "kind": "List", "items": objects}
        try:
            service.kubectl("apply", "--filename=-", text=json.dumps(listed))
            yield
        finally:
            service.kubectl("delete", "apiservice", f"{VERSION}.{GROUP}")


def test_more_load_gets_more_pods(service: Deployed, tmp_path: Path) -> None:
    """As many as bring the CPU of each down to the target, by Kubernetes' own formula."""
    objects = service.objects()
    (scaler,) = policies.of_kind(objects, "HorizontalPodAutoscaler")
    scaler["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] = TARGET
    with served(service, tmp_path), service.load("--keep-alive") as load:
        service.deploy(objects)
        eventually(lambda: len(service.ready()) > 2, 150, "a third pod", every=2)
        result = load.result(finish=True)
        conditions = service.get("hpa", "app")["status"]
    assert result.all_served(), result
    assert conditions["currentReplicas"] > 2
