"""The end of the gateway's certificate is measured, whoever has signed it."""

from __future__ import annotations

import re
import time

import alerts
import stand_ins
from containers import docker, eventually, network, unique
from stacks import openssl

SERVER = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3 -subj /CN=test"
    " -keyout /tmp/key -out /tmp/certificate 2>/dev/null;"
    " openssl s_server -accept 8443 -key /tmp/key -cert /tmp/certificate -www"
)


def test_it_is_measured_by_the_exporter_as_it_is_configured() -> None:
    server, exporter = unique("tls"), unique("exporter")
    folder = alerts.RULES.parent
    with network() as net, openssl() as image:
        options = ("run", "--detach", "--network", net)
        docker(*options, "--name", server, "--entrypoint=sh", image, "-c", SERVER)
        mount = ("--volume", f"{folder}:/etc/blackbox:ro")
        image = stand_ins.image("blackbox-exporter")
        # Where it stands in, one image has several programs.
        program = (
            ("--entrypoint=prometheus-blackbox-exporter",)
            if image == stand_ins.stand_in("blackbox-exporter")
            else ()
        )
        configured = "--config.file=/etc/blackbox/blackbox.yaml"
        docker(*options, "--name", exporter, *mount, *program, image, configured)

        def days() -> float:
            """How long the certificate is valid, as the exporter has it; 0 without a figure."""
            query = f"probe?module=gateway&target=https://{server}:8443/api/"
            address = f"http://127.0.0.1:9115/{query}"
            done = docker("exec", exporter, "wget", "-q", "-O", "-", address, check=False)
            found = re.search(r"^probe_ssl_earliest_cert_expiry (\S+)$", done.stdout, re.MULTILINE)
            return (float(found[1]) - time.time()) / 86400 if found else 0

        assert 2.9 < eventually(days, 30, "the exporter has asked") < 3.1
