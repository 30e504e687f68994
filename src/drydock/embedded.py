"""Where the embedded database may be: what is checked of its directory, and what is told of it.

Two processes on one machine may share the file: SQLite's locks hold between containers as well.
Two machines may not: the log (WAL) has an index in memory that they do not share, and the file
breaks without an error. https://www.sqlite.org/wal.html, "Overview", 3.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

# What several machines can mount at once, as the kernel names it. Of FUSE only what says so; any
# other may be a local one, as that of Docker Desktop is.
SHARED = re.compile(
    r"(nfs|cifs|smb|ceph|lustre|afs|gluster|gfs2|ocfs2|beegfs|gpfs)\w*"
    r"|fuse\.(ceph|gcsfuse|gluster|juicefs|nfs|rclone|s3fs|smb|sshfs)[\w-]*"
)
TRANSIENT = {"tmpfs", "ramfs", "overlay"}  # memory, or the container's own layer


def file_system(directory: Path, mounts: str | None = None) -> str:
    """The type of the file system that `directory` is on, as the kernel names it.

    `mounts` is by default /proc/self/mountinfo (proc_pid_mountinfo(5)).
    """
    found = ""
    longest = -1
    for line in (mounts or Path("/proc/self/mountinfo").read_text()).splitlines():
        fields, _, kind = line.partition(" - ")
        # A space in a path is written as \040.
        point = Path(re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), fields.split()[4]))
        # The last of those at one point is the one that is seen.
        if directory.is_relative_to(point) and len(point.parts) >= longest:
            found, longest = kind.split()[0], len(point.parts)
    return found


def problem(directory: Path) -> str | None:
    """Make `directory`; return one line that says why the database can't be there, or None."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        return (
            f"DATA_DIR={directory}: user {os.geteuid()}:{os.getegid()} can't write there "
            f"({error.strerror}). Mount a volume that it may write, or set DATABASE_URL."
        )
    kind = file_system(directory.resolve())
    if SHARED.fullmatch(kind):
        return (
            f"DATA_DIR={directory}: {kind} can be shared between machines, which breaks SQLite's "
            "files. Mount a volume of this machine, or set DATABASE_URL."
        )
    return None


def note(file: Path) -> str:
    """What the operator has to know of a database in `file`: one line."""
    kind = file_system(file.parent.resolve())
    lost = ", and gone with this container" if kind in TRANSIENT else ""
    where = f"{file} ({kind}), not in a database that all replicas share"
    return f"no DATABASE_URL is set: the data is in {where}{lost}"
