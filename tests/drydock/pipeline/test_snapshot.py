"""Debian's packages of the image: those of a moment, and those of today.

Real builds by a real apt, from a small archive of the tests' own: tests/archive.Dockerfile.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

import archives
import base
import changes
import contents
import rootfs
from checkouts import make
from containers import inspect
from depth import FULL
from forks import Repository

if TYPE_CHECKING:
    from pathlib import Path

    from archives import Archive

pytestmark = pytest.mark.early

FIRST, SECOND = "20260101T000000Z", "20260201T000000Z"  # the archive's moments


@pytest.fixture
def packages_only(on_archive: Path) -> Path:
    """A checkout whose image is what the stage `packages` has downloaded, with the same labels."""
    file = on_archive / "Dockerfile"
    text = file.read_text()
    stages = text[: text.index("# ---- rootfs")]
    labels = text[text.index("# Last, since they change") : text.index("# ---- test")]
    file.write_text(
        f"{stages}\nFROM scratch AS runtime\nCOPY --from=packages /debs /debs\n{labels}"
    )
    return on_archive


def built(checkout: Path, name: str, *arguments: str) -> str:
    """Build the image; return the version of the small archive's package in it."""
    done = make("image", f"IMAGE={name}", *arguments, checkout=checkout)
    assert done.returncode == 0, done.stderr
    with rootfs.exported(name) as root:
        found = re.search(r"debs/media-types_([\d.]+)_all\.deb", "\n".join(root.members))
        return found[1] if found else contents.debian(root)["media-types"]


def test_a_moment_gives_its_packages_and_later_the_same_again(
    request: pytest.FixtureRequest, archive: Archive, name: str
) -> None:
    """The second version is in the security archive; lists of a moment have expired.

    At length the whole image is the same, bit for bit. Else each package is.
    """
    checkout = request.getfixturevalue("on_archive" if FULL else "packages_only")
    Repository(checkout).begin()  # the times in an image are those of a commit
    images = []
    for moment, version in ((FIRST, "99.1"), (SECOND, "99.2"), (FIRST, "99.1")):
        assert built(checkout, name, f"DEBIAN_SNAPSHOT={moment}", "FRESH=1") == version
        assert inspect(name)["Config"]["Labels"]["org.debian.snapshot"] == moment
        with rootfs.exported(name) as root:
            images.append(inspect(name)["Id"] if FULL else changes.files(root))
        archive.security("after")  # the archive of today moves on meanwhile
    assert images[0] == images[2] != images[1]


def test_a_fresh_build_has_the_fix_that_the_cache_hides(
    packages_only: Path, archive: Archive, name: str
) -> None:
    assert built(packages_only, name) == "99.1"
    assert inspect(name)["Config"]["Labels"]["org.debian.snapshot"] == ""
    archive.security("after")
    assert built(packages_only, name) == "99.1"
    assert built(packages_only, name, "FRESH=1") == "99.2"
    # And the cache has it from now on.
    assert built(packages_only, name) == "99.2"


@pytest.mark.parametrize(
    "moment", ["2026-01-01", "20260101T000000", "20261301T000000Z", "20991231T000000Z", "x'; ls"]
)
def test_a_moment_that_is_none_is_an_error_before_any_build(moment: str) -> None:
    done = make("image", f"DEBIAN_SNAPSHOT={moment}", DOCKER_HOST="tcp://127.0.0.1:1")
    assert done.returncode != 0
    line = f"error: DEBIAN_SNAPSHOT={moment}: expected a moment that is past, as 20261101T000000Z"
    assert done.stderr.splitlines()[0] == line
    assert "Traceback" not in done.stderr


def test_a_moment_that_the_archive_has_not_is_one_clear_line(
    packages_only: Path, name: str
) -> None:
    done = make(
        "image", f"IMAGE={name}", "DEBIAN_SNAPSHOT=19990101T000000Z", checkout=packages_only
    )
    assert done.returncode != 0
    assert (
        "error: Debian's dated archive has nothing of the moment in DEBIAN_SNAPSHOT" in done.stderr
    )


def test_a_base_that_names_no_dated_archive_is_one_clear_line(
    packages_only: Path, name: str, tmp_path: Path
) -> None:
    """As a stand-in, which has Debian's archive alone."""
    text = (packages_only / "Dockerfile").read_text()
    (reference,) = re.findall(r"^FROM (\S+) AS base$", text, re.MULTILINE)
    stand_in = base.stand_in(reference)
    folder = tmp_path / "without"
    folder.mkdir()
    undated = "RUN sed -i '/^#/d' /etc/apt/sources.list.d/debian.sources"
    (folder / "Dockerfile").write_text(f"FROM {stand_in}\n{undated}\n")
    archives.build(stand_in, folder)
    done = make("image", f"IMAGE={name}", f"DEBIAN_SNAPSHOT={FIRST}", checkout=packages_only)
    assert done.returncode != 0
    assert "error: DEBIAN_SNAPSHOT is set, but this base does not name" in done.stderr
