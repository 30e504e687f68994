"""Two builds are one image; where they are not, what differs is named."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest

import base
import differences
import layout
import reproduce
from checkouts import CHECKOUT, copy, environment, make
from containers import docker, eventually, unique
from depth import FULL
from forks import Repository
from processes import running

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.early


def test_two_builds_are_the_same_bit_for_bit() -> None:
    """Down to the digest that a registry would know the image by: layers, history and all.

    At length, both are made without any cache. Else the first is what the cache has, and the second
    makes anew all but what came from Debian's archive, which may have moved on since: the root's
    packages and the compiled driver.
    """
    if FULL:
        done = make("reproduce", timeout=3600)
        assert done.returncode == 0, done.stdout + done.stderr
        print(done.stdout)
        assert re.search(r"^two builds gave one image, ", done.stdout, re.MULTILINE)
    else:
        again = ("--no-cache-filter", "rootfs,wheel,dependencies,project,runtime")
        assert reproduce.twice(CHECKOUT, (), again).startswith("sha256:")


def checkout(target: Path, dockerfile: str) -> Path:
    """A checkout whose image is a small one, which takes a second to build."""
    copy(target)
    (target / "Dockerfile").write_text(f"FROM {base.reference()} AS base\n{dockerfile}")
    Repository(target).begin()
    return target


STAMP = "RUN date +%N > /stamp\nFROM scratch AS runtime\nCOPY --from=base /stamp /srv/stamp\n"
MOVED = "RUN echo 'Get:1 http://a.example trixie/main amd64 libc6 amd64 2.'$(date +%N)' [1 B]'\n"


@pytest.mark.parametrize(
    ("dockerfile", "expected"),
    [
        # A time stamp in a stage: the layer that has it, the file in it, and how that differs.
        (
            STAMP,
            r"layer 1, made by `COPY /stamp /srv/stamp # buildkit`:\n(?s:.*)"
            r"    srv/stamp: content '\w+' and '\w+'(?s:.*)"
            r"    how srv/stamp differs:\n(?s:.*)-\d{9}\n *\+\d{9}\n(?s:.*)"
            "error: two builds gave two images; how they differ is above\n",
        ),
        # How the two copies of the sources differ shows in an image that takes them as they are.
        (
            "FROM scratch AS runtime\nCOPY gunicorn.conf.py /\n",
            r"    gunicorn.conf.py: mode '644' and '600', modified '2001-\S+' and '2026-\S+'\n",
        ),
        # Not the build's fault.
        (
            MOVED + STAMP,
            "error: Debian's archive has moved on between both builds, so try again: "
            r"libc6 '2\.\d+' and '2\.\d+'\n",
        ),
    ],
    ids=["stamp", "sources", "archive"],
)
def test_a_difference_is_found_and_named(tmp_path: Path, dockerfile: str, expected: str) -> None:
    done = make("reproduce", checkout=checkout(tmp_path / "checkout", dockerfile))
    assert done.returncode != 0
    assert re.search(expected, done.stdout + done.stderr), done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_one_digest_is_printed(tmp_path: Path) -> None:
    small = "FROM scratch AS runtime\nWORKDIR /app\nENV A=1\n"
    done = make("reproduce", checkout=checkout(tmp_path / "checkout", small))
    assert done.returncode == 0, done.stderr
    assert re.search(
        r"^two builds gave one image, .*: sha256:[0-9a-f]{64}$", done.stdout, re.MULTILINE
    )


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    slow = "RUN sleep 3\nFROM scratch AS runtime\nCOPY --from=base /etc/hostname /\n"
    root = checkout(tmp_path / "checkout", slow)
    log = tmp_path / "log"
    with (
        log.open("w") as stream,
        running(
            [sys.executable, str(root / "scripts/reproduce.py")], env=environment(), stderr=stream
        ) as process,
    ):
        eventually(lambda: ":second ..." in log.read_text(), 120, "the second build")
        tag = f"drydock-reproduce-{process.pid}"
        assert docker("image", "ls", "--quiet", tag).stdout
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    time.sleep(4)  # by then a build that goes on would have made its image
    assert not docker("image", "ls", "--quiet", tag).stdout
    assert log.read_text().endswith("interrupted\n")


def read(folder: Path, instructions: str) -> differences.Image:
    """Build a small image from what is in `folder`, and read it."""
    name = unique("difference") + ":latest"
    (folder / "Dockerfile").write_text(f"FROM scratch\n{instructions}\n")
    # Without the cache, which takes files for the same that differ in their times alone.
    docker(
        *("build", "--quiet", "--no-cache", "--provenance=false", "--tag", name),
        *("--build-arg", "SOURCE_DATE_EPOCH=0", str(folder)),
    )
    saved = layout.save(name, folder.parent / name)
    docker("image", "rm", "--force", name)
    return differences.Image(layout.load(saved))


def settle(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (0, 0), follow_symlinks=False)


def test_each_kind_of_difference_is_named(tmp_path: Path) -> None:
    context, files = tmp_path / "context", tmp_path / "context/files"
    files.mkdir(parents=True)
    for name in ("aged", "binary", "gone", "permitted", "retyped", "rewritten", "same"):
        (files / name).write_text("a line\n")
    (files / "link").symlink_to("a")
    settle(context)
    copied = "COPY files /files\n"
    first = read(context, f"{copied}COPY files/same /\n")
    assert list(differences.explain(first, first)) == []
    for name in ("gone", "link", "retyped"):
        (files / name).unlink()
    (files / "link").symlink_to("b")
    (files / "retyped").mkdir()
    (files / "binary").write_bytes(b"\xff")
    (files / "permitted").chmod(0o600)
    (files / "rewritten").write_text("another line\n")
    for number in range(differences.FILES):
        (files / f"new-{number:02}").touch()
    settle(context)
    os.utime(files / "aged", (86400, 86400))
    second = read(
        context,
        f"{copied}COPY --chown=1:2 files/same /\nCOPY files/aged /\nENV B=1\n",
    )
    lines = [re.sub(r"'\w{12}'", "'HASH'", line) for line in differences.explain(first, second)]
    named, content = differences.of_layers(first.layer(0), second.layer(0))
    assert lines[0] == "layer 1, made by `COPY files /files # buildkit`:"
    for line in (
        "    files/aged: modified '1970-01-01T00:00:00+00:00' and '1970-01-02T00:00:00+00:00'",
        "    files/binary: content 'HASH' and 'HASH'",
        "    files/gone: only in the first",
        "    files/link: link 'a' and 'b'",
        "    files/new-00: only in the second",
        f"    and {len(named) - differences.FILES} more",
        "    how files/binary differs:",
        "    same: owner '0:0' and '1:2'",
        "layers: 2 and 3",
        "configuration, config.Env[1]: None and 'B=1'",
    ):
        assert line in lines
    assert content == "files/binary"
    assert "files/permitted: mode '644' and '600'" in named
    assert any(line.startswith("files/retyped: type '0' and '5'") for line in named)
    assert not [line for line in named if line.startswith("files/same")]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (b"one\ntwo\n", b"one\n2\n", ["-two", "+2"]),
        (b"\xff", b"\xfe", ["it is no text; diffoscope, where it is installed, shows how"]),
    ],
)
def test_without_diffoscope_the_lines_of_a_text_are_shown(
    first: bytes, second: bytes, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert differences.how("etc/file", first, second)[-len(expected) :] == expected


def test_with_diffoscope_its_text_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How it is called; what it is called with, is real, what it says is not."""
    tool = tmp_path / "diffoscope"
    tool.write_text('#!/bin/sh\necho "$1 $2"; cat "$3" "$4"; basename "$3" "$4"; exit 1\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    said = differences.how("etc/file", b"one\n", b"two\n")
    assert said[:3] == ["--text -", "one", "two"]
