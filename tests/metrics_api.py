"""What an autoscaler asks, metrics.k8s.io, where a cluster has no metrics-server.

The figures are the kubelet's own. It is a process of its own, `metrics_api.py CONTEXT ADDRESS
CERTIFICATE`, with the key in the certificate's file; it prints its port.
https://kubernetes.io/docs/reference/external-api/metrics.v1beta1/
"""

from __future__ import annotations

import http.server
import json
import ssl
import sys
import urllib.parse
from typing import Any

import apply

Thing = dict[str, Any]
VERSION = "metrics.k8s.io/v1beta1"
RESOURCE = {"name": "pods", "namespaced": True, "kind": "PodMetrics", "verbs": ["get", "list"]}


def usage(cluster: apply.Cluster, namespace: str, selector: str) -> list[Thing]:
    """What the namespace's pods that a selector finds use of the processor."""
    options = ("--namespace", namespace, "--selector", selector, "--output=json")
    pods = json.loads(cluster.run("no pods", "get", "pods", *options))["items"]
    labels = {pod["metadata"]["name"]: pod["metadata"]["labels"] for pod in pods}
    found = []
    for node in {pod["spec"]["nodeName"] for pod in pods if "nodeName" in pod["spec"]}:
        path = f"--raw=/api/v1/nodes/{node}/proxy/stats/summary"
        for pod in json.loads(cluster.run("no figures", "get", path))["pods"]:
            name = pod["podRef"]["name"]
            if pod["podRef"]["namespace"] != namespace or name not in labels:
                continue
            containers = [
                {"name": each["name"], "usage": {"cpu": f"{cpu['usageNanoCores']}n", "memory": "0"}}
                for each in pod.get("containers", [])
                if "usageNanoCores" in (cpu := each.get("cpu", {}))
            ]
            about = {"name": name, "namespace": namespace, "labels": labels[name]}
            if containers:
                when = pod["containers"][0]["cpu"]["time"]
                figures = {"timestamp": when, "window": "15s", "containers": containers}
                found.append({"metadata": about, **figures})
    return found


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers what the API's server passes on."""

    cluster: apply.Cluster

    def do_GET(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        parts = url.path.strip("/").split("/")  # apis, group, version, namespaces, name, pods
        if len(parts) == 6:
            query = urllib.parse.parse_qs(url.query)
            items = usage(self.cluster, parts[4], query.get("labelSelector", [""])[0])
            answer = {"kind": "PodMetricsList", "apiVersion": VERSION, "items": items}
        else:
            answer = {"kind": "APIResourceList", "groupVersion": VERSION, "resources": [RESOURCE]}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def main() -> None:
    context, address, certificate = sys.argv[1:]
    Handler.cluster = apply.Cluster(context, "")
    server = http.server.ThreadingHTTPServer((address, 0), Handler)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
