"""`make dev`: an edit is served at once, changed dependencies rebuild, a debugger can attach."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
from typing import TYPE_CHECKING

import pytest
import urllib3

from checkouts import CHECKOUT, environment
from containers import docker, eventually, free_port, unique
from processes import running
from stacks import Stack, add_services, copy, remove

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def dev(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stack, Path]]:
    """A running `make dev`, and the file that what it prints goes to."""
    folder = tmp_path_factory.mktemp("dev")
    checkout = copy(folder / "checkout")
    shutil.rmtree(checkout / "src/app")
    shutil.copytree(CHECKOUT / "tests/drydock/probe", checkout / "src/app")
    add_services(checkout)
    project = unique("stack")
    variables = {
        "COMPOSE_PROJECT_NAME": project,
        "PORT": str(free_port()),
        "DEBUG_PORT": str(free_port()),
        "IMAGE": image,
        "COMPOSE_PROFILES": "*",
    }
    log = folder / "log"
    command = ["make", "dev", f"PYTHON={sys.executable}"]
    options = {"cwd": checkout, "env": environment(**variables), "stdin": subprocess.DEVNULL}
    try:
        with (
            log.open("w") as stream,
            running(command, stdout=stream, stderr=subprocess.STDOUT, **options) as process,
        ):

            def started() -> bool:
                assert process.poll() is None, log.read_text()
                return "the page is at" in log.read_text()

            eventually(started, 240, "make dev has started")
            yield Stack(checkout, variables | {"COMPOSE_PROJECT_NAME": f"{project}-dev"}), log
            # As Ctrl-C in a terminal: to the whole group.
            os.killpg(process.pid, signal.SIGINT)
            process.wait(60)
            assert "stopping; the data is kept" in log.read_text()
    finally:
        remove(f"{project}-dev")
        docker("image", "rm", "--force", f"{image}-dev", check=False)


@pytest.fixture
def hello(dev: tuple[Stack, Path]) -> Iterator[Path]:
    """A module of the service, to be edited; in the end it is as it was."""
    file = dev[0].checkout / "src/app/hello.py"
    text = file.read_text()
    yield file
    file.write_text(text)


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    # The reloader looks at the files for the first time when it has already begun to serve: an edit
    # in between, which no person makes, is not noticed.
    time.sleep(2)
    file.write_text(text.replace(old, new))


def until_served(stack: Stack, word: str) -> float:
    """The seconds until a response has `word` in it."""
    began = time.monotonic()

    def served() -> bool:
        try:
            return word in stack.get("/api/hello/you").data.decode()
        except urllib3.exceptions.HTTPError:
            return False

    eventually(served, 120, f"{word} is served")
    return time.monotonic() - began


def test_an_edit_is_served_without_a_rebuild(
    dev: tuple[Stack, Path], hello: Path, show: Callable[[str], None]
) -> None:
    stack, log = dev
    assert stack.get("/api/hello/you").json()["environment"] == "development"
    times = []
    for old, new in (("Hello", "Salut"), ("Salut", "Ahoj"), ("Ahoj", "Hello")):
        replace(hello, old, new)
        times.append(until_served(stack, new))
    show(f"an edit was served after {', '.join(f'{seconds:.1f} s' for seconds in times)}")
    # Lines for people, not JSON.
    assert re.search(r"^\S+ INFO +werkzeug: .*GET /hello/you", log.read_text(), re.MULTILINE)


@pytest.mark.slow
def test_a_broken_edit_is_shown_and_the_next_one_repairs_it(
    dev: tuple[Stack, Path], hello: Path
) -> None:
    stack, _ = dev
    good = hello.read_text()
    hello.write_text("this is no Python\n" + good)
    until_served(stack, "SyntaxError")
    time.sleep(2)  # as in replace()
    hello.write_text(good)
    until_served(stack, "Hello")


@pytest.mark.slow
def test_an_edit_restarts_the_background_process(dev: tuple[Stack, Path]) -> None:
    stack, log = dev
    file = stack.checkout / "src/app/work.py"
    replace(file, '"step %d begins"', '"edited step %d begins"')
    eventually(lambda: "edited step 1 begins" in log.read_text(), 120, "the edit is run")


def test_a_debugger_can_attach(dev: tuple[Stack, Path]) -> None:
    stack, _ = dev
    request = {"seq": 1, "type": "request", "command": "initialize", "arguments": {"adapterID": ""}}
    body = json.dumps(request).encode()
    port = int(stack.variables["DEBUG_PORT"])
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        response = client.recv(65536)
        while b"supportsConfigurationDoneRequest" not in response:
            received = client.recv(65536)
            assert received, response
            response += received


@pytest.mark.slow
def test_changed_dependencies_rebuild(dev: tuple[Stack, Path]) -> None:
    stack, log = dev
    (before,) = stack.containers("app")
    project = stack.checkout / "pyproject.toml"
    version = tomllib.loads(project.read_text())["project"]["version"]
    replace(project, f'version = "{version}"', f'version = "{version}.dev7"')

    def replaced() -> bool:
        found = stack.containers("app")
        return bool(found) and found != [before]

    eventually(replaced, 120, "the container is replaced")
    until_served(stack, "Hello")
    assert stack.get("/api/about").json()["version"] == f"{version}.dev7"
    assert log.read_text().count("building") >= 2


def test_the_debugger_is_on_this_machine_only(dev: tuple[Stack, Path]) -> None:
    stack, _ = dev
    shown = stack.compose("ps", "app", "--format", "{{.Ports}}")
    assert f"127.0.0.1:{stack.variables['DEBUG_PORT']}->5678/tcp" in shown
    assert "0.0.0.0:" not in shown
