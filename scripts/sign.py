"""Sign what a registry has by a digest, attest what it is, and verify both as a consumer would.

cosign does it. The index and the image of each platform are signed, for engines pull the one and
some policies look at the other. Each image has its two SBOMs and its provenance attested. On
GitHub the certificate of a signature names the workflow that made it, and no key is kept.
https://docs.sigstore.dev/cosign/signing/overview/
"""

from __future__ import annotations

import base64
import dataclasses
import json
import tempfile
import urllib.parse
from pathlib import Path
from typing import Any

import layout
import registry
from common import die

# What is attested of an image, as cosign names it, and as people do.
SBOMS = {"cyclonedx": "sbom.cdx.json", "spdxjson": "sbom.spdx.json"}
PROVENANCE = "slsaprovenance1"
EXCEPTIONS = "openvex"
NAMES = {
    "cyclonedx": "CycloneDX SBOM",
    "spdxjson": "SPDX SBOM",
    PROVENANCE: "provenance",
    EXCEPTIONS: "statement on vulnerabilities",
}


@dataclasses.dataclass(frozen=True)
class Signer:
    """How cosign signs: without a key, with the workflow's own identity, or as a rehearsal does.

    `options` are cosign's; the files that they name are in `files`.
    """

    options: tuple[str, ...] = ()
    files: Path | None = None


@dataclasses.dataclass(frozen=True)
class Expected:
    """Who has to have signed: the identity in the certificate, and who vouched for it.

    `roots` is a file with the certificates of a rehearsal's authority. Without it those of
    Sigstore are meant, and the signature has to be in its public log.
    """

    identity: str
    issuer: str
    roots: Path | None = None

    def options(self) -> tuple[str, ...]:
        """Return cosign's options."""
        who = ("--certificate-identity", self.identity, "--certificate-oidc-issuer", self.issuer)
        if self.roots is None:
            return who
        # Nothing of a rehearsal is in a public log.
        return (*who, "--ca-roots", "roots.pem", "--insecure-ignore-sct", "--insecure-ignore-tlog")


def with_files(folder: Path, signer: Signer) -> Path:
    """Put the signer's files into the folder that cosign works in; return the folder."""
    for file in signer.files.iterdir() if signer.files else ():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def sign(reference: str, signer: Signer) -> None:
    """Sign the index, or the image, and each of the images that it names."""
    repository, digest = registry.split(reference)
    with tempfile.TemporaryDirectory() as temporary:
        folder = with_files(Path(temporary), signer)
        for each in dict.fromkeys((digest, *registry.images_in(reference, folder))):
            command = ("cosign", "sign", "--yes", *signer.options, f"{repository}@{each}")
            done = registry.tool(folder, *command, COSIGN_PASSWORD="")
            if done.returncode != 0:
                die(f"{repository}@{each} was not signed: {registry.reason(done)}")


def attest(reference: str, kind: str, predicate: Path, signer: Signer) -> None:
    """Attach a signed statement about one image; `predicate` is a file with what it says."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = with_files(Path(temporary), signer)
        (folder / "predicate.json").write_bytes(predicate.read_bytes())
        command = ("cosign", "attest", "--yes", "--type", kind, "--predicate", "predicate.json")
        done = registry.tool(folder, *command, *signer.options, reference, COSIGN_PASSWORD="")
    if done.returncode != 0:
        die(f"{reference}: the {NAMES[kind]} was not attested: {registry.reason(done)}")


def cosign(
    verb: str, reference: str, expected: Expected, folder: Path, *options: str
) -> tuple[str, str | None]:
    """Let cosign verify; return what it found, and why it was not enough, if it was not."""
    if expected.roots:
        (folder / "roots.pem").write_bytes(expected.roots.read_bytes())
    done = registry.tool(folder, "cosign", verb, *expected.options(), *options, reference)
    return done.stdout, registry.reason(done) if done.returncode != 0 else None


def attested(reference: str, kind: str, expected: Expected, folder: Path) -> list[Any]:
    """Return what is attested of an image by the one who is expected, of one kind; or end.

    There may be more than one statement: whoever signs again adds one.
    """
    found, failed = cosign(
        "verify-attestation", reference, expected, folder, "--type", kind, "--output", "json"
    )
    if failed:
        die(f"{reference}: no {NAMES[kind]} that {expected.identity} attested: {failed}")
    envelopes = [json.loads(line) for line in found.splitlines() if line.startswith("{")]
    statements = [json.loads(base64.b64decode(envelope["payload"])) for envelope in envelopes]
    return [statement["predicate"] for statement in statements]


def is_of(kind: str, predicate: dict[str, Any], digest: str) -> bool:
    """Whether an SBOM says of itself that it is of the image with this digest, by a package URL."""
    if kind == "cyclonedx":
        urls = [predicate.get("metadata", {}).get("component", {}).get("purl", "")]
    else:
        urls = [
            reference["referenceLocator"]
            for package in predicate.get("packages", [])
            if package.get("primaryPackagePurpose") == "CONTAINER"
            for reference in package.get("externalRefs", [])
        ]
    return any(f"@{digest}?" in urllib.parse.unquote(url) for url in urls)


def verify(reference: str, expected: Expected) -> dict[str, str]:
    """Verify all that a consumer can know from a digest and the identity that he expects.

    Returns:
        The digest of each image, with its platform as `os/architecture`.

    Raises:
        SystemExit: with status 1 and one line, if a signature or an attestation is missing or not
            of this identity, is about another image, or a byte is not what its digest says.

    """
    repository, digest = registry.split(reference)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        images = registry.images_in(reference, folder)
        for each in dict.fromkeys((digest, *images)):
            _, failed = cosign("verify", f"{repository}@{each}", expected, folder)
            if failed:
                die(f"{repository}@{each}: no signature of {expected.identity}: {failed}")
        for each in images:
            verify_image(f"{repository}@{each}", expected, folder)
    return {each: f"{place['os']}/{place['architecture']}" for each, place in images.items()}


def verify_image(reference: str, expected: Expected, folder: Path) -> None:
    """Verify what is attested of one image, and each byte of it; end with one line if it fails."""
    _, digest = registry.split(reference)
    for kind in SBOMS:
        if not any(
            is_of(kind, each, digest) for each in attested(reference, kind, expected, folder)
        ):
            die(f"{reference}: its {NAMES[kind]} is of another image")
    provenances = attested(reference, PROVENANCE, expected, folder)
    place = folder / digest.removeprefix("sha256:")
    registry.pull(reference, place)
    labels = layout.load(place).config["config"].get("Labels") or {}
    revision = labels.get("org.opencontainers.image.revision", "")
    for each in provenances:
        builder = each["runDetails"]["builder"]["id"]
        said = each["buildDefinition"]["externalParameters"]["revision"]
        if builder == expected.identity and said == revision:
            return
    die(
        f"{reference}: its provenance is not of revision {revision!r}, built by {expected.identity}"
    )
