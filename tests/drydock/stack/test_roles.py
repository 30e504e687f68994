"""The database's roles: the service may read and write rows, the owner may migrate and restore."""

from __future__ import annotations

import json
import re
import subprocess
import textwrap
from typing import TYPE_CHECKING

import pytest

import containers
from checkouts import CHECKOUT
from containers import HARDENED, docker, postgres, started

if TYPE_CHECKING:
    from pathlib import Path

    from stacks import Stack

pytestmark = pytest.mark.database

STACK, SERVICE = ((CHECKOUT / "docs" / name).read_text() for name in ("stack.md", "service.md"))

# What an SQL injection would try; and what a role that is not the owner has no need of.
FORBIDDEN = (
    *("COPY notes TO PROGRAM 'id'", "COPY notes FROM PROGRAM 'id'", "COPY notes TO '/tmp/notes'"),
    *("SELECT pg_read_file('/etc/passwd')", "SELECT pg_ls_dir('/')", "SELECT lo_import('/x')"),
    *("CREATE TABLE x ()", "CREATE TEMPORARY TABLE x ()", "CREATE SCHEMA x", "CREATE DATABASE x"),
    *("CREATE FUNCTION x() RETURNS integer LANGUAGE sql AS 'SELECT 1'", "CREATE ROLE x"),
    *("ALTER TABLE notes ADD x integer", "DROP TABLE notes", "TRUNCATE notes", "DROP DATABASE app"),
    *("ALTER ROLE app SUPERUSER", "ALTER ROLE app_owner PASSWORD 'x'", "SET ROLE app_owner"),
    *("GRANT app_owner TO app", "ALTER SYSTEM SET work_mem = '1GB'"),
    *(
        "SELECT rolpassword FROM pg_authid",
        "ALTER DEFAULT PRIVILEGES FOR ROLE app_owner GRANT ALL ON TABLES TO app",
    ),
)
ALLOWED = (
    "INSERT INTO notes (title) VALUES ('by the role')",
    "UPDATE notes SET title = 'changed' WHERE title = 'by the role'",
    "SELECT title FROM notes",
    "DELETE FROM notes WHERE title = 'changed'",
)
# Prints for each statement what the database says: its class of errors, or nothing.
TRY = """
import json, sys
from drydock.database import url
from drydock.settings import Settings
import psycopg
address = url(Settings.load()).translate_connect_args(username="user", database="dbname")
said = []
with psycopg.connect(**address, autocommit=True) as connection:
    for statement in json.loads(sys.argv[1]):
        try:
            connection.execute(statement)
            said.append("")
        except psycopg.Error as error:
            said.append(error.sqlstate)
print(json.dumps(said))
"""
REFUSED = "42501"  # insufficient_privilege


def said(container: str, *statements: str) -> list[str]:
    """What the database says to the service of that container, as the role that it has."""
    command = ("exec", container, "python3", "-c", TRY, json.dumps(statements))
    found: list[str] = json.loads(docker(*command).stdout)
    return found


def check(container: str) -> None:
    """Check that the service's role has its rights, and no other."""
    assert said(container, *ALLOWED) == [""] * len(ALLOWED)
    allowed = zip(FORBIDDEN, said(container, *FORBIDDEN), strict=True)
    assert [pair for pair in allowed if pair[1] != REFUSED] == []


def psql(stack: Stack, statement: str, role: str = "app_owner") -> str:
    options = (f"--username={role}", "--dbname=app", "--quiet", "--tuples-only", "--no-align")
    (db,) = stack.containers("db")
    return docker("exec", db, "psql", *options, "--command", statement).stdout.strip()


@pytest.mark.parametrize("service", ["app", "background"])
def test_the_service_may_read_and_write_rows_and_nothing_else(stack: Stack, service: str) -> None:
    (container,) = stack.containers(service)
    check(container)


def test_only_the_owner_s_password_lets_a_migration_in(stack: Stack) -> None:
    """Nor does the superuser have one that leads in, from another container or its own."""
    (app,) = stack.containers("app")
    (db,) = stack.containers("db")
    connect = (
        "import psycopg, sys\ntry:\n    psycopg.connect(sys.argv[1])\n    print('in')\n"
        "except psycopg.OperationalError as error:\n    print(error)"
    )
    owner = (stack.checkout / "secrets/db_owner_password").read_text().strip()
    own = (stack.checkout / "secrets/db_password").read_text().strip()
    for role, password, database, expected in (
        ("app_owner", owner, "app", "in"),
        ("app_owner", own, "app", "password authentication failed"),
        ("app", owner, "app", "password authentication failed"),
        ("app", own, "postgres", "no pg_hba.conf entry"),
        ("postgres", "unused", "app", "no pg_hba.conf entry"),
        ("postgres", owner, "postgres", "no pg_hba.conf entry"),
    ):
        address = f"postgresql://{role}:{password}@db/{database}"
        assert expected in docker("exec", app, "python3", "-c", connect, address).stdout, role
    local = ("psql", "--host=127.0.0.1", "--no-password", "--command=SELECT 1", "app")
    assert "no pg_hba.conf entry" in docker("exec", db, *local, check=False).stderr
    # Not even by the socket as another user.
    other = docker("exec", "--user=65532", db, "psql", "--username=app", "app", check=False)
    assert other.returncode != 0
    stored = psql(
        stack,
        "SELECT rolname, rolpassword IS NULL FROM pg_authid WHERE rolcanlogin",
        role="postgres",
    )
    assert sorted(stored.split()) == ["app_owner|f", "app|f", "postgres|t"]
    assert psql(stack, "SELECT rolsuper FROM pg_roles WHERE rolname = 'app_owner'") == "f"


