"""Back up the stack's database into a file; restore it from one.

Both run PostgreSQL's own programs in the database's container, of the very server's version.
https://www.postgresql.org/docs/17/backup-dump.html
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from pathlib import Path

from common import die, entry, say
from stack import COMPOSE, agreed, compose, fail

IN_DATABASE = (*COMPOSE, "exec", "--no-TTY", "db")
HEADER = b"PGDMP"  # of pg_dump's custom format


def require_database() -> None:
    """End with one line if the database does not run."""
    if compose("exec", "--no-TTY", "db", "true").returncode != 0:
        die("the database is not running; `make up` starts the stack")


def backup(file: Path) -> None:
    """Write the database, as it is at one moment, to `file`, which appears only when complete."""
    if file.exists():
        die(f"{file} exists already; a backup is never overwritten: choose another name")
    if not file.parent.is_dir():
        die(f"{file.parent} is no directory")
    command = (*IN_DATABASE, "pg_dump", "--username=app", "--format=custom", "app")
    with tempfile.NamedTemporaryFile(dir=file.parent, prefix=f".{file.name}.") as part:
        done = subprocess.run(command, stdout=part, stderr=subprocess.PIPE, check=False)
        if done.returncode != 0:
            die(f"pg_dump failed: {done.stderr.decode(errors='replace').strip()}")
        part.flush()
        os.fsync(part.fileno())
        # The data is nobody else's business: the file has mode 600, as all temporary files.
        file.hardlink_to(part.name)
    say(f"saved the database to {file} ({file.stat().st_size} bytes)")


def restore(file: Path) -> None:
    """Replace the database's contents by those of `file`: all of it, or nothing."""
    try:
        with file.open("rb") as dump:
            if dump.read(len(HEADER)) != HEADER:
                die(f"{file} is no backup made by `make backup`")
    except OSError as error:
        die(f"{file}: {error.strerror}")
    if not agreed(f"Replace all that is in the database by {file}?"):
        die("nothing was changed")
    restoring = ("pg_restore", "--username=app", "--dbname=app", "--single-transaction")
    with file.open("rb") as dump:
        done = subprocess.run(
            [*IN_DATABASE, *restoring, "--clean", "--if-exists", "--exit-on-error"],
            stdin=dump,
            capture_output=True,
            check=False,
        )
    if done.returncode != 0:
        reason = done.stderr.decode(errors="replace").strip()
        die(f"nothing was changed, for pg_restore failed: {reason}")
    # A backup may be older than the service.
    migrated = compose("run", "--rm", "--no-deps", "migrate")
    if migrated.returncode != 0:
        fail("the database is restored, but its migration failed", migrated, "migrate")
    say(f"restored the database from {file}")


def main() -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("verb", choices=("backup", "restore"))
    parser.add_argument("file", type=Path, nargs="?")
    arguments = parser.parse_args()
    if arguments.file is None:
        die(f"name the file: make {arguments.verb} FILE=app.dump")
    require_database()
    {"backup": backup, "restore": restore}[arguments.verb](arguments.file)


if __name__ == "__main__":
    with entry():
        main()
