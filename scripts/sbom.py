"""Write what an image is made of: a CycloneDX and an SPDX document, by syft, and check them.

Of the image $IMAGE of the engine, or with --layout of a folder that holds one (OCI image layout).
Each file of the image has to belong to a component of both documents. What is not deterministic of
syft's output is replaced: the same image gives the same documents.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import urllib.parse
import uuid
from pathlib import Path
from typing import Any

import contents
import image
import layout
from common import ROOT, die, entry, say
from contents import Package
from rootfs import Root

CYCLONEDX, SPDX = "sbom.cdx.json", "sbom.spdx.json"
DEFAULT_OUT = ROOT / "sbom"
Document = dict[str, Any]


def scan(found: layout.Layout, name: str, work: Path) -> tuple[Document, Document]:
    """What syft finds in the image: a CycloneDX document, and an SPDX one."""
    alone = work / "image"  # this image alone, which an index may have beside others
    alone.mkdir()
    (alone / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (alone / "index.json").write_text(
        json.dumps({"schemaVersion": 2, "manifests": [found.descriptor]})
    )
    (alone / "blobs").symlink_to((found.folder / "blobs").resolve())
    syft = Path(sys.executable).with_name("syft")
    if not syft.exists():
        die(f"{syft} is missing; `make venv` installs it")
    documents = work / "cyclonedx", work / "spdx"
    say("listing the image's packages ...")
    done = subprocess.run(
        # A wheel may say itself what it bundles: PEP 770.
        [
            *(str(syft), "scan", f"oci-dir:{alone}", "--select-catalogers", "+sbom-cataloger"),
            *("--source-name", name, "--output", f"cyclonedx-json={documents[0]}"),
            *("--output", f"spdx-json={documents[1]}"),
        ],
        # Without the settings that whoever runs this may have, and no look for updates.
        cwd=work,
        env={"HOME": str(work), "PATH": os.defpath, "SYFT_CHECK_FOR_APP_UPDATE": "false"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        die(f"syft ended with status {done.returncode}: {done.stderr.strip()[-500:]}")
    cyclonedx, spdx = (json.loads(document.read_bytes()) for document in documents)
    return cyclonedx, spdx


def settle(cyclonedx: Document, spdx: Document, found: layout.Layout, name: str) -> None:
    """Replace the random ids and the time of the scan; say which image the documents are of."""
    identity = uuid.uuid5(uuid.NAMESPACE_URL, found.digest)
    # SPDX allows no fractions of a second.
    created = re.sub(r"\.\d+", "", found.config.get("created") or "1970-01-01T00:00:00Z")
    purl = f"pkg:oci/{name}@{found.digest.replace(':', '%3A')}?arch={found.config['architecture']}"
    cyclonedx["serialNumber"] = identity.urn
    cyclonedx["metadata"]["timestamp"] = created
    subject = cyclonedx["metadata"]["component"]
    subject["purl"] = purl
    subject["hashes"] = [{"alg": "SHA-256", "content": found.digest.partition(":")[2]}]
    space = spdx["documentNamespace"]
    spdx["documentNamespace"] = f"{space[: -len(str(identity))]}{identity}"
    spdx["creationInfo"]["created"] = created
    described(spdx)["externalRefs"] = [
        {
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": purl,
        }
    ]


def described(spdx: Document) -> Document:
    """The package that stands for the image."""
    relations = spdx["relationships"]
    (subject,) = (r for r in relations if r["relationshipType"] == "DESCRIBES")
    found: Document
    (found,) = (p for p in spdx["packages"] if p["SPDXID"] == subject["relatedSpdxElement"])
    return found


def add_bundled(cyclonedx: Document, spdx: Document, root: Root) -> None:
    """Add the libraries that wheels bring along: syft knows those that a wheel lists itself.

    Without a version, which nothing in such a file tells.
    """
    for path, owner in contents.bundled(root).items():
        digest, name = hashlib.sha256(root.read(path)).hexdigest(), path.rpartition("/")[2]
        cyclonedx["components"].append(
            {
                "bom-ref": f"bundled:{path}",
                "type": "library",
                "name": name,
                "hashes": [{"alg": "SHA-256", "content": digest}],
                "evidence": {"occurrences": [{"location": path}]},
                "properties": [{"name": "drydock:bundled-by", "value": str(owner)}],
            }
        )
        ident = f"SPDXRef-Package-bundled-{hashlib.sha256(path.encode()).hexdigest()[:16]}"
        spdx["packages"].append(
            {
                "name": name,
                "SPDXID": ident,
                "supplier": "NOASSERTION",
                "downloadLocation": "NOASSERTION",
                "filesAnalyzed": False,
                "checksums": [{"algorithm": "SHA256", "checksumValue": digest}],
                "sourceInfo": f"bundled by {owner}: {path}",
                "licenseConcluded": "NOASSERTION",
                "licenseDeclared": "NOASSERTION",
                "copyrightText": "NOASSERTION",
                "primaryPackagePurpose": "LIBRARY",
            }
        )
        spdx["relationships"].append(
            {
                "spdxElementId": described(spdx)["SPDXID"],
                "relatedSpdxElement": ident,
                "relationshipType": "CONTAINS",
            }
        )


def package(purl: str) -> Package:
    """What a package URL names, without its namespace and qualifiers."""
    kind, _, rest = purl.removeprefix("pkg:").partition("/")
    name, _, version = rest.partition("?")[0].rpartition("@")
    name, version = urllib.parse.unquote(name).rpartition("/")[2], urllib.parse.unquote(version)
    return Package(kind, contents.canonical(name) if kind == "pypi" else name, version)


def listed(document: Document) -> set[Package]:
    """The packages that a document of either format lists."""
    purls = [component.get("purl", "") for component in document.get("components", [])]
    for element in document.get("packages", []):
        references = element.get("externalRefs", [])
        purls += [r["referenceLocator"] for r in references if r["referenceType"] == "purl"]
    return {package(purl) for purl in purls if purl}


def hashes(document: Document) -> set[str]:
    """The SHA-256 hashes of what a document of either format lists."""
    components = [*document.get("components", []), *document.get("packages", [])]
    return {
        entry.get("content") or entry["checksumValue"]
        for component in components
        for entry in (*component.get("hashes", []), *component.get("checksums", []))
    }


def gaps(root: Root, documents: dict[str, Document]) -> list[str]:
    """A line for each package and each bundled library of the image that a document lacks."""
    found = []
    inside = {package for package, _, _ in contents.listed(root)}
    libraries = contents.bundled(root)
    for title, document in documents.items():
        has, known = listed(document), hashes(document)
        found += [f"{title} lacks {package}, which the image has" for package in inside - has]
        found += [
            f"{title} lacks {path}, which {owner} bundles"
            for path, owner in libraries.items()
            if hashlib.sha256(root.read(path)).hexdigest() not in known
        ]
    return found


def refuse(problems: list[str]) -> None:
    """End with a line for each problem, if there are any."""
    for problem in problems[1:20]:
        print(f"error: {problem}", file=sys.stderr)
    if problems:
        die(f"{problems[0]}; no SBOM was written (docs/supply-chain.md)")


def make(found: layout.Layout, work: Path) -> dict[str, Document]:
    """The documents of an image; where they can't be complete, a line for each gap, and the end."""
    name = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["name"]
    root = Root(*found.layers(work))
    try:
        refuse(contents.problems(root))
        cyclonedx, spdx = scan(found, name, work)
        settle(cyclonedx, spdx, found, name)
        add_bundled(cyclonedx, spdx, root)
        documents = {CYCLONEDX: cyclonedx, SPDX: spdx}
        refuse(gaps(root, documents))
    finally:
        root.close()
    return documents


def main() -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layout", type=Path, help="a folder with the image; else $IMAGE")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="where both files go")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sbom-") as folder:
        work = Path(folder)
        found = layout.load(arguments.layout or layout.save(image.name(), work))
        documents = make(found, work)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for title, document in documents.items():
        (arguments.out / title).write_text(
            json.dumps(document, indent=1, ensure_ascii=False) + "\n"
        )
    count = len(listed(documents[CYCLONEDX]))
    say(f"wrote {CYCLONEDX} and {SPDX} to {arguments.out}: {count} packages of {found.digest}")


if __name__ == "__main__":
    with entry():
        main()
