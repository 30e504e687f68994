"""The workflow of a release, run as a whole by act: its jobs, their order, what they hand on.

Without GitHub, and with each action replaced by one that does nothing. The jobs that push, sign,
verify and tag do so for real; what `make` does in them: tests/workflow_make.py.
https://nektosact.com/
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import registry
import rehearse
from checkouts import copy
from containers import docker, unique
from releases import lay, tags

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.long, pytest.mark.early]

IDENTITY = "https://github.com/owner/name/.github/workflows/release.yml@refs/heads/main"
NOTHING = (
    "name: nothing\nruns:\n  using: composite\n  steps:\n    - run: 'true'\n      shell: bash\n"
)
USES = re.compile(r"uses: ([\w-]+/[\w-]+)((?:/[\w-]+)*)@([0-9a-f]{40})")
PROOFS = ("lint unit", "contract", "chaos", "stack")

# On GitHub each job has an engine of its own. Here they share one, and would overtake each other in
# pulling and naming the same image. Nor is there a file that one job has handed on to another.
ENGINE = """case $1 in
    run | exec) exec {docker} "$@" ;;
    load) exit ;;
    *) exec flock {lock} {docker} "$@" ;;
esac"""
# It makes a user and a password that nobody knows.
REFUSING = (
    *("--env", "REGISTRY_AUTH=htpasswd", "--env", "REGISTRY_AUTH_HTPASSWD_REALM=nobody"),
    *("--env", "REGISTRY_AUTH_HTPASSWD_PATH=/tmp/htpasswd"),
)


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    command = ["git", "-C", str(folder), *who, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A repository of this checkout's files, as GitHub would have it."""
    folder = copy(tmp_path / "sources")
    git(folder, "init", "--quiet", "--initial-branch", "main")
    git(folder, "remote", "add", "origin", "https://github.com/owner/name.git")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "all")
    return folder


@pytest.fixture
def rehearsal(tmp_path: Path) -> Iterator[Path]:
    """What the jobs' `make` needs: a registry's address, a key, images to build."""
    folder = tmp_path / "rehearsal"
    for part in ("key", "context", "bin"):
        (folder / part).mkdir(parents=True)
    lay(folder / "context")
    name = unique("image") + "-"
    (folder / "image").write_text(name)
    program = Path(__file__).parents[2] / "workflow_make.py"
    engine = ENGINE.format(docker=shutil.which("docker"), lock=folder / "lock")
    gh = f"echo gh $@ >> {folder / 'calls'}"
    make = f'exec {sys.executable} {program} "$@"'
    for command, script in (("make", make), ("docker", engine), ("gh", gh)):
        (folder / "bin" / command).write_text(f"#!/bin/sh\n{script}\n")
        (folder / "bin" / command).chmod(0o755)
    with rehearse.local_registry(unique("registry")) as address:
        (folder / "address").write_text(address)
        rehearse.signer(folder / "key", IDENTITY)
        yield folder
        for image in docker(
            "image", "ls", "--format", "{{.Repository}}@{{.Digest}}"
        ).stdout.split():
            if image.startswith(address):
                docker("image", "rm", "--force", image, check=False)
    docker("image", "rm", "--force", "candidate", f"{name}amd64", f"{name}arm64", check=False)


