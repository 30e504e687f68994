"""A release by real parts: what has a tag in the registry was signed, attested and verified.

Most tests use two small images, of two platforms, that the engine builds without emulation.
"""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

import base
import emulation
import image
import provenance
import publish
import registry
import rehearse
import sign
import vex
from checkouts import make
from containers import docker, inspect, unique
from releases import REVISION, lay, tags

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.early


@dataclasses.dataclass
class Place:
    """A registry that runs, two images in its repository, and the key to sign them with."""

    container: str
    address: str
    images: list[str]  # of two platforms, as repository@digest
    configs: list[dict[str, Any]]  # as the engine had them before they were pushed
    signer: sign.Signer
    expected: sign.Expected

    def repository(self) -> str:
        """A new repository of the registry."""
        return f"{self.address}/{unique('repository')}"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    context = tmp_path_factory.mktemp("context")
    lay(context)
    name = unique("image") + ":latest"
    container = unique("registry")
    with rehearse.local_registry(container) as address, pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMAGE", name)
        pushed = []
        configs = []
        for platform in ("linux/amd64", "linux/arm64"):
            build = ("build", "--quiet", "--provenance=false", "--platform", platform)
            docker(*build, "--tag", name, str(context))
            configs.append(inspect(name)["Config"])
            pushed.append(publish.publish(f"{address}/service"))
            docker("image", "rm", "--force", name)
        signer, expected = rehearse.signer(tmp_path_factory.mktemp("key"))
        yield Place(container, address, pushed, configs, signer, expected)


@pytest.fixture(scope="module")
def released(place: Place) -> str:
    """An index of both, signed, with all that is attested of each."""
    joined = publish.join(place.images)
    publish.sign_all(joined, place.signer, rehearse.IDENTITY)
    return joined


def refused(
    reference: str, expected: sign.Expected, capsys: pytest.CaptureFixture[str], folder: Path
) -> str:
    """Why no tag is put on, in one line; and there is none."""
    repository, _ = registry.split(reference)
    before = tags(repository, folder)
    with pytest.raises(SystemExit) as ended:
        publish.tag(reference, ["refused"], expected)
    assert ended.value.code == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if "==>" not in line]
    assert len(errors) == 1
    assert errors[0].startswith("error: ")
    assert tags(repository, folder) == before
    return errors[0]


def moved(place: Place, reference: str, folder: Path, *, signatures: bool = False) -> str:
    """The image in a new repository, without what is attested; with its signature, if wanted."""
    target = place.repository()
    source, digest = registry.split(reference)
    assert registry.copy(folder, f"docker://{reference}", f"docker://{target}@{digest}") is None
    if signatures:
        name = digest.replace(":", "-") + ".sig"
        assert (
            registry.copy(folder, f"docker://{source}:{name}", f"docker://{target}:{name}") is None
        )
    return f"{target}@{digest}"


