"""Secrets are read by the containers that need them, and are nowhere else."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from containers import docker, inspect
from database import HAS_DATABASE

if TYPE_CHECKING:
    from stacks import Stack

PASSWORDS = ("db_owner_password", "db_password") if HAS_DATABASE else ()
NAMES = (*PASSWORDS, "api_token")
SERVICE = "com.docker.compose.service"
ENVIRONMENTS = """
import json
print(json.dumps([open(f"/proc/{{pid}}/environ").read() if pid else "" for pid in {}]))
"""
READ = "import os; print(os.geteuid(), open('/run/secrets/{}').read().strip())"


def values(stack: Stack) -> list[str]:
    found = [(stack.checkout / "secrets" / name).read_text().strip() for name in NAMES]
    assert all(len(value) >= 32 for value in found)
    return found


def test_the_folder_lets_nobody_in_and_the_files_let_containers_read(stack: Stack) -> None:
    folder = stack.checkout / "secrets"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in NAMES:
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o444
    # Another user of this machine, where this one may become another.
    if os.geteuid() == 0:
        other = ["python3", "-c", f"open({str(folder / 'api_token')!r})"]
        done = subprocess.run(other, user=65534, capture_output=True, text=True, check=False)
        assert "PermissionError" in done.stderr


def test_the_service_s_user_can_read_them(stack: Stack) -> None:
    (app,) = stack.containers("app")
    for name in NAMES[-2:]:
        value = (stack.checkout / "secrets" / name).read_text().strip()
        shown = docker("exec", app, "python3", "-c", READ.format(name)).stdout.split()
        assert shown == ["65532", value]


def test_each_container_has_only_those_that_it_needs(stack: Stack) -> None:
    """A fork's own are wherever it says."""
    listing = ("python3", "-c", "import os; print(*sorted(os.listdir('/run/secrets')))")
    (app,) = stack.containers("app")
    shown = docker("exec", app, *listing).stdout.split()
    assert [name for name in shown if name in NAMES] == sorted(NAMES[-2:])
    (gateway,) = stack.containers("gateway")
    assert docker("exec", gateway, "ls", "/run/secrets", check=False).returncode != 0


@pytest.mark.database
def test_the_database_and_its_migration_have_only_their_passwords(stack: Stack) -> None:
    (db,) = stack.containers("db")
    both = ["db_owner_password", "db_password"]
    assert docker("exec", db, "ls", "/run/secrets").stdout.split() == both
    # It has ended, and with it what it had.
    migrate = stack.compose("ps", "--all", "--quiet", "migrate").strip()
    mounted = [mount["Destination"] for mount in inspect(migrate)["Mounts"]]
    assert mounted == ["/run/secrets/db_owner_password"]


def test_a_desk_s_token_in_the_settings_file_is_no_container_s(stack: Stack) -> None:
    """`flask run` reads it there."""
    settings = stack.checkout / ".env"
    settings.write_text("API_TOKEN=the-token-of-a-desk\n")
    try:
        services = json.loads(stack.compose("config", "--format", "json"))["services"]
    finally:
        settings.unlink()
    for name in {"migrate", "app", "work"} & set(services):
        assert services[name]["environment"]["API_TOKEN"] == "", name


def test_no_secret_is_in_what_the_engine_knows_or_the_container_says(stack: Stack) -> None:
    stack.add("with the token")
    services = stack.compose("config", "--services").split()
    assert {"app", "gateway"} | ({"db", "migrate"} if HAS_DATABASE else set()) <= set(services)
    ids = stack.compose("ps", "--all", "--quiet").split()
    found = [inspect(container) for container in ids]
    assert set(services) <= {each["Config"]["Labels"][SERVICE] for each in found}
    pids = [each["State"]["Pid"] for each in found]  # 0 is none
    environments = json.loads(stack.outside(ENVIRONMENTS.format(pids)))
    for each, environment in zip(found, environments, strict=True):
        service = each["Config"]["Labels"][SERVICE]
        logs = docker("logs", each["Id"])
        # (nginx writes its title over its environment.)
        assert service == "gateway" or not each["State"]["Pid"] or "PATH=" in environment
        history = docker("history", "--no-trunc", each["Image"]).stdout
        places = (json.dumps(each), logs.stdout, logs.stderr, environment, history)
        for value in values(stack):
            assert not [place for place in places if value in place], service


def test_neither_git_nor_the_build_sees_them(stack: Stack) -> None:
    repository = stack.checkout
    subprocess.run(["git", "init", "--quiet"], cwd=repository, check=True)
    listed = subprocess.run(
        ["git", "status", "--porcelain", "--untracked-files=all"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    shutil.rmtree(repository / ".git")
    assert "compose.yaml" in listed
    assert "secrets/" not in listed
    assert "compose.override.yaml" not in listed


@pytest.mark.database
@pytest.mark.parametrize("name", ["db_owner_password", "db_password"])
def test_a_lost_password_is_not_made_anew_over_a_database_that_has_one(
    stack: Stack, name: str
) -> None:
    file = stack.checkout / "secrets" / name
    kept = file.read_text()
    file.unlink()
    try:
        up = stack.make("up")
        assert up.returncode != 0
        assert f"secrets/{name} is missing, but there is a database" in up.stderr
        assert not file.exists()
    finally:
        file.write_text(kept)
        file.chmod(0o444)


def test_a_secret_that_containers_can_t_read_is_named(stack: Stack) -> None:
    file = stack.checkout / "secrets/api_token"
    file.chmod(0o400)
    try:
        up = stack.make("up")
        assert up.returncode != 0
        assert "secrets/api_token can't be read by the containers' users; chmod 444" in up.stderr
    finally:
        file.chmod(0o444)
