"""Rehearse a release with real parts: push, SBOM, sign, attest, verify, tag, pull back.

The registry is one on loopback, gone after. Signed is with a throw-away key, whose certificate is
made by a throw-away authority but has the fields of one from Sigstore: who signed, and who vouched
for it. So the same checks of the identity are made as of a release. What a rehearsal has not is
Sigstore's public log. $PLATFORMS names the images; without it, there is one for this machine's own.
"""

from __future__ import annotations

import contextlib
import http
import http.client
import os
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import emulation
import image
import publish
import registry
import sign
from common import die, entry, output, say

if TYPE_CHECKING:
    from collections.abc import Iterator

IDENTITY = "https://ci.example/drydock/.github/workflows/release.yml@refs/heads/rehearsal"
ISSUER = "https://issuer.example"
# The parts of the contract that are proved of what was pulled back. An emulated image is too slow
# for the last, under the limits of production; the second starts the service and asks it.
PROOFS = ("contents", "metadata", "running")
EMULATED = PROOFS[:2]
# Fulcio's number for "who vouched"; its value is the text itself, not a string of ASN.1.
# https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md
CERTIFICATE = """
[leaf]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = codeSigning
subjectAltName = critical, URI:{identity}
1.3.6.1.4.1.57264.1.1 = DER:{issuer}
"""
OPTIONS = (
    *("--key", "release.key", "--certificate", "release.pem"),
    *("--certificate-chain", "roots.pem", "--tlog-upload=false"),
)
OPENSSL = """
set -euo pipefail
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout authority.key \
    -out roots.pem -days 1 -subj /CN=rehearsal -addext keyUsage=critical,keyCertSign
cosign generate-key-pair --output-key-prefix release
openssl x509 -new -force_pubkey release.pub -subj / -CA roots.pem -CAkey authority.key -days 1 \
    -extfile certificate.cnf -extensions leaf -out release.pem
"""


def signer(folder: Path, identity: str = IDENTITY) -> tuple[sign.Signer, sign.Expected]:
    """Make a key and its certificate in `folder`; return how to sign with it and what to expect."""
    certificate = CERTIFICATE.format(identity=identity, issuer=ISSUER.encode().hex(":"))
    (folder / "certificate.cnf").write_text(certificate)
    done = registry.tool(folder, "bash", "-c", OPENSSL, COSIGN_PASSWORD="")
    if done.returncode != 0:
        die(f"no throw-away key: {registry.reason(done)}")
    return with_key(folder, identity)


def with_key(folder: Path, identity: str = IDENTITY) -> tuple[sign.Signer, sign.Expected]:
    """Return how to sign with the key in `folder` and what to expect."""
    return sign.Signer(OPTIONS, folder), sign.Expected(identity, ISSUER, folder / "roots.pem")


def answers(address: str) -> bool:
    """Whether a registry answers there."""
    try:
        with urllib.request.urlopen(f"http://{address}/v2/", timeout=5) as response:
            return bool(response.status == 200)
    except urllib.error.HTTPError as error:  # to nobody without a login
        return error.code == http.HTTPStatus.UNAUTHORIZED
    except (OSError, http.client.HTTPException):
        return False


@contextlib.contextmanager
def local_registry(name: str, *options: str) -> Iterator[str]:
    """Start a registry on loopback, as a container of that name; give its address."""
    registry.build_tools()
    named = ("--name", name, "--publish", "127.0.0.1::5000", *options)
    command = ("docker", "run", "--detach", *named)
    try:
        if output(*command, registry.TOOLS) is None:
            die("the registry of the rehearsal did not start")
        address = (output("docker", "port", name, "5000/tcp") or "").splitlines()[0]
        deadline = time.monotonic() + 30
        while not answers(address):
            if time.monotonic() > deadline:
                die("the registry of the rehearsal does not answer")
            time.sleep(0.2)
        yield address
    finally:
        output("docker", "rm", "--force", "--volumes", name)


def pull_back(reference: str, name: str) -> None:
    """Pull the image of this platform into an empty store, and load it as `name`."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "store")
        registry.pull(reference, folder)
        if failed := registry.copy(folder, "oci:.", f"docker-archive:image.tar:{name}"):
            die(f"{reference} can't be written as a file: {failed}")
        if output("docker", "load", "--quiet", "--input", str(folder / "image.tar")) is None:
            die(f"{reference} can't be loaded")


def prove(name: str) -> None:
    """Run the part of the contract that says what the image is and that it serves."""
    parts = EMULATED if emulation.architecture() else PROOFS
    tests = [f"tests/drydock/image/test_{part}.py" for part in parts]
    command = [".venv/bin/pytest", "-q", "-p", "no:cacheprovider", *tests, "--image", name]
    if subprocess.run(command, check=False).returncode != 0:
        die("what was pulled back does not keep the contract")


def turns_healthy(name: str) -> None:
    """Start an emulated image; wait until its own health check passes, given more time for it."""
    container = f"{name.partition(':')[0]}-emulated"
    options = ("--name", container, "--health-timeout", "60s", "--health-start-period", "300s")
    say("waiting for its health check")
    try:
        output("docker", "run", "--detach", *options, name)
        deadline = time.monotonic() + 300
        state = "starting"
        while state != "healthy":
            if state != "starting" or time.monotonic() > deadline:
                die(f"what was pulled back does not turn healthy: {state}")
            time.sleep(1)
            state = output("docker", "inspect", "-f", "{{.State.Health.Status}}", container) or ""
    finally:
        output("docker", "rm", "--force", "--volumes", container)


def main() -> None:
    """Rehearse with $IMAGE, which the engine has; what is emulated is built."""
    name = f"drydock-rehearsal-{uuid.uuid4().hex[:12]}"
    platforms = os.environ.get("PLATFORMS", "").split() or [""]
    pushed = {}
    with tempfile.TemporaryDirectory() as temporary, local_registry(name) as address:
        key, expected = signer(Path(temporary))
        for platform in platforms:
            os.environ["PLATFORM"] = platform
            if emulation.architecture():
                image.build("runtime")
            else:
                image.find()
            pushed[platform] = publish.publish(f"{address}/service")
        joined = publish.join(list(pushed.values()))
        publish.sign_all(joined, key, IDENTITY)
        publish.tag(joined, ["rehearsal"], expected)
        for platform, reference in pushed.items():
            os.environ["PLATFORM"] = platform
            try:
                say(f"pulling {reference} back, into an empty store")
                pull_back(reference, f"{name}:latest")
                prove(f"{name}:latest")
                if emulation.architecture():
                    turns_healthy(f"{name}:latest")
            finally:
                output("docker", "image", "rm", "--force", f"{name}:latest")
    say("the rehearsal went well; nothing of it is left")


if __name__ == "__main__":
    with entry():
        main()
