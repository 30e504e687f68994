"""Building and pushing, with the verbs that a person types."""

from __future__ import annotations

import re
import tarfile
import tomllib
from typing import TYPE_CHECKING

import pytest

import base
import bounds
import image as build
from checkouts import CHECKOUT, copy, make
from containers import docker, inspect, started, unique

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


pytestmark = pytest.mark.early


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of this checkout, to be changed freely."""
    return copy(tmp_path / "checkout")


def built(checkout: Path, name: str) -> list[str]:
    """Build the checkout; return its layers' digests."""
    done = make("image", f"IMAGE={name}", checkout=checkout)
    assert done.returncode == 0, done.stderr
    assert re.search(r"[\d.]+ MB compressed, [\d.]+ MB unpacked", done.stdout)
    layers: list[str] = inspect(name)["RootFS"]["Layers"]
    return layers


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of an image of this checkout as it is."""
    name = unique("image") + ":latest"
    built(copy(tmp_path_factory.mktemp("unchanged") / "checkout"), name)
    yield name
    docker("image", "rm", "--force", name, check=False)


def test_make_image_passes_every_label(unchanged: str) -> None:
    labels = inspect(unchanged)["Config"]["Labels"]
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    for label, key in (("title", "name"), ("version", "version"), ("licenses", "license")):
        assert labels[f"org.opencontainers.image.{label}"] == project[key]


@pytest.mark.parametrize(
    ("file", "changed"),
    [("src/app/__init__.py", 1), ("gunicorn.conf.py", 1), ("src/drydock/logs.py", 2)],
)
def test_a_code_change_replaces_the_last_layers_only(
    checkout: Path, name: str, unchanged: str, file: str, changed: int
) -> None:
    """A fork's the last one; the template's the one before as well."""
    before = inspect(unchanged)["RootFS"]["Layers"]
    with (checkout / file).open("a") as source:
        source.write('\nMARK = "changed"\n')
    after = built(checkout, name)
    assert before[:-changed] == after[:-changed]
    assert not set(before[-changed:]) & set(after[-changed:])
    assert build.sizes(name)[-1][0] <= bounds.of_the_fork()["layer-bytes"]


@pytest.mark.slow
def test_touching_the_sources_changes_no_layer(checkout: Path, name: str, unchanged: str) -> None:
    """What counts is what is in the files, not when they were written."""
    for file in (checkout / "src").rglob("*.py"):
        file.touch()
    (checkout / "src/app/notes.pyc").write_bytes(b"a stray file")
    assert built(checkout, name) == inspect(unchanged)["RootFS"]["Layers"]


@pytest.mark.slow
def test_what_the_allow_list_does_not_name_never_reaches_the_build(
    checkout: Path, name: str
) -> None:
    strays = (".env", ".git/HEAD", "id_rsa", "secrets/token", "src/app/__pycache__/x.pyc")
    for stray in strays:
        (checkout / stray).parent.mkdir(parents=True, exist_ok=True)
        (checkout / stray).write_text("stray")
    probe = checkout / "probe.Dockerfile"
    probe.write_text("FROM scratch\nCOPY . /\n")
    docker("build", "--quiet", "--tag", name, "--file", str(probe), str(checkout))
    container = unique("context")
    docker("create", "--name", container, name, "x")
    try:
        docker("export", "--output", str(checkout.parent / "context.tar"), container)
    finally:
        docker("rm", container)
    with tarfile.open(checkout.parent / "context.tar") as context:
        listing = context.getnames()
    assert "src/app/__init__.py" in listing
    assert not [path for path in listing if "secret" in path or path.endswith((".env", "id_rsa"))]
    assert not [path for path in listing if path.endswith((".pyc", "Makefile")) or ".git/" in path]


@pytest.mark.slow
def test_the_debug_image_is_the_same_application_with_a_shell(
    image: str, checkout: Path, name: str
) -> None:
    docker(
        *("build", "--quiet", "--target", "debug", "--tag", name),
        *base.build_options(),
        str(checkout),
    )
    for key in ("Cmd", "User", "WorkingDir", "Healthcheck", "StopSignal", "ExposedPorts"):
        assert inspect(name)["Config"][key] == inspect(image)["Config"][key]
    with started(name) as container:
        container.wait_until_healthy()
        for tool in ("bash", "curl", "ps", "strace", "ss"):
            docker("exec", container.name, "bash", "-c", f"command -v {tool}")
        assert docker("exec", container.name, "id", "-un").stdout.strip() == "nonroot"
        inside = docker("exec", container.name, "curl", "-fsS", "localhost:5000/livez").stdout
        assert '"ok"' in inside


@pytest.mark.parametrize(
    ("remote", "source"),
    [
        ("https://git.example/o/r.git", "https://git.example/o/r"),
        ("https://user:hunter2@git.example/o/r", "https://git.example/o/r"),
        ("git@git.example:o/r.git", "https://git.example/o/r"),
        ("ssh://git@git.example:2222/o/r.git", "https://git.example/o/r"),
        ("/srv/git/r.git", ""),
        ("", ""),
    ],
)
def test_the_source_label_is_a_public_address_without_credentials(
    remote: str, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "git", lambda *_: remote)
    assert build.source_address() == source
