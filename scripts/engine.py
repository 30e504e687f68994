"""Make sure that a Docker engine answers, with buildx and compose; install it where none does.

An engine that answers is used as it is. Where none does, Debian and Ubuntu have one in their
own archive: it is installed from there (as root only, and after a question to whoever is at the
terminal) and started. ENGINE_INSTALL=never forbids both. Debian 12's own engine is too old, and
Debian 13's runs on Debian 12: it needs libc 2.34 and takes containerd, runc and tini from Debian 12
(Debian 13's runc and tini need libc 2.38).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from common import (
    NOT_INSTALLED,
    announce,
    apt_get,
    capture,
    die,
    entry,
    may_install,
    on_debian,
    output,
    say,
)

OLDEST = 25  # the first with HEALTHCHECK --start-interval
NEEDED = f"Docker Engine {OLDEST} or newer with the buildx and compose v2 plugins"
BY_HAND = f"Install {NEEDED} by hand; `make` takes it as it is"
LOG = Path("/var/log/dockerd.log")


def major(version: str) -> int:
    """The first number of a version, past Debian's epoch; 0 where there is none."""
    found = re.match(r"(?:\d+:)?v?(\d+)", version)
    return int(found[1]) if found else 0


def missing_plugins() -> list[str]:
    """Which of the client's two plugins are not there."""
    return [name for name in ("buildx", "compose") if output("docker", name, "version") is None]


def candidate(package: str) -> str:
    """The version of a package that apt would install; empty where it knows none."""
    policy = output("apt-cache", "policy", package) or ""
    found = re.search(r"Candidate: (?!\(none\))(\S+)", policy)
    return found[1] if found else ""


def install(*, plugins_only: bool) -> None:
    """Install the engine and its plugins from the distribution's own archive."""
    apt_get("reading the package lists", "update")
    # Ubuntu calls compose v2 docker-compose-v2; Debian's docker-compose is v2 since Debian 13.
    compose = "docker-compose-v2" if candidate("docker-compose-v2") else "docker-compose"
    packages = ["docker-buildx", compose]
    if not plugins_only:
        # Debian has split the client from the engine, Ubuntu has not.
        packages += ["docker.io", *(["docker-cli"] if candidate("docker-cli") else [])]
    if (
        major(candidate("docker.io")) >= OLDEST
        and major(candidate(compose)) >= 2
        and candidate("docker-buildx")
    ):
        apt_get(f"installing {' '.join(packages)}", "install", *packages, hint=BY_HAND)
    else:
        install_from_debian_13(["docker-buildx", "docker-compose"], plugins_only=plugins_only)


def install_from_debian_13(packages: list[str], *, plugins_only: bool) -> None:
    """Install Debian 13's packages as files; the machine's own sources stay as they were.

    The archive's address is taken from those sources, and Debian's keyring checks its lists.
    """
    if not plugins_only:
        packages = ["docker.io", "docker-cli", *packages]
    listed = output("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)") or ""
    found = re.search(r"^(\S+) (?:bookworm|oldstable)$", listed, re.MULTILINE)
    if not found:
        die(f"this distribution has no recent enough engine; install {NEEDED}")
    with tempfile.TemporaryDirectory() as folder:
        # apt drops to its own user, who has to read and write here.
        Path(folder).chmod(0o755)
        shutil.chown(folder, "_apt")
        lists = Path(folder, "lists")
        lists.mkdir()
        source = Path(folder, "trixie.list")
        keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
        source.write_text(f"deb [signed-by={keyring}] {found[1]} trixie main\n")
        options = (
            f"-oDir::Etc::SourceList={source}",
            "-oDir::Etc::SourceParts=-",
            f"-oDir::State::Lists={lists}",
        )
        apt_get("reading Debian 13's package lists", *options, "update")
        here = Path.cwd()
        os.chdir(folder)
        try:
            title = "downloading Debian 13's engine"
            apt_get(title, *options, "download", *packages, hint=BY_HAND)
        finally:
            os.chdir(here)
        files = sorted(str(file) for file in Path(folder).glob("*.deb"))
        apt_get("installing the engine", "--allow-downgrades", "install", *files, hint=BY_HAND)


def forget_stale_pid_files() -> None:
    """Remove pid files of a killed engine: a reused number would stop the new one's start."""
    for file in map(Path, ("/run/docker.pid", "/run/docker/containerd/containerd.pid")):
        if file.exists():
            process = Path("/proc", file.read_text().strip(), "comm")
            if not process.exists() or process.read_text().strip() not in ("dockerd", "containerd"):
                file.unlink()


def start() -> None:
    """Start the installed engine and wait until it answers, 60 seconds at the most."""
    say("starting the engine ...")
    settings = Path("/etc/docker/daemon.json")
    if not settings.exists() and not Path("/var/lib/docker").exists():
        # This image store has the OCI exporter that a reproducible build needs. Only for an engine
        # that is new here: one that has images already would no longer find them.
        settings.parent.mkdir(parents=True, exist_ok=True)
        settings.write_text(json.dumps({"features": {"containerd-snapshotter": True}}) + "\n")
    systemd = Path("/run/systemd/system").is_dir()
    if systemd:
        subprocess.run(["systemctl", "restart", "docker"], check=False)
    else:
        # No init system (a CI container, a small virtual machine): it is started here, in a session
        # of its own so that it outlives this terminal.
        forget_stale_pid_files()
        with LOG.open("ab") as log:
            subprocess.Popen(
                ["dockerd"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
    deadline = time.monotonic() + 60
    while output("docker", "version", "--format", "{{.Server.Version}}") is None:
        if time.monotonic() > deadline:
            where = "in `journalctl -u docker`" if systemd else LOG
            die(f"the engine was started and does not answer; its log is {where}")
        time.sleep(0.2)


def main() -> None:
    """Return only if an engine that is new enough answers; otherwise exit with one line."""
    asked = capture("docker", "version", "--format", "{{.Server.Version}}")
    answers = asked.returncode == 0
    version = asked.stdout.strip()
    if answers and major(version) < OLDEST:
        die(f"the engine that answers is {version}; upgrade it: this project needs {NEEDED}")
    missing = missing_plugins()
    if not answers or missing:
        lacks = f"the client has no {' and no '.join(missing)}" if answers else "no engine answers"
        if "permission denied" in asked.stderr:
            die(
                "this user may not use the engine's socket; run as root or join the group: "
                "usermod -aG docker $USER, then log in again"
            )
        if os.environ.get("DOCKER_HOST") and asked.returncode != NOT_INSTALLED:
            die(f"no engine answers at DOCKER_HOST={os.environ['DOCKER_HOST']}; start or unset it")
        if os.environ.get("ENGINE_INSTALL") == "never":
            die(f"{lacks}, and ENGINE_INSTALL=never forbids to install it; install {NEEDED}")
        if not may_install():
            why = "run this as root to have it done" if on_debian() else "or start it"
            die(f"{lacks}; install {NEEDED}, {why}")
        has_engine = shutil.which("dockerd") is not None
        if missing or not has_engine:
            announce(NEEDED, lacks)
            install(plugins_only=has_engine)
        if output("docker", "version", "--format", "{{.Server.Version}}") is None:
            start()
        version = output("docker", "version", "--format", "{{.Server.Version}}") or ""
        if missing := missing_plugins():
            die(f"the client still has no {' and no '.join(missing)}; install {NEEDED}")
    say(f"engine: Docker {version} answers")


if __name__ == "__main__":
    with entry():
        main()