def test_what_can_be_verified_gets_its_tags(
    place: Place, released: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repository, digest = registry.split(released)
    assert tags(repository, tmp_path) == set()
    publish.tag(released, ["1.2.3", "1.2"], place.expected)
    shown = capsys.readouterr().out
    assert tags(repository, tmp_path) == {"1.2", "1.2.3"}
    for platform, reference in zip(("amd64", "arm64"), place.images, strict=True):
        assert f"linux/{platform}  {reference.partition('@')[2]}" in shown
    assert registry.digest_of(registry.read(f"{repository}:1.2.3", tmp_path)) == digest


def test_a_push_changes_nothing(place: Place, tmp_path: Path) -> None:
    """From Docker's kind of manifest to OCI's own, skopeo would drop the health check."""
    for reference, config in zip(place.images, place.configs, strict=True):
        pushed = json.loads(registry.read(reference, tmp_path, "--config"))["config"]
        assert pushed["Healthcheck"] == config["Healthcheck"] == {"Test": ["CMD", "/check"]}
        assert pushed["Labels"] == config["Labels"]


def test_an_index_names_each_platform_and_is_the_same_each_time(
    place: Place, released: str, tmp_path: Path
) -> None:
    images = registry.images_in(released, tmp_path)
    assert {f"{place['os']}/{place['architecture']}" for place in images.values()} == {
        "linux/amd64",
        "linux/arm64",
    }
    assert publish.join(place.images[::-1]) == released


def test_a_changed_byte_in_a_layer_is_found(
    place: Place, released: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = json.loads(registry.read(place.images[0], tmp_path))
    blob = manifest["layers"][0]["digest"].removeprefix("sha256:")
    file = f"/var/lib/docker-registry/docker/registry/v2/blobs/sha256/{blob[:2]}/{blob}/data"
    change = "printf {} | dd of={} bs=1 seek=20 conv=notrunc status=none"
    docker("exec", place.container, "cp", file, "/tmp/kept")
    docker("exec", place.container, "sh", "-c", change.format("changed", file))
    try:
        error = refused(released, place.expected, capsys, tmp_path)
    finally:
        docker("exec", place.container, "cp", "/tmp/kept", file)
    assert f"{place.images[0]} is not what its digest says" in error


def test_another_identity_is_refused(
    place: Place, released: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = "https://ci.example/fork/.github/workflows/release.yml@refs/heads/rehearsal"
    expected = dataclasses.replace(place.expected, identity=other)
    error = refused(released, expected, capsys, tmp_path)
    assert f"no signature of {other}" in error
    assert rehearse.IDENTITY in error  # who it was


def test_another_issuer_is_refused(
    place: Place, released: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = dataclasses.replace(place.expected, issuer="https://elsewhere.example")
    assert "no signature of" in refused(released, expected, capsys, tmp_path)


def test_another_key_with_the_same_identity_is_refused(
    released: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever can write a name into a certificate of his own."""
    (tmp_path / "key").mkdir()
    _, expected = rehearse.signer(tmp_path / "key")
    assert "no signature of" in refused(released, expected, capsys, tmp_path)


def test_an_image_that_nobody_signed_is_refused(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reference = moved(place, place.images[0], tmp_path)
    assert "no signature of" in refused(reference, place.expected, capsys, tmp_path)


def test_a_signature_of_the_index_alone_is_not_enough(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An engine pulls the index, but runs a platform's image, and policies look at that."""
    reference = moved(place, place.images[0], tmp_path)
    index = publish.join([reference])
    command = ("cosign", "sign", "--yes", *place.signer.options, index)
    folder = sign.with_files(tmp_path, place.signer)
    assert registry.tool(folder, *command, COSIGN_PASSWORD="").returncode == 0
    assert f"{reference}: no signature" in refused(index, place.expected, capsys, tmp_path)


@pytest.mark.usefixtures("released")
def test_a_missing_attestation_is_found(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reference = moved(place, place.images[0], tmp_path, signatures=True)
    error = refused(reference, place.expected, capsys, tmp_path)
    assert f"{reference}: no CycloneDX SBOM that {rehearse.IDENTITY} attested" in error


def statements(digest: str, builder: str, folder: Path) -> dict[str, Path]:
    """What is attested of an image with this digest, in short."""
    config = {
        "os": "linux",
        "architecture": "amd64",
        "config": {"Labels": {"org.opencontainers.image.revision": REVISION}},
    }
    purl = f"pkg:oci/service@{digest.replace(':', '%3A')}?arch=amd64"
    subject = {
        "primaryPackagePurpose": "CONTAINER",
        "externalRefs": [{"referenceType": "purl", "referenceLocator": purl}],
    }
    written = {
        "cyclonedx": {"metadata": {"component": {"purl": purl}}},
        "spdxjson": {"packages": [subject]},
        sign.PROVENANCE: provenance.predicate(config, builder),
    }
    files = {}
    for kind, predicate in written.items():
        files[kind] = folder / f"{kind}.json"
        files[kind].write_text(json.dumps(predicate))
    return files


@pytest.mark.usefixtures("released")
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("cyclonedx", "its CycloneDX SBOM is of another image"),
        ("spdxjson", "its SPDX SBOM is of another image"),
        (sign.PROVENANCE, "its provenance is not of revision"),
    ],
)
def test_a_statement_about_another_image_is_found(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: str, message: str
) -> None:
    """Though it is signed, and attached to this one."""
    reference = moved(place, place.images[0], tmp_path, signatures=True)
    other = place.images[1].partition("@")[2]
    (tmp_path / "right").mkdir()
    (tmp_path / "wrong").mkdir()
    right = statements(reference.partition("@")[2], rehearse.IDENTITY, tmp_path / "right")
    instead = statements(other, "https://ci.example/another-workflow", tmp_path / "wrong")
    for kind, file in (right | {wrong: instead[wrong]}).items():
        sign.attest(reference, kind, file, place.signer)
    assert message in refused(reference, place.expected, capsys, tmp_path)


def test_the_exceptions_of_the_scan_are_attested(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So whoever scans a release learns why a finding was let pass."""
    exceptions = tmp_path / "vex"
    exceptions.mkdir()
    statement = {"@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://example.org/vex/1"}
    (exceptions / "1.json").write_text(json.dumps(statement))
    monkeypatch.setattr(vex, "FOLDER", exceptions)
    reference = moved(place, place.images[0], tmp_path)
    publish.attest(reference, place.signer, rehearse.IDENTITY)
    assert sign.attested(reference, sign.EXCEPTIONS, place.expected, tmp_path) == [statement]


def test_two_images_of_one_platform_make_no_index(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        publish.join([place.images[0], place.images[0]])
    assert "two of the images are for the same platform" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["publish"], "error: REPOSITORY is missing"),
        (["publish", "REPOSITORY=registry.example/name:tag"], "error: REPOSITORY="),
        (["join"], "error: IMAGES is missing"),
        (["join", "IMAGES=registry.example/name:tag"], "is no image by its digest"),
        (["sign", "IMAGE=registry.example/name:tag", "IDENTITY=x"], "is no image by its digest"),
        (["verify", "IMAGE=registry.example/name:tag", "IDENTITY=x"], "is no image by its digest"),
        (
            ["verify", f"IMAGE=registry.example/name@sha256:{'0' * 64}"],
            "error: IDENTITY is missing",
        ),
        (
            ["tag", f"IMAGE=127.0.0.1:1/name@sha256:{'0' * 64}", "IDENTITY=x", "TAGS=no/tag"],
            "error: TAGS: 'no/tag' is no tag",
        ),
    ],
)
def test_wrong_words_get_one_clear_line(arguments: list[str], message: str) -> None:
    done = make(*arguments)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("version", "branch", "expected"),
    [
        ("v1.2.3", "", {"1.2.3", "1.2"}),
        ("v1.2.4-rc.1", "", {"1.2.4-rc.1"}),
        ("", "main", {"main"}),
        ("", "topic/one", {"topic-one"}),
        ("", "", set()),
    ],
)
def test_a_commit_s_tags(
    monkeypatch: pytest.MonkeyPatch, version: str, branch: str, expected: set[str]
) -> None:
    """Always the commit's and the day's; a version's series never follows a version to come."""
    monkeypatch.setattr(image, "git", lambda verb, *_: version if verb == "describe" else "0123456")
    monkeypatch.setenv("GITHUB_REF_TYPE", "branch" if branch else "")
    monkeypatch.setenv("GITHUB_REF_NAME", branch)
    commit, day, *others = publish.names()
    assert commit == "sha-0123456"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", day)
    assert set(others) == expected


def test_the_provenance_names_the_base_that_was_taken() -> None:
    """With its digest: the one in the Dockerfile or, where no registry is, the stand-in's."""
    (taken, *_) = provenance.dependencies("https://git.example/o/r", REVISION, "amd64")
    if base.build_options():
        assert base.STAND_IN in taken["uri"]
    else:
        assert taken["digest"]["sha256"] in base.reference()
    assert len(taken["digest"]["sha256"]) == 64


def test_the_provenance_names_the_base_of_the_image_s_own_platform(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where each platform has a stand-in of its own; whichever this machine is of."""
    reference = f"{unique('base')}@sha256:{'0' * 64}"
    monkeypatch.setattr(base, "reference", lambda: reference)
    lay(tmp_path)
    names = {each: base.stand_in(reference, emulation.foreign(each)) for each in emulation.MACHINES}
    for each, name in names.items():
        docker("build", "--quiet", "--platform", f"linux/{each}", "--tag", name, str(tmp_path))
    try:
        for each, name in names.items():
            (taken, *_) = provenance.dependencies("https://git.example/o/r", REVISION, each)
            assert taken["uri"] == f"docker://{name}"
            assert taken["digest"]["sha256"] == inspect(name)["Id"].removeprefix("sha256:")
    finally:
        docker("image", "rm", "--force", *names.values(), check=False)


@pytest.mark.long
def test_a_rehearsal_of_two_platforms_from_start_to_end() -> None:
    """With the whole image, once for this machine's platform and once emulated."""
    done = make("rehearse", "PLATFORMS=linux/amd64 linux/arm64", timeout=5400)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the rehearsal went well; nothing of it is left" in done.stderr
    verified = re.findall(r"^linux/(\w+)  sha256:", done.stdout, re.MULTILINE)
    assert set(verified) == {"amd64", "arm64"}
    left = subprocess.run(
        ["docker", "ps", "--all", "--quiet", "--filter", "name=drydock-rehearsal-"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert left.stdout == ""