@pytest.mark.slow
def test_what_a_later_migration_makes_is_the_service_s_and_what_it_takes_stays_taken(
    stack: Stack, tmp_path: Path
) -> None:
    psql(stack, "CREATE TABLE later (id serial PRIMARY KEY, x integer)")
    psql(stack, "CREATE TABLE audit (x integer); REVOKE UPDATE, DELETE ON audit FROM app")
    (app,) = stack.containers("app")
    statements = (
        *("INSERT INTO later (x) VALUES (1)", "UPDATE later SET x = 2", "DELETE FROM later"),
        *("INSERT INTO audit VALUES (1)", "SELECT * FROM audit"),
        *("UPDATE audit SET x = 2", "DELETE FROM audit"),
    )
    expected = [""] * 5 + [REFUSED] * 2
    assert said(app, *statements) == expected
    dump = tmp_path / "app.dump"
    assert stack.make("backup", f"FILE={dump}").returncode == 0
    restored = stack.make("restore", f"FILE={dump}", "YES=1")
    assert restored.returncode == 0, restored.stderr
    assert said(app, *statements) == expected
    check(app)
    psql(stack, "CREATE TABLE after_the_restore ()")
    assert said(app, "SELECT * FROM after_the_restore") == [""]
    psql(stack, "DROP TABLE later, audit, after_the_restore")


@pytest.mark.slow
def test_a_database_of_an_older_version_is_left_alone_and_can_be_taken_over(
    small: Stack, probe: str, tmp_path: Path
) -> None:
    small.variables["IMAGE"] = probe
    volume = f"{small.project}_db"
    label = f"--label=com.docker.compose.project={small.project}"
    docker("volume", "create", label, volume)
    dump = tmp_path / "app.dump"
    mount = f"--volume={volume}:/var/lib/postgresql/data"
    with containers.network() as network, postgres(network, mount) as (db, address):
        options = ("--rm", "--network", network, "--env", f"DATABASE_URL={address}")
        docker("run", *options, probe, "app", "migrate")
        insert = "INSERT INTO notes (title) VALUES ('of the older version')"
        docker("exec", db, "psql", "--username=app", "--command", insert)
        (command,) = re.findall(r"docker compose exec --no-TTY db (pg_dump .*) >", STACK)
        # As the documentation has it, but for the container.
        dump.write_bytes(
            subprocess.run(
                ["docker", "exec", db, *command.split()], check=True, capture_output=True
            ).stdout
        )
    (small.checkout / "secrets").mkdir(exist_ok=True)
    (small.checkout / "secrets/db_password").write_text("app")
    (small.checkout / "secrets/db_password").chmod(0o444)

    up = small.make("up")
    assert up.returncode != 0
    assert "secrets/db_owner_password is missing, but there is a database already" in up.stderr
    assert "it has to be taken over. docs/stack.md" in up.stderr

    docker("volume", "rm", volume)
    assert small.make("up").returncode == 0
    restored = small.make("restore", f"FILE={dump}", "YES=1")
    assert restored.returncode == 0, restored.stderr
    assert small.titles() == ["of the older version"]
    (app,) = small.containers("app")
    check(app)
    psql(small, "CREATE TABLE later (x integer)")
    assert said(app, "SELECT x FROM later") == [""]


@pytest.mark.slow
@pytest.mark.parametrize("administrator", ["postgres", "managed"])
def test_the_documented_statements_make_the_same_roles(probe: str, administrator: str) -> None:
    found = re.search(r"(?<=\n\n)    CREATE ROLE app_owner .*?(?=\n\n)", SERVICE, re.DOTALL)
    assert found
    statements = textwrap.dedent(found[0])
    owner, own = re.findall(r"PASSWORD '(.*)'", statements)
    with (
        containers.network() as network,
        postgres(network, user="postgres") as (db, _),
    ):
        # What a provider gives to its customers.
        role = "CREATE ROLE managed LOGIN CREATEROLE CREATEDB"
        docker("exec", db, "psql", "--username=postgres", "--command", role)
        options = (f"--username={administrator}", "--set=ON_ERROR_STOP=1", "--dbname=postgres")
        subprocess.run(
            ["docker", "exec", "--interactive", db, "psql", *options],
            input=statements,
            text=True,
            check=True,
            capture_output=True,
        )

        def settings(role: str, password: str) -> tuple[str, ...]:
            address = f"DATABASE_URL=postgresql://{role}@{db}/app"
            variables = (address, f"DATABASE_PASSWORD={password}", "APP_ENV=production")
            return "--network", network, *(f"--env={each}" for each in variables)

        migrate = ("run", "--rm", *settings("app_owner", owner), probe, "app", "migrate")
        refused = ("run", "--rm", *settings("app", own), probe, "app", "migrate")
        assert "permission denied for schema public" in docker(*refused, check=False).stderr
        docker(*migrate)
        with started(probe, *settings("app", own), *HARDENED) as service:
            service.wait_until_healthy()
            assert service.get("/readyz").status == 200
            check(service.name)
