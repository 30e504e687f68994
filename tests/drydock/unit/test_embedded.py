"""The embedded database: where its file may be, and what the start says of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from drydock import State, embedded
from probe import create_app
from probe.settings import Settings

if TYPE_CHECKING:
    from applications import Build

pytestmark = pytest.mark.database

# As the kernel shows them in containers of Docker and of Kubernetes.
MOUNTS = """\
381 240 0:143 / / rw,relatime master:8 - overlay overlay rw,lowerdir=/x,upperdir=/y
440 381 254:0 /var/lib/docker/volumes/blogs/_data /data rw,relatime master:1 - ext4 /dev/vda rw
441 381 0:155 / /data2 rw,nosuid - tmpfs tmpfs rw
442 381 0:52 / /efs rw,relatime - nfs4 127.0.0.1:/ rw,vers=4.1
443 442 0:53 / /efs/local rw,relatime - xfs /dev/vdb rw
444 381 0:54 / /files rw,relatime shared:3 - cifs //host/share rw
445 381 0:55 / /pod\\040data rw,relatime - fuse.glusterfs host:/volume rw
446 381 0:56 / /twice rw - nfs host:/ rw
447 446 0:57 / /twice rw - btrfs /dev/vdc rw
448 381 0:58 / /desktop rw - fuse.grpcfuse grpcfuse rw
449 381 0:59 / /ceph rw - ceph host:/ rw
"""


@pytest.mark.parametrize(
    ("directory", "kind", "shared"),
    [
        *(("/", "overlay", False), ("/data", "ext4", False), ("/data/sub", "ext4", False)),
        *(("/data2", "tmpfs", False), ("/data3", "overlay", False), ("/efs/app", "nfs4", True)),
        *(("/efs/local/app", "xfs", False), ("/files", "cifs", True), ("/ceph", "ceph", True)),
        *(("/pod data/app", "fuse.glusterfs", True), ("/twice/x", "btrfs", False)),
        ("/desktop/app", "fuse.grpcfuse", False),
    ],
)
def test_the_file_system_is_that_of_the_innermost_mount(
    directory: str, kind: str, shared: bool
) -> None:
    found = embedded.file_system(Path(directory), MOUNTS)
    assert found == kind
    assert bool(embedded.SHARED.fullmatch(found)) == shared


def test_it_is_what_the_kernel_says() -> None:
    assert embedded.file_system(Path("/proc/self")) == "proc"
    assert embedded.file_system(Path("/dev/shm")) == "tmpfs"


def test_what_machines_share_ends_the_start_with_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(embedded, "file_system", lambda _: "nfs4")
    with pytest.raises(SystemExit) as ended:
        create_app(Settings(data_dir=tmp_path))
    message = str(ended.value)
    assert message.startswith(f"error: DATA_DIR={tmp_path}: nfs4 can be shared between machines")
    assert "DATABASE_URL" in message
    assert "\n" not in message


def told(capfd: pytest.CaptureFixture[str]) -> list[str]:
    return [
        line for line in capfd.readouterr().out.splitlines() if "no DATABASE_URL is set" in line
    ]


def test_in_production_the_file_is_named_at_each_start(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for _ in range(2):
        State.of(create_app(Settings(app_env="production", data_dir=tmp_path))).engine.dispose()
        (line,) = told(capfd)
        assert '"level": "warning"' in line
        assert f"{tmp_path}/app.sqlite ({embedded.file_system(tmp_path)})" in line


@pytest.mark.parametrize(
    ("kind", "gone"), [("ext4", False), ("tmpfs", True), ("overlay", True), ("btrfs", False)]
)
def test_it_is_said_if_the_data_goes_with_the_container(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, gone: bool
) -> None:
    monkeypatch.setattr(embedded, "file_system", lambda _: kind)
    assert ("gone with this container" in embedded.note(tmp_path / "app.sqlite")) == gone


def test_nothing_is_said_in_development_nor_with_an_address(
    build: Build, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    State.of(create_app(Settings(data_dir=tmp_path))).engine.dispose()
    build(app_env="production")
    assert told(capfd) == []
