"""The verbs that a person types: what they build, push and install; what is wrong is one line."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import base
import image as build
import rehearse
from checkouts import CHECKOUT, copy, make
from containers import HARDENED, docker, inspect, started, unique

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of this checkout, to be changed freely."""
    return copy(tmp_path / "checkout")


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            "requirements/runtime.txt",
            r"sha256:[0-9a-f]{8}",
            "sha256:00000000",
            "error: a dependency's hash does not match its lock in requirements/",
        ),
        (
            "pyproject.toml",
            r"\ndependencies = \[",
            '\ndependencies = ["none-such",',
            "error: a lock in requirements/ does not fit pyproject.toml; run `make lock`",
        ),
        (
            "requirements/optional.list",
            r"\Z",
            "traces\n",
            "error: requirements/optional.list names what is no lock",
        ),
        (
            "Dockerfile",
            r"libpython\$PYTHON-minimal",
            "libpython9.9-minimal",
            "error: Debian's archive has no package of a name that the Dockerfile or",
        ),
    ],
)
def test_what_has_drifted_stops_the_build_with_one_clear_line(
    checkout: Path, name: str, file: str, old: str, new: str, message: str
) -> None:
    text = (checkout / file).read_text()
    assert re.search(old, text)
    (checkout / file).write_text(re.sub(old, new, text))
    done = make("image", f"IMAGE={name}", checkout=checkout)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_the_image_of_dot_env_is_every_verb_s_and_one_with_a_digest_is_not_built(
    checkout: Path,
) -> None:
    """As plain `docker compose` has it, or they would run two images on one server."""
    nowhere = f"127.0.0.1:9/service@sha256:{'0' * 64}"
    (checkout / ".env").write_text(f"PORT=8081\nIMAGE={nowhere}\n")
    assert f"it is now {nowhere}." in make("help", checkout=checkout).stdout
    assert "it is now other." in make("help", "IMAGE=other", checkout=checkout).stdout
    done = make("up", checkout=checkout, COMPOSE_PROJECT_NAME=unique("stack"))
    assert f"error: there is no image {nowhere} here, nor can it be pulled" in done.stderr


@pytest.fixture
def registry() -> Iterator[str]:
    """The address of a real registry on loopback."""
    with rehearse.local_registry(unique("registry")) as address:
        yield address


def test_a_pushed_image_pulled_back_by_its_digest_is_the_same(
    image: str, registry: str, tmp_path: Path
) -> None:
    pushed = f"{registry}/service:tested"
    # By a file, as CI hands the image that passed to the job that pushes it.
    file = tmp_path / "image.tar"
    assert make("save", f"IMAGE={image}", f"FILE={file}").returncode == 0
    try:
        done = make("push", f"IMAGE={pushed}", f"FILE={file}")
    finally:
        docker("image", "rm", pushed, check=False)
    assert done.returncode == 0, done.stderr
    digest = re.findall(r"sha256:[0-9a-f]{64}", done.stdout)[-1]
    pulled = f"{registry}/service@{digest}"
    docker("pull", "--quiet", pulled)
    try:
        # Each layer by its digest, and all else that an image is: what has been proved of the one
        # holds for the other.
        for part in ("RootFS", "Config", "Architecture", "Os"):
            assert inspect(pulled)[part] == inspect(image)[part]
        with started(pulled, *HARDENED) as container:
            container.wait_until_healthy()
    finally:
        docker("image", "rm", "--force", pulled, check=False)


