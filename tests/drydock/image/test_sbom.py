"""What `make sbom` writes, by a real syft: valid, complete, and of this image alone."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

import contents
import sbom
from checkouts import CHECKOUT, make
from containers import docker, inspect, unique

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rootfs import Root

Documents = dict[str, dict[str, Any]]


def read(folder: Path) -> Documents:
    return {
        title: json.loads((folder / title).read_bytes()) for title in (sbom.CYCLONEDX, sbom.SPDX)
    }


@pytest.fixture(scope="module")
def written(image: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the image's documents."""
    folder = tmp_path_factory.mktemp("sbom") / "out"
    done = make("sbom", f"IMAGE={image}", f"OUT={folder}")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def documents(written: Path) -> Documents:
    return read(written)


@pytest.fixture(scope="module")
def saved(image: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image as an OCI image layout."""
    folder = tmp_path_factory.mktemp("layout")
    docker("save", "--output", str(folder / "image.tar"), image)
    subprocess.run(["tar", "-xf", "image.tar"], cwd=folder, check=True)
    return folder


@pytest.fixture
def changed(image: str, tmp_path: Path) -> Iterator[Any]:
    """Build an image of this one and what is in a folder: its name."""
    name = f"{unique('sbom')}:latest"

    def build(dockerfile: str) -> str:
        (tmp_path / "Dockerfile").write_text(f"FROM {image}\n{dockerfile}")
        docker("build", "--quiet", "--provenance=false", "--tag", name, str(tmp_path))
        return name

    yield build
    docker("image", "rm", "--force", name, check=False)


def test_the_cyclonedx_document_is_valid_by_its_schema(written: Path) -> None:
    document = (written / sbom.CYCLONEDX).read_text()
    version = SchemaVersion.from_version(json.loads(document)["specVersion"])
    assert JsonStrictValidator(version).validate_str(document) is None


def test_the_spdx_document_is_valid(written: Path) -> None:
    assert not validate_full_spdx_document(parse_file(str(written / sbom.SPDX)))


@pytest.mark.parametrize("title", [sbom.CYCLONEDX, sbom.SPDX])
def test_every_package_of_the_image_is_listed_with_its_version(
    root: Root, documents: Documents, title: str
) -> None:
    listed = sbom.listed(documents[title])
    for name, version in contents.debian(root).items():
        assert contents.Package("deb", name, version) in listed
    assert contents.distributions(root)
    assert set(contents.distributions(root).values()) <= listed


def test_both_formats_have_the_licences_of_debian_s_packages(documents: Documents) -> None:
    """Those that syft reads in the copyright files, which the image keeps."""
    named = [c for c in documents[sbom.CYCLONEDX]["components"] if c.get("licenses")]
    assert {"libssl3t64", "libc6", "flask"} <= {component["name"] for component in named}
    unnamed = {
        element["name"]
        for element in documents[sbom.SPDX]["packages"]
        if element["licenseDeclared"] == "NOASSERTION"
        and element != sbom.described(documents[sbom.SPDX])
    }
    assert not {component["name"] for component in named} & unnamed


def test_both_say_which_image_they_are_of(image: str, saved: Path, documents: Documents) -> None:
    """By the digest that a registry knows it by, so that nobody takes them for another's."""
    digest = json.loads((saved / "index.json").read_bytes())["manifests"][0]["digest"]
    if digest != (identity := inspect(image)["Id"]):  # an engine without the containerd image store
        manifest = json.loads((saved / "blobs" / digest.replace(":", "/")).read_bytes())
        assert manifest["config"]["digest"] == identity
    component = documents[sbom.CYCLONEDX]["metadata"]["component"]
    assert component["version"] == digest
    subject = sbom.described(documents[sbom.SPDX])
    assert subject["versionInfo"] == digest
    assert f"sha256:{subject['checksums'][0]['checksumValue']}" == digest


@pytest.mark.slow
def test_the_same_image_as_a_folder_gives_the_same_documents(
    written: Path, saved: Path, tmp_path: Path
) -> None:
    """Byte for byte, at another time; as a release has it, by skopeo."""
    command = [sys.executable, str(CHECKOUT / "scripts/sbom.py"), "--layout", str(saved)]
    subprocess.run([*command, "--out", str(tmp_path)], check=True)
    for title in (sbom.CYCLONEDX, sbom.SPDX):
        assert (written / title).read_bytes() == (tmp_path / title).read_bytes()


@pytest.mark.parametrize("title", [sbom.CYCLONEDX, sbom.SPDX])
def test_a_document_that_lacks_a_package_is_refused(
    root: Root, documents: Documents, title: str
) -> None:
    poorer = copy.deepcopy(documents)
    kind = "components" if title == sbom.CYCLONEDX else "packages"
    parts = poorer[title][kind]
    poorer[title][kind] = [part for part in parts if part["name"] != "libssl3t64"]
    version = contents.stanza(root, "libssl3t64")["Version"]
    assert not sbom.gaps(root, documents)
    assert sbom.gaps(root, poorer) == [f"{title} lacks libssl3t64 {version}, which the image has"]


@pytest.mark.slow
def test_a_stray_or_changed_file_makes_it_fail_with_a_line_that_names_it(
    changed: Any, tmp_path: Path
) -> None:
    (tmp_path / "program").write_bytes(b"\x7fELF a program from elsewhere")
    for copied, line in (
        ("/usr/bin/stray", "error: /usr/bin/stray: belongs to no package of the image"),
        ("/etc/debian_version", "error: /etc/debian_version: not as base-files "),
    ):
        done = make("sbom", f"IMAGE={changed(f'COPY program {copied}')}", f"OUT={tmp_path / 'out'}")
        assert done.returncode != 0
        assert line in done.stderr
        assert done.stderr.count("error: ") == 1
        assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_library_that_a_wheel_bundles_is_listed_too(
    root: Root, changed: Any, tmp_path: Path
) -> None:
    """Each file by its hash; with name and version those that the wheel has a list of (PEP 770)."""
    here = Path(sysconfig.get_path("purelib"))
    (site,) = (p for p in root.members if p.endswith("/site-packages") and "/opt/venv/" in p)
    copies = ""
    for folder in here.glob("psycopg_binary*"):
        shutil.copytree(folder, tmp_path / folder.name)
        copies += f"COPY {folder.name} {site}/{folder.name}\n"
    name = changed(copies)
    out = tmp_path / "out"
    done = make("sbom", f"IMAGE={name}", f"OUT={out}")
    assert done.returncode == 0, done.stderr
    libraries = {file.name for file in (here / "psycopg_binary.libs").iterdir()}
    found = read(out)
    assert libraries <= {part["name"] for part in found[sbom.CYCLONEDX]["components"]}
    assert libraries <= {part["name"] for part in found[sbom.SPDX]["packages"]}
    for document in found.values():
        assert "keyutils-libs" in {package.name for package in sbom.listed(document)}
