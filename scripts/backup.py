"""Back up the stack's database into a file; restore it from one.

Both run PostgreSQL's own programs in the database's container, of the same version as the server.
https://www.postgresql.org/docs/17/backup-dump.html
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from pathlib import Path

from common import die, entry, say
from stack import COMPOSE, agreed, compose, config, fail

IN_DATABASE = (*COMPOSE, "exec", "--no-TTY", "db")
# All of it, or nothing: a failure leaves out the COMMIT, and then nothing is changed. The schema is
# dropped as a whole, since pg_restore's --clean leaves tables that are not in the backup, and the
# next migration would fail on them. It is created again as initdb does it. The service's rights are
# in the backup as well, less than the usual ones where a migration took some away; so those are not
# given meanwhile. A backup of before there were two roles has no rights: it gets the usual ones.
RESTORE = r"""
set -euo pipefail
{
    cat << "SQL"
BEGIN;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM app;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON SEQUENCES FROM app;
DROP SCHEMA public CASCADE;
CREATE SCHEMA public AUTHORIZATION pg_database_owner;
GRANT USAGE ON SCHEMA public TO PUBLIC;
SQL
    pg_restore --no-owner --file=- && cat << "SQL"
SELECT NOT EXISTS (SELECT FROM pg_default_acl) AS without_rights \gset
\if :without_rights
\include /docker-entrypoint-initdb.d/2-rights.sql
\endif
COMMIT;
SQL
} | psql --username=app_owner --dbname=app --quiet --set=ON_ERROR_STOP=1 --output=/dev/null
"""
HEADER = b"PGDMP"  # of pg_dump's custom format


def require_database() -> None:
    """End with one line if the database does not run, or there is none."""
    if "db" not in config()["services"]:
        die("compose.yaml has no service db: there is no database to save or to put back")
    if compose("exec", "--no-TTY", "db", "true").returncode != 0:
        die("the database is not running; `make up` starts the stack")


def backup(file: Path) -> None:
    """Write the database, as it is at one moment, to `file`, which appears only when complete."""
    if file.exists():
        die(f"{file} exists already; a backup is never overwritten: choose another name")
    if not file.parent.is_dir():
        die(f"{file.parent} is no directory")
    command = (*IN_DATABASE, "pg_dump", "--username=app_owner", "--format=custom", "app")
    # Nobody else may read the data: a temporary file's mode is 600, and renaming keeps it.
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=".backup-")
    part = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            done = subprocess.run(command, stdout=stream, stderr=subprocess.PIPE, check=False)
            if done.returncode != 0:
                die(f"pg_dump failed: {done.stderr.decode(errors='replace').strip()}")
            os.fsync(stream.fileno())
        part.rename(file)
    finally:
        part.unlink(missing_ok=True)
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
    with file.open("rb") as dump:
        command = (*IN_DATABASE, "bash", "-c", RESTORE)
        done = subprocess.run(command, stdin=dump, capture_output=True, check=False)
    if done.returncode != 0:
        reason = done.stderr.decode(errors="replace").strip()
        die(f"nothing was changed, because pg_restore failed: {reason}")
    # A backup may be older than the service.
    migrated = compose("run", "--rm", "--no-deps", "migrate")
    if migrated.returncode != 0:
        fail("the database is restored, but its migration failed", migrated)
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
