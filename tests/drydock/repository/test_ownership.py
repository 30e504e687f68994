"""What each file of an image belongs to, and what a fork may say of one that has no package."""

from __future__ import annotations

import hashlib
import io
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

import bounds
import contents
from rootfs import Root

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SITE = "opt/venv/lib/python3.13/site-packages"
CODE, LIBRARY = b"x = 1\n", b"\x7fELF library"
INTACT = {
    "var/lib/dpkg/status.d/one": b"Package: one\nVersion: 1:1-1\n",
    "var/lib/dpkg/status.d/one.md5sums": hashlib.md5(CODE, usedforsecurity=False)
    .hexdigest()
    .encode()
    + b"  usr/one.py\n",
    "usr/one.py": CODE,
    "usr/__pycache__/one.cpython-313.pyc": b"bytecode",
    f"{SITE}/My_Two-2.0.dist-info/METADATA": b"Name: My_Two\nVersion: 2.0\n",
    f"{SITE}/My_Two-2.0.dist-info/RECORD": (
        contents.hashed(LIBRARY, "sha256=").join(("two.libs/libtwo.so.2,", ",13\n"))
        + "two/fast.abi3.so,,\nMy_Two-2.0.dist-info/METADATA,,\nMy_Two-2.0.dist-info/RECORD,,\n"
    ).encode(),
    f"{SITE}/two/fast.abi3.so": LIBRARY,
    f"{SITE}/two.libs/libtwo.so.2": LIBRARY,
}


@pytest.fixture
def problems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """What is wrong with a root of these files, in a fork with these exceptions."""
    opened = []

    def find(files: dict[str, bytes], **exceptions: str) -> list[str]:
        monkeypatch.setattr(bounds, "of_the_fork", lambda: {"no-package": exceptions})
        opened.append(root_of(files, tmp_path / "root.tar"))
        return contents.problems(opened[-1])

    yield find
    for root in opened:
        root.close()


def root_of(files: dict[str, bytes], file: Path) -> Root:
    with tarfile.open(file, "w") as archive:
        for path, data in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return Root(file)


def test_files_of_packages_and_their_bytecode_are_accounted_for(problems: Any) -> None:
    assert not problems(INTACT)


@pytest.mark.parametrize(
    ("files", "line"),
    [
        ({"usr/bin/stray": b"x"}, "/usr/bin/stray: belongs to no package of the image"),
        (
            {"usr/__pycache__/gone.cpython-313.pyc": b"x"},
            "/usr/__pycache__/gone.cpython-313.pyc: belongs to no package of the image",
        ),
        ({"usr/one.py": b"changed"}, "/usr/one.py: not as one 1:1-1 made it"),
        (
            {f"{SITE}/two.libs/libtwo.so.2": b"changed"},
            f"/{SITE}/two.libs/libtwo.so.2: not as my-two 2.0 made it",
        ),
    ],
)
def test_any_other_file_or_content_is_named(
    problems: Any, files: dict[str, bytes], line: str
) -> None:
    assert problems(INTACT | files) == [line]


def test_a_file_that_a_package_lists_and_that_is_gone_is_named(problems: Any) -> None:
    gone = {path: data for path, data in INTACT.items() if path != "usr/one.py"}
    assert "/usr/one.py: one 1:1-1 lists it, and it is not there" in problems(gone)


def test_a_fork_may_except_a_file_with_a_reason_and_no_longer_than_it_is_there(
    problems: Any,
) -> None:
    where = "pyproject.toml, [tool.drydock.no-package]"
    stray = INTACT | {"opt/model.bin": b"x"}
    assert not problems(stray, **{"/opt/*.bin": "a model, from the build's own stage"})
    assert problems(stray, **{"/opt/*.bin": ""}) == [f"{where}: /opt/*.bin has no reason"]
    assert problems(INTACT, **{"/opt/*.bin": "x"}) == [f"{where}: /opt/*.bin is no file's path"]


def test_a_library_of_a_wheel_is_told_from_its_extension_modules(tmp_path: Path) -> None:
    root = root_of(INTACT, tmp_path / "root.tar")
    two = contents.Package("pypi", "my-two", "2.0")
    assert contents.bundled(root) == {f"/{SITE}/two.libs/libtwo.so.2": two}
    root.close()
