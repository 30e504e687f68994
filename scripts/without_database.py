"""What only a database needs in a checkout, and what is left of a file without it.

Read by `make adopt DATABASE=none`, which leaves it out, and by `make update`, which leaves it out
of the template's releases for a fork that has. docs/without-database.md lists it for a person.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from common import die

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

# The declaration: a service has a database if this is there. tests/database.py reads it as well.
LOCK = "requirements/database.txt"
KUBERNETES = "deploy/kubernetes"
FILES = (
    LOCK,
    "requirements/driver.txt",
    "requirements/database.list",
    f"{KUBERNETES}/base/migration.yaml",
)
SETTINGS = r"(?:DATABASE_\w+|DATA_DIR)"
# Code that needs it, to be found in a fork's own.
IMPORT = re.compile(r"^ *(?:from|import) (?:drydock\.database|sqlalchemy|alembic)\b", re.MULTILINE)
# The sample's background process, which counts rows.
WORK = ("src/app/work.py", "tests/app/test_work.py")
OWN = ("src/app/", "tests/app/")
SERVICE = ("src/app/__init__.py", "src/app/settings.py")


def left_out(paths: Collection[str]) -> bool:
    """Whether a checkout with these files is of a service without a database."""
    return LOCK not in paths


def stack(text: str) -> str:
    """compose.yaml without the services `db` and `migrate`, their roles, secrets and data."""
    for pattern, less in (
        (r"a database, its migration, the service, a gateway", "the service, a gateway"),
        # Services, with what is indented below them.
        (r"^  (?:db|migrate):\n(?:(?:    .*)?\n)+(?=  \S)", ""),
        (r"^x-database: &database$", "x-secrets: &secrets"),
        (r"(?<=[ :])\*database$", "*secrets"),
        (r"^# As the role that may read and write rows.*\n(?:# .*\n)*", ""),
        (r"^ *DATABASE_\w+: .*\n", ""),
        (r"^      (?:db|migrate): \{ condition: .*\}\n", ""),
        (r"^    depends_on:\n(?! {6})", ""),
        # In lists of secrets, and what they are.
        (r"\bdb_(?:owner_)?password(?:, |(?=\]))", ""),
        (r"^    secrets: \[\]\n", ""),
        (r"^(?:  # Of the .*\n)?  db_(?:owner_)?password:\n    file: .*\n", ""),
        (r"^  db:\n(?! {4})", ""),
        (r"^volumes:\n\n", ""),
        (r"# To and from the database\.", "# Of the service's own processes."),
    ):
        text = re.sub(pattern, less, text, flags=re.MULTILINE)
    return text


def monitoring(text: str) -> str:
    """The files of `make observe` without the database's exporter, its secret and its job."""
    for pattern in (
        r"^  postgres-exporter:\n(?:(?:    .*)?\n)+(?=  \S)",
        r"^\nsecrets:\n  db_monitor_password:\n    file: .*\n",
        r"^  - job_name: database\n(?:    .*\n)+",
    ):
        text = re.sub(pattern, "", text, flags=re.MULTILINE)
    return text


def kubernetes(text: str) -> str:
    """A file of the base or of an overlay without the migration and the database's address."""
    for pattern, less in (
        (r"^  - migration\.yaml\n", ""),
        (r", of the service and of the migration\.", "."),
        # Of the service's pods.
        (r"^ *- \{ (?:name: DATABASE_URL_FILE|key: database-url), .*\n", ""),
        (r"(# Whether a restart would help\.) Never asks the database\.", r"\1"),
        (
            r"while it stops, and not without the database or\n +# before its migration\.",
            "while it stops.",
        ),
        # The way out of them: the policy, and what an overlay makes of it.
        (r"^---\n# The database is .*\n(?:(?!---).*\n)+", ""),
        (r"^  # Where the database is\.\n  - target: .*\n(?:    .*\n)+", ""),
    ):
        text = re.sub(pattern, less, text, flags=re.MULTILINE)
    return text


def swarm(text: str) -> str:
    """deploy/swarm/stack.yaml without a database's address, and the way to it."""
    for pattern in (
        r"^(?:# .*\n)*x-database: .*\n\n",
        r"^  (?:db|migrate):(?: .*)?\n(?:    .*\n)*\n?",
        r"^networks:\n(?: .*\n)*\n",
        r"^volumes:\n(?: .*\n)*",
    ):
        text = re.sub(pattern, "", text, flags=re.MULTILINE)
    return text.rstrip() + "\n"


def project(text: str) -> str:
    """pyproject.toml without what a developer's alembic reads."""
    return re.sub(
        r"^# For `alembic` as a developer.*\n\[tool\.alembic\]\n(?:.*\n)*?(?=\[tool\.(?!alembic))",
        "",
        text,
        flags=re.MULTILINE,
    )


def settings(text: str) -> str:
    """docs/settings.md without a database's."""
    return re.sub(rf"^\| `{SETTINGS}`.*\n", "", text, flags=re.MULTILINE)


def example(text: str) -> str:
    """.env.example without a database's settings, each of which has its comment above it."""
    return re.sub(rf"\n(?:# .*\n)+#{SETTINGS}=.*\n", "", text)


WITHOUT: dict[str, Callable[[str], str]] = {
    "compose.yaml": stack,
    "deploy/monitoring/compose.yaml": monitoring,
    "deploy/monitoring/prometheus.yaml": monitoring,
    "deploy/stand-ins/monitoring.yaml": monitoring,
    f"{KUBERNETES}/base/deployment.yaml": kubernetes,
    f"{KUBERNETES}/base/kustomization.yaml": kubernetes,
    f"{KUBERNETES}/base/network-policies.yaml": kubernetes,
    f"{KUBERNETES}/overlays/production/kustomization.yaml": kubernetes,
    "deploy/swarm/stack.yaml": swarm,
    "pyproject.toml": project,
    "docs/settings.md": settings,
    ".env.example": example,
}


def without(path: str, text: str) -> str | None:
    """What a file says without a database; None where the file goes."""
    if path in FILES:
        return None
    return WITHOUT[path](text) if path in WITHOUT else text


def edits(files: Collection[str], read: Callable[[str], str]) -> dict[str, str | None]:
    """The edits that leave the database out of a checkout with these files; None where one goes.

    `read` gives a file's text. What is a fork's own stays, but for what declares the database.

    Raises:
        SystemExit: with one line, if something of the fork's own needs the database.

    """
    found = {path: without(path, read(path)) for path in files if path in {*FILES, *WITHOUT}}
    service, kind = (read(path) for path in SERVICE)
    service = re.sub(r"^ *migrations=.*\n", "", service, flags=re.MULTILINE)
    if IMPORT.search(read(WORK[0])):
        found |= dict.fromkeys(path for path in WORK if path in files)
        service = re.sub(r"^ *work=\"app\.work:.*\n", "", service, flags=re.MULTILINE)
    for path, text in zip(SERVICE, (service, kind), strict=True):
        if path in files:
            found[path] = re.sub(r"\bdrydock\.Settings\b", "drydock.BaseSettings", text)
    for path in files:
        if path.startswith(OWN) and path not in found and needed_by(path, read(path)):
            die(f"DATABASE=none: {path} needs the database; remove what does, and commit that")
    return found


def needed_by(path: str, text: str) -> bool:
    """Whether a file of the fork's own needs the database."""
    return "/migrations/" in path or (path.endswith(".py") and bool(IMPORT.search(text)))