def test_a_failed_push_says_so(registry: str, name: str, image: str) -> None:
    nowhere = registry.partition(":")[0] + ":1/" + name
    docker("tag", image, nowhere)
    try:
        done = make("push", f"IMAGE={nowhere}")
    finally:
        docker("image", "rm", nowhere)
    assert done.returncode != 0
    assert f"error: {nowhere} was not pushed" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["launch"], "error: there is no verb 'launch'"),
        (["tests"], "error: there is no verb 'tests'"),
        (["save"], "error: name the file to save to"),
        (["contract", "IMAGE=127.0.0.1:1/no/such"], "error: there is no image 127.0.0.1:1/no/such"),
        (["image", "IMAGE=Not A Name"], "error: IMAGE='Not A Name' is no image name"),
        (["image", "PLATFORM=arm64"], "error: PLATFORM=arm64: expected linux/amd64 or linux/arm64"),
        (["up", "PORT=abc"], "error: PORT=abc: expected a whole number"),
        (["up", "PORT=70000"], "error: PORT=70000: expected a whole number"),
    ],
)
def test_a_mistyped_command_gets_one_clear_line(arguments: list[str], message: str) -> None:
    done = make(*arguments)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"DOCKER_HOST": "tcp://127.0.0.1:1"}, "error: no engine answers at DOCKER_HOST="),
        ({"PATH": "/nowhere", "ENGINE_INSTALL": "never"}, "ENGINE_INSTALL=never forbids"),
    ],
)
def test_without_an_engine_the_message_says_what_to_do(
    variables: dict[str, str], message: str
) -> None:
    done = subprocess.run(
        [sys.executable, str(CHECKOUT / "scripts/engine.py")],
        env={k: v for k, v in os.environ.items() if k != "DOCKER_HOST"} | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.fixture(scope="module")
def bare() -> Iterator[str]:
    """A Debian with Python and apt, without an engine and without a network: the debug image."""
    image = unique("image")
    command = ("build", "--quiet", "--target", "debug", "--tag", image, *build.secrets())
    docker(*command, *base.build_options(), str(CHECKOUT))
    yield image
    docker("image", "rm", "--force", image, check=False)


def attempt(bare: str, *variables: str, answer: str | None) -> tuple[str, bool]:
    """Let the script look for an engine there, as root, at a terminal if there is an answer.

    What it printed, and whether it has changed anything on its machine.
    """
    name = unique("bare")
    terminal, inside = pty.openpty() if answer is not None else (None, None)
    command = ["docker", "run", "--name", name, "--network", "none", "--user", "0", "--interactive"]
    command += [word for variable in variables for word in ("--env", variable)]
    command += [
        "--volume",
        f"{CHECKOUT / 'scripts'}:/scripts:ro",
        "--env=PYTHONDONTWRITEBYTECODE=1",
    ]
    if answer is not None:
        command += ["--tty"]
    try:
        with subprocess.Popen(
            [*command, bare, "python3", "/scripts/engine.py"],
            stdin=subprocess.DEVNULL if inside is None else inside,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            if terminal is not None:
                os.write(terminal, f"{answer}\n".encode())
            printed, _ = process.communicate(timeout=60)
        assert process.returncode == 1
        changed = docker("diff", name).stdout.splitlines()
    finally:
        docker("rm", "--force", "--volumes", name, check=False)
        for descriptor in (terminal, inside):
            if descriptor is not None:
                os.close(descriptor)
    # Docker's own: the mount's folder, and what it lays into each container.
    return printed, any(re.search(r" /(etc|usr|var)/.*(apt|dpkg|docker)", line) for line in changed)


QUESTION, STARTED = "Go on? [y/N]", "reading the package lists ..."


@pytest.mark.parametrize("answer", ["n", "", "no, thanks"])
def test_an_engine_is_not_installed_if_the_person_at_the_terminal_says_no(
    bare: str, answer: str
) -> None:
    printed, changed = attempt(bare, answer=answer)
    assert QUESTION in printed
    assert "no engine answers: about to install Docker Engine 25" in printed
    assert "error: nothing was installed; install Docker Engine 25" in printed
    assert STARTED not in printed
    assert not changed


@pytest.mark.parametrize(
    ("variables", "answer", "asks"),
    [
        ((), "y", True),
        (("CI=true",), "n", False),
        (("ENGINE_INSTALL=always",), "n", False),
        ((), None, False),  # no terminal: .ci/run on a bare machine
    ],
)
def test_an_engine_is_installed_after_a_yes_or_where_nobody_can_be_asked(
    bare: str, variables: tuple[str, ...], answer: str | None, *, asks: bool
) -> None:
    """It is said before. Here it fails at its first step, since there is no network."""
    printed, changed = attempt(bare, *variables, answer=answer)
    assert "no engine answers: about to install Docker Engine 25" in printed
    assert (QUESTION in printed) == asks
    assert "error: reading the package lists: apt-get ended with status" in printed
    assert changed


def test_a_word_that_is_not_known_installs_nothing(bare: str) -> None:
    printed, changed = attempt(bare, "ENGINE_INSTALL=perhaps", answer="y")
    assert "error: ENGINE_INSTALL=perhaps: expected always or never" in printed
    assert not changed