def act(
    sources: Path, rehearsal: Path, event: str = "push", workflow: str = "release.yml"
) -> subprocess.CompletedProcess[str]:
    """Run a workflow as an event starts it, on main, each job in a process of this machine."""
    stubs = []
    for file in (sources / ".github/workflows").glob("*.yml"):
        for repository, path, commit in USES.findall(file.read_text()):
            folder = rehearsal / "actions" / repository
            (folder / path.lstrip("/")).mkdir(parents=True, exist_ok=True)
            (folder / path.lstrip("/") / "action.yml").write_text(NOTHING)
            stubs += ["--local-repository", f"{repository}@{commit}={folder}"]
    command = [str(Path(sys.executable).with_name("act")), event]
    command += ["--workflows", f".github/workflows/{workflow}", *stubs]
    command += ["--platform", "ubuntu-24.04=-self-hosted"]
    command += ["--platform", "ubuntu-24.04-arm=-self-hosted"]
    command += ["--action-cache-path", str(rehearsal / "cache"), "--var", "EXTRA_TAGS=latest"]
    command += ["--secret", "GITHUB_TOKEN=none", "--env", f"REHEARSAL={rehearsal}"]
    return subprocess.run(
        command,
        cwd=sources,
        env=os.environ | {"PATH": f"{rehearsal / 'bin'}:{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )


def shown(done: subprocess.CompletedProcess[str]) -> str:
    """What the steps printed, and which of them failed."""
    return "\n".join(re.findall(r"^.*  (?:\| |❌).*$", done.stdout, re.MULTILINE))


def named(rehearsal: Path) -> set[str]:
    """The tags in the registry."""
    return tags(f"{(rehearsal / 'address').read_text()}/owner/name", rehearsal)


def test_a_release_goes_from_the_build_to_the_tags_in_this_order(
    sources: Path, rehearsal: Path
) -> None:
    done = act(sources, rehearsal)
    assert done.returncode == 0, shown(done)
    calls = (rehearsal / "calls").read_text().splitlines()
    order = [
        *["image"] * 2,
        *["publish"] * 2,
        *sorted(f"{verbs} IMAGE=candidate" for verbs in PROOFS for _ in range(2)),
        *["scan REPORT=grype.json"] * 2,
        *("join", "sign", "verify", "tag"),
    ]
    # Both platforms go side by side, up to the scan.
    assert sorted(calls[:12]) == sorted(order[:12])
    assert calls[12:] == order[12:]
    commit = git(sources, "rev-parse", "--short=12", "HEAD")
    assert {"main", "latest", f"sha-{commit}"} < named(rehearsal)
    assert len(named(rehearsal)) == 4  # the day's
    (index,) = set(re.findall(r"Released `(\S+)`", done.stdout))
    assert f"signed by `{IDENTITY}`" in done.stdout
    images = registry.images_in(index, rehearsal)
    assert {platform["architecture"] for platform in images.values()} == {"amd64", "arm64"}


def test_what_can_t_be_verified_gets_no_tag(sources: Path, rehearsal: Path) -> None:
    """Here the job that signs attests nothing."""
    (rehearsal / "forgetful").touch()
    done = act(sources, rehearsal)
    assert done.returncode != 0
    assert "no CycloneDX SBOM" in done.stdout
    calls = (rehearsal / "calls").read_text().splitlines()
    assert calls[-2:] == ["sign", "verify"]
    assert named(rehearsal) == set()


def test_a_push_is_proved_where_the_registry_does_not_allow_it(
    sources: Path, rehearsal: Path
) -> None:
    """By ci.yml, as a pull request is; it is not released, and it is not red."""
    with rehearse.local_registry(unique("registry"), *REFUSING) as address:
        (rehearsal / "address").write_text(address)
        done = act(sources, rehearsal)
    assert done.returncode == 0, shown(done)
    assert done.stdout.count("::notice title=Not released::ghcr.io/owner/name does not allow") == 2
    calls = (rehearsal / "calls").read_text().splitlines()
    assert sorted(calls[:4]) == ["image", "image", "publish", "publish"]
    assert calls[4:6] == ["image", "save FILE=image.tar"]
    adopt = "adopt NAME=notes-service SAMPLE=remove OWNERS=@acme/notes HOLDER=Acme"
    fork = [adopt, "lint unit image", "contract"]
    assert [call for call in calls[6:] if call in fork[:2]] == fork[:2]
    assert sorted(calls[6:]) == sorted([*PROOFS, "pipeline", "tracing", *fork])


def test_at_night_all_is_proved_at_length(sources: Path, rehearsal: Path) -> None:
    done = act(sources, rehearsal, "schedule", "nightly.yml")
    assert done.returncode == 0, shown(done)
    assert (rehearsal / "calls").read_text() == "test-full\n"


def test_debian_s_fixes_are_proved_and_then_released(sources: Path, rehearsal: Path) -> None:
    """Of the sources of the last release; what decides is tried in test_fixes.py."""
    git(sources, "tag", "v1.2.3")
    done = act(sources, rehearsal, "schedule", "fixes.yml")
    assert done.returncode == 0, shown(done)
    released = "IMAGE=ghcr.io/owner/name:1.2.3"
    *calls, last = (rehearsal / "calls").read_text().splitlines()
    assert calls == [
        f"outdated {released}",
        f"save FILE=released.tar {released}",
        "image FRESH=1 IMAGE=fixed",
        "changes OLD=ghcr.io/owner/name:1.2.3 NEW=fixed",
        "outdated IMAGE=fixed",
        "contract IMAGE=fixed",
    ]
    started = (
        r"gh workflow run release\.yml --repo owner/name --ref v1\.2\.3 -f snapshot=\d{8}T\d{6}Z"
    )
    assert re.fullmatch(started, last)
