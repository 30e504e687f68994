"""`make outdated`: a real apt compares the image's packages with those of a real archive."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import archives
import rootfs
from checkouts import CHECKOUT, make
from containers import docker

if TYPE_CHECKING:
    from pathlib import Path

    from archives import Archive


def test_outdated_shows_the_newest_and_where_it_is(
    on_archive: Path, archive: Archive, image: str
) -> None:
    """Of the real image: one of its packages is older than the one in the small archive."""
    archive.security("after")
    done = make("outdated", f"IMAGE={image}", checkout=on_archive)
    assert done.returncode != 0
    assert "Error 1" in done.stderr
    assert re.search(
        r"^\| media-types \| [\d.]+ \| 99\.2 \| trixie-security/main \|$", done.stdout, re.MULTILINE
    )
    with rootfs.exported(image) as root:
        count = sum(name.endswith(".md5sums") for name in root.members)
    assert f"of {count} Debian packages outdated" in done.stderr


def outdated(checkout: Path, image: str) -> tuple[int, str, str]:
    """The script's own status, of which make makes a 2 where it is not 0; and what it printed."""
    done = make("--no-print-directory", "outdated", f"IMAGE={image}", checkout=checkout)
    found = re.search(r"Error (\d)", done.stderr)
    return int(found[1]) if found else done.returncode, done.stdout, done.stderr


def test_outdated_tells_what_is_new_from_what_it_cannot_know(
    on_archive: Path, archive: Archive, name: str, tmp_path: Path
) -> None:
    archives.of_one_package(name, tmp_path, "99.1")
    status, table, said = outdated(on_archive, name)
    assert (status, table) == (0, "")
    assert "none of 1 Debian packages outdated" in said
    archive.security("after")
    status, table, said = outdated(on_archive, name)
    assert status == 1
    assert table.splitlines()[-1] == "| media-types | 99.1 | 99.2 | trixie-security/main |"
    docker("stop", "--time", "0", archive.container)
    status, table, said = outdated(on_archive, name)
    assert (status, table) == (2, "")
    assert "error: Debian's archive does not answer, so nobody knows what is outdated: E: " in said
    assert "Traceback" not in said


def test_an_image_that_does_not_list_its_packages_is_one_clear_line(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    archives.build(name, tmp_path)
    status, table, said = outdated(CHECKOUT, name)
    assert (status, table) == (2, "")
    assert f"error: {name} has no list of its Debian packages" in said
