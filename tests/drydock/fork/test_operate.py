"""docs/deploy.md and docs/operate.md, followed on a server with two releases of the fork.

The registry and the SSH server are real ones on loopback; the engine is this machine's. PostgreSQL
is upgraded to the version that it has: where no registry can be reached there is one, Debian's. So
the way is proved, and not what another version does with the data.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import urllib3

import archives
import howto
import rehearse
import stacks
from checkouts import CHECKOUT, environment
from containers import docker, eventually, free_port, inspect, unique
from forks import Fork
from howto import Reader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEPLOY, OPERATE = "docs/deploy.md", "docs/operate.md"
# The newer release brings one, which the older one can live with.
MIGRATION = '''"""add colors."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    op.add_column("notes", sa.Column("color", sa.String(), nullable=True))


def downgrade() -> None:
    """Take this revision back."""
    op.drop_column("notes", "color")
'''


def released(fork: Fork, registry: str, version: str) -> str:
    """Tag a release and push its image; return the reference with its digest."""
    fork.git("tag", f"v{version}")
    name = f"{registry}/notes-service"
    printed = fork.verb("push", f"IMAGE={name}:{version}")
    docker("image", "rm", "--force", f"{name}:{version}")
    return f"{name}@{re.findall(r'sha256:[0-9a-f]{64}', printed)[-1]}"


@dataclasses.dataclass(frozen=True)
class Server:
    """A home folder on a server, and what its documents' examples are there."""

    home: Path
    values: dict[str, str]

    @property
    def checkout(self) -> Path:
        return self.home / self.values["notes-production"]

    def follow(self, document: str, section: str, **values: str) -> None:
        Reader(self.checkout, {}).follow(document, section, self.values | values)

    def address(self, path: str) -> str:
        return f"http://localhost:{self.values['8080']}/api{path}"

    def add(self, text: str) -> None:
        token = (self.checkout / "secrets/api_token").read_text().split()[0]
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        body = json.dumps({"text": text}).encode()
        added = urllib3.request("POST", self.address("/notes"), body=body, headers=headers)
        assert added.status == 201, added.data

    def notes(self) -> list[str]:
        found = urllib3.request("GET", self.address("/notes?page_size=100"), retries=False)
        return [note["text"] for note in found.json()["notes"]]

    @property
    def shell(self) -> Any:
        """How a process is started there."""
        return {"cwd": self.checkout, "env": environment(), "stdin": subprocess.DEVNULL}

    def compose(self, *arguments: str) -> str:
        command = ("docker", "compose", *arguments)
        printed: str = subprocess.check_output(command, **self.shell, text=True, timeout=300)
        return printed

    @contextlib.contextmanager
    def locked(self, seconds: int) -> Iterator[None]:
        """Let nobody read or write the notes for so long."""
        sql = f"BEGIN; LOCK TABLE notes; SELECT pg_sleep({seconds}); COMMIT"
        command = ("docker", "compose", "exec", "--no-TTY", "db", "psql", "app", "-c", sql)
        with subprocess.Popen(command, **self.shell) as process:
            waiting = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock'"
            query = ("exec", "--no-TTY", "db", "psql", "app", "-At", "-c", waiting)
            eventually(lambda: self.compose(*query).strip() != "0", 30, "the table is locked")
            yield
            process.wait(60)

    def jobs(self) -> list[str]:
        """The containers of the job that run."""
        project = f"label=com.docker.compose.project={self.values['notes-production']}"
        job = "label=com.docker.compose.service=purge"
        return docker("ps", "--quiet", "--filter", project, "--filter", job).stdout.split()


@contextlib.contextmanager
def ssh_server(home: Path, shared: Path) -> Iterator[str]:
    """A machine with what docs/deploy.md names; how a client is to call it."""
    image, name, port = unique("server") + ":latest", unique("server"), free_port()
    archives.build(image, CHECKOUT / "tests", "server.Dockerfile")
    keys = home / ".ssh"
    keys.mkdir(mode=0o700)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", keys / "id"], check=True)
    (keys / "id.pub").rename(keys / "authorized_keys")
    options = ("IdentitiesOnly=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null")
    given = " ".join(f"-o {option}" for option in (*options, "LogLevel=ERROR"))
    # Whoever runs the tests: root there may read what is theirs.
    start = f"sed -i 's|:/root:|:{home}:|' /etc/passwd && git config --system safe.directory '*'"
    serve = f"exec /usr/sbin/sshd -D -e -p {port} -o ListenAddress=127.0.0.1 -o StrictModes=no"
    volumes = ("--volume=/var/run/docker.sock:/var/run/docker.sock", f"--volume={shared}:{shared}")
    run = ("--detach", "--network=host", "--name", name, *volumes)
    try:
        docker("run", *run, image, "bash", "-c", f"{start} && {serve}")
        called = f"ssh -p {port} -i {keys / 'id'} {given} root@127.0.0.1"
        eventually(
            lambda: subprocess.run([*called.split(), "true"], check=False).returncode == 0,
            30,
            "SSH answers",
        )
        yield called
    finally:
        docker("rm", "--force", name, check=False)
        docker("image", "rm", "--force", image, check=False)


@pytest.fixture(scope="module")
def server(fork: Fork, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Production, with the older of two releases."""
    folder = tmp_path_factory.mktemp("server")
    home, project = folder / "home", unique("production")
    home.mkdir(mode=0o700)
    fork.git("clone", "--quiet", str(fork.path), str(folder / "origin"))
    origin = Fork(folder / "origin", fork.image)
    with rehearse.local_registry(unique("registry")) as registry, ssh_server(home, folder) as ssh:
        older = released(origin, registry, "1.0.0")
        origin.write("src/app/migrations/versions/0002_add_colors.py", MIGRATION)
        origin.commit("Add colors")
        newer = released(origin, registry, "1.1.0")
        values = {
            "https://git.example/acme/notes-service": str(origin.path),
            "registry.example/notes-service@sha256:OLDER": older,
            "registry.example/notes-service@sha256:NEWER": newer,
            "ssh deploy@server.example": ssh,
            "notes-production": project,
            "8080": str(free_port()),
        }
        found = Server(home, values)
        try:
            Reader(home, {}).follow(DEPLOY, "A new server", values)
            found.follow(DEPLOY, "The first start")
            yield found
        finally:
            stacks.remove(project)
            for image in (older, newer, f"{registry}/notes-service:latest-debug"):
                docker("image", "rm", "--force", image, check=False)


def test_staging_is_the_same_image_with_settings_of_its_own(server: Server) -> None:
    staging = {
        "notes-production": unique("staging"),
        "8080": str(free_port()),
        "APP_ENV=production": "APP_ENV=staging",
    }
    other = Server(server.home, server.values | staging)
    try:
        Reader(server.home, {}).follow(DEPLOY, "A new server", other.values)
        # It is here already, and not pulled again.
        pulled = {"pulling registry.example/notes-service@sha256:OLDER ...": ""}
        other.follow(DEPLOY, "The first start", **pulled)
        for each, name in ((server, "production"), (other, "staging")):
            info = urllib3.request("GET", each.address("/GetMyInfo")).json()
            assert info["environment"] == name
        images = {each.compose("images", "--quiet", "app") for each in (server, other)}
        assert len(images) == 1
    finally:
        stacks.remove(other.values["notes-production"])


@pytest.mark.parametrize("section", ["A larger upload", "Debug without a shell", "Rotate a secret"])
def test_what_an_operator_does_can_be_followed(server: Server, section: str) -> None:
    server.follow(OPERATE, section)
    server.add(section)
    assert section in server.notes()


def test_a_slow_request_is_found(server: Server) -> None:
    with server.locked(3):
        assert isinstance(server.notes(), list)
    server.follow(OPERATE, "Find a slow request")


def test_a_job_runs_every_night_but_not_twice_and_stops_in_time(server: Server) -> None:
    server.follow(OPERATE, "A command every night")
    (text,) = (each.text for each in howto.blocks(OPERATE) if "timeout" in each.text)
    typed = ["bash", "-c", text.splitlines()[0].replace("timeout 600", "timeout 20")]
    settings = server.checkout / ".env"
    settings.write_text(settings.read_text() + "DATABASE_TIMEOUT=60\n")  # it waits for the lock
    quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with server.locked(40), subprocess.Popen(typed, **server.shell, **quiet) as first:
        (container,) = eventually(server.jobs, 30, "the job runs")
        with subprocess.Popen(typed, **server.shell, **quiet) as second:
            up = subprocess.run(["make", "up"], **server.shell, **quiet, check=False)
            assert up.returncode == 0
            assert server.jobs() == [container]
            assert first.wait(60) != 0
            second.wait(60)  # it only looked on: compose gives it a 0, whatever the end
        state = inspect(container)["State"]
        assert (state["Running"], state["ExitCode"]) == (False, 128 + signal.SIGTERM)


def test_a_release_is_rolled_out_and_back(server: Server) -> None:
    """With its migration, which the older release does not know."""
    server.add("before")
    server.follow(DEPLOY, "A release")
    server.add("between")
    server.follow(OPERATE, "Roll back a release")
    assert server.notes()[-2:] == ["before", "between"]
    server.follow(OPERATE, "Roll back a migration")
    assert server.notes()[-2:] == ["before", "between"]


def test_another_postgresql_gets_the_data(server: Server) -> None:
    server.add("kept")
    before = server.notes()
    server.follow(OPERATE, "Upgrade PostgreSQL")
    assert server.notes() == before
