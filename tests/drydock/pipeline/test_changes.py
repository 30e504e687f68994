"""`make changes`: what is different in another image, told for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from checkouts import make
from containers import docker, unique

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STATUS, SITE = "var/lib/dpkg/status.d", "opt/venv/lib/python3.13/site-packages"
OLD = {
    f"{STATUS}/openssl": "Package: openssl\nVersion: 3.5.1-1\n",
    f"{STATUS}/openssl.md5sums": "0  usr/lib/libssl.so\n",
    f"{STATUS}/zlib1g": "Package: zlib1g\nVersion: 1:1.3\n",
    f"{SITE}/flask-3.1.dist-info/METADATA": "Name: flask\nVersion: 3.1\n\nVersion: no field\n",
    "same": "same",
    "mode": "mode",
    "large": "x" * 50_000,
    "gone": "x" * 3_000,
}
NEW = {
    f"{STATUS}/openssl": "Package: openssl\nVersion: 3.5.1-1+deb13u1\n",
    f"{STATUS}/openssl.md5sums": "0  usr/lib/libssl.so\n",
    f"{STATUS}/zlib1g": "Package: zlib1g\nVersion: 1:1.3\n",
    f"{SITE}/click-8.3.dist-info/METADATA": "Name: click\nVersion: 8.3\n",
    "same": "same",
    "mode": "mode",
    "large": "y" * 60_000,
    "new": "x" * 2_000,
}


def build(name: str, folder: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        file = folder / "root" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (folder / "root/mode").chmod(0o600 if files is OLD else 0o644)
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY root/same /\nCOPY root /\n")
    docker("build", "--quiet", "--provenance=false", "--tag", name, str(folder))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Two images, one of the files OLD and one of NEW."""
    names = unique("old") + ":latest", unique("new") + ":latest"
    for name, files in zip(names, (OLD, NEW), strict=True):
        build(name, tmp_path_factory.mktemp("image"), files)
    yield names
    docker("image", "rm", "--force", *names, check=False)


def test_changes_shows_packages_sizes_and_files(images: tuple[str, str]) -> None:
    done = make("--no-print-directory", "changes", f"OLD={images[0]}", f"NEW={images[1]}")
    assert done.returncode == 0, done.stderr
    title, packages, sizes, files, largest = done.stdout.strip().split("\n\n")
    assert title == f"## What changed from `{images[0]}` to `{images[1]}`"
    assert packages.splitlines() == [
        "| Package | From | To |",
        "| --- | --- | --- |",
        "| click (Python) | none | 8.3 |",
        "| flask (Python) | 3.1 | none |",
        "| openssl (Debian) | 3.5.1-1 | 3.5.1-1+deb13u1 |",
    ]
    whole, unpacked, first, second = sizes.splitlines()[2:]
    assert whole.startswith("| whole, compressed | ")
    assert unpacked.startswith("| whole, unpacked | ")
    assert first.endswith(" | the same |")
    assert second.endswith(" bytes |")
    assert files == "Files: 2 added, 2 removed, 3 changed of 8. The largest:"
    assert largest.splitlines()[2:5] == [
        "| `/large` | content | 50.0 kB | 60.0 kB |",
        "| `/gone` | removed | 3.0 kB | none |",
        "| `/new` | added | none | 2.0 kB |",
    ]
    assert "| `/mode` | mode | 0.0 kB | 0.0 kB |" in largest


def test_changes_of_the_image_to_itself_are_none(image: str) -> None:
    done = make("--no-print-directory", "changes", f"OLD={image}", f"IMAGE={image}")
    assert done.returncode == 0, done.stderr
    _, packages, sizes, files = done.stdout.strip().split("\n\n")
    assert packages == "No package changed."
    assert files == "No file changed."
    assert all(row.endswith((" | the same |", " | as large |")) for row in sizes.splitlines()[2:])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "error: OLD='' is no image name"),
        (["OLD=Not A Name"], "error: OLD='Not A Name' is no image name"),
        (["OLD=127.0.0.1:1/no/such"], "error: there is no image 127.0.0.1:1/no/such"),
    ],
)
def test_an_image_that_is_not_there_is_one_clear_line(arguments: list[str], message: str) -> None:
    done = make("changes", *arguments, "NEW=scratch")
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
