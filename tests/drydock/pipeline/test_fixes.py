"""The workflow `fixes`: what it decides, by the very lines that GitHub runs."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import archives
from checkouts import CHECKOUT, environment
from containers import docker, unique

if TYPE_CHECKING:
    from pathlib import Path

    from archives import Archive

WORKFLOW = (CHECKOUT / ".github/workflows/fixes.yml").read_text()


def lines(step: str) -> str:
    """The shell lines of the step with that id."""
    (found,) = re.findall(
        rf"^( +)- id: {step}\n +run: \|\n((?:\1 {{4}}.*\n|\n)+)", WORKFLOW, re.MULTILINE
    )
    return textwrap.dedent(found[1])


def decide(checkout: Path, repository: str) -> tuple[int, dict[str, str], str]:
    """Run the step `compare` there: its status, its outputs, what it adds to the summary."""
    files = {name: checkout.parent / name for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    for file in files.values():
        file.write_text("")
    variables = {name: str(file) for name, file in files.items()}
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", lines("compare")],
        cwd=checkout,
        env=environment(GITHUB_REPOSITORY=repository, PYTHON=sys.executable, **variables),
        check=False,
        capture_output=True,
    )
    outputs = files["GITHUB_OUTPUT"].read_text().splitlines()
    summary = files["GITHUB_STEP_SUMMARY"].read_text()
    return done.returncode, dict(line.split("=", 1) for line in outputs), summary


def git(checkout: Path, *arguments: str) -> None:
    who = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    subprocess.run(["git", "-C", str(checkout), *who, *arguments], check=True, capture_output=True)


def test_only_an_outdated_image_is_built_anew(on_archive: Path, archive: Archive) -> None:
    repository = f"Owner/{unique('repository')}"
    image = f"ghcr.io/{repository.lower()}:0.10.0"
    git(on_archive, "init", "--quiet")
    assert decide(on_archive, repository) == (0, {}, "Nothing has been released yet.\n")
    git(on_archive, "commit", "--quiet", "--allow-empty", "--message", "released")
    for tag in ("v0.9.0", "v0.10.0", "other"):
        git(on_archive, "tag", tag)
    # Neither in the registry nor here: nobody knows.
    assert decide(on_archive, repository) == (1, {}, "")
    try:
        package = archives.of_one_package(image, on_archive.parent, "99.1")
        summary = f"No Debian package of {image} is outdated.\n"
        assert decide(on_archive, repository) == (0, {}, summary)
        archive.security("after")
        status, outputs, summary = decide(on_archive, repository)
        assert status == 0
        assert outputs.keys() == {"tag", "image", "moment"}
        assert (outputs["tag"], outputs["image"]) == ("v0.10.0", image)
        assert re.fullmatch(r"\d{8}T\d{6}Z", outputs["moment"])
        assert f"| {package} | 99.1 | 99.2 | trixie-security/main |" in summary
        assert (on_archive / "released.tar").stat().st_size > 0
        docker("stop", "--time", "0", archive.container)
        assert decide(on_archive, repository) == (1, {}, "")
    finally:
        docker("image", "rm", "--force", image, check=False)


def test_the_job_that_runs_images_has_no_secret() -> None:
    prove = WORKFLOW[WORKFLOW.index("\n  prove:") : WORKFLOW.index("\n  release:")]
    assert re.findall(r": (?:read|write)\b.*", prove) == [": read # to check the sources out"]
    assert not re.search(r"secrets\.|github\.token|login", prove)


def test_the_release_waits_for_the_proof() -> None:
    release = WORKFLOW[WORKFLOW.index("\n  release:") :]
    assert "needs: [compare, prove]" in release
    assert not re.search(r"\bif:|always\(\)|continue-on-error", release)
    prove = WORKFLOW[WORKFLOW.index("\n  prove:") : WORKFLOW.index("\n  release:")]
    order = [prove.index(f"make {verb} ") for verb in ("image", "changes", "outdated", "contract")]
    assert order == sorted(order)


def test_the_release_knows_what_it_is_given() -> None:
    """GitHub rejects an input that the started workflow does not declare."""
    given = set(re.findall(r"gh workflow run release\.yml .* -f (\w+)=", WORKFLOW))
    release = (CHECKOUT / ".github/workflows/release.yml").read_text()
    inputs = release[release.index("  workflow_dispatch:") : release.index("\npermissions:")]
    assert given == set(re.findall(r"^      (\w+):$", inputs, re.MULTILINE))
