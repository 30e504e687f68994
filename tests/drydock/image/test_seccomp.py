"""What the service may ask of the kernel: the profile under which the whole contract runs."""

from __future__ import annotations

import json
import platform
import re
import shlex
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from bounds import of_the_fork
from checkouts import CHECKOUT, make
from containers import SECCOMP, Container, docker, unique
from kernel import MACHINES, numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Run = Callable[..., Container]

# Calls that the service never makes, with arguments that the kernel refuses for another reason than
# a missing right, or grants.
FORBIDDEN: dict[str, tuple[str, list[int]]] = {
    "mount": ("mount", [0, 0, 0, 0, 0]),
    "ptrace": ("ptrace", [0, 0, 0, 0]),
    "process_vm_readv": ("process_vm_readv", [1, 0, 0, 0, 0, 1]),
    "unshare": ("unshare", [0]),
    "setns": ("setns", [-1, 0]),
    "clone into a new user namespace": ("clone", [0x10000200, 0, 0, 0, 0]),
    "keyctl": ("keyctl", [0, -3, 0]),
    "add_key": ("add_key", [0, 0, 0, 0, 0]),
    "userfaultfd": ("userfaultfd", [1]),
    "perf_event_open": ("perf_event_open", [0, 0, -1, -1, -1]),
    "personality": ("personality", [0xFFFFFFFF]),
    "a socket to the kernel's ciphers": ("socket", [38, 5, 0]),
    "a socket to the hypervisor": ("socket", [40, 1, 0]),
    "a netlink socket to the firewall": ("socket", [16, 3, 12]),
    "a netlink socket to IPsec": ("socket", [16, 3, 6]),
    "a netlink socket to what modules add": ("socket", [16, 3, 16]),
}
# The kernel itself refuses these, without a capability or by its own settings.
PRIVILEGED: dict[str, tuple[str, list[int]]] = {
    "bpf": ("bpf", [0, 0, 0]),
    "io_uring_setup": ("io_uring_setup", [0, 0]),
    "kexec_load": ("kexec_load", [0, 0, 0, 0]),
    "init_module": ("init_module", [0, 0, 0]),
    "pivot_root": ("pivot_root", [0, 0]),
    "reboot": ("reboot", [0, 0, 0, 0]),
    "open_by_handle_at": ("open_by_handle_at", [0, 0, 0]),
}
CLONE3 = ("clone3", [0, 0])
# glibc asks for the machine's addresses by it.
ROUTES = ("socket", [16, 3, 0])

CALL = """
import ctypes, json, os, sys
syscall = ctypes.CDLL(None, use_errno=True).syscall
found = {}
for name, call in json.loads(sys.argv[1]).items():
    # In a process of its own: some of these change the one that makes them.
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        ctypes.set_errno(0)
        result = syscall(*map(ctypes.c_long, call))
        os.write(writer, str(ctypes.get_errno() if result == -1 else 0).encode())
        os._exit(0)
    os.waitpid(child, 0)
    found[name] = int(os.read(reader, 9))
print(json.dumps(found))
"""
EPERM, ENOSYS = 1, 38


def errors(calls: dict[str, Any], *options: str, image: str) -> dict[str, int]:
    """Make each call in a container; its error number, 0 where there was none."""
    number = numbers(platform.machine())
    numbered = {name: [number[call], *arguments] for name, (call, arguments) in calls.items()}
    command = ("python3", "-c", CALL, json.dumps(numbered))
    printed = docker("run", "--rm", "--cap-drop", "ALL", *options, image, *command).stdout
    found: dict[str, int] = json.loads(printed)
    return found


pytestmark = pytest.mark.skipif(
    platform.machine() not in MACHINES, reason="the numbers of the calls are not known"
)


def test_what_the_service_never_calls_is_denied(image: str) -> None:
    profile = ("--security-opt", f"seccomp={SECCOMP}")
    calls = FORBIDDEN | PRIVILEGED
    assert set(errors(calls, *profile, image=image).values()) == {EPERM}
    # It is the profile that refuses them: without one they fail otherwise, or not at all.
    without = errors(FORBIDDEN, "--security-opt", "seccomp=unconfined", image=image)
    assert EPERM not in without.values(), without


def test_this_machine_s_addresses_can_be_asked_for(image: str) -> None:
    profile = ("--security-opt", f"seccomp={SECCOMP}")
    assert errors({"routes": ROUTES}, *profile, image=image) == {"routes": 0}
    code = "import socket; print('lo' in dict(map(reversed, socket.if_nameindex())))"
    assert docker("run", "--rm", *profile, image, "python3", "-c", code).stdout == "True\n"


def test_threads_start_by_the_call_whose_flags_a_filter_sees(image: str) -> None:
    """glibc tries clone3 first; any other error than ENOSYS would end the service's start."""
    profile = ("--security-opt", f"seccomp={SECCOMP}")
    assert errors({"clone3": CLONE3}, *profile, image=image) == {"clone3": ENOSYS}
    code = "import threading; t = threading.Thread(target=print, args=['ran']); t.start(); t.join()"
    assert docker("run", "--rm", *profile, image, "python3", "-c", code).stdout == "ran\n"


@pytest.mark.parametrize("options", [("--cap-drop", "ALL"), (), ("--user", "0:0"), ("--tty",)])
def test_the_engine_can_start_it_without_no_new_privileges(
    image: str, options: tuple[str, ...]
) -> None:
    """The engine then loads the profile earlier and, under it, drops rights and sets the user."""
    profile = ("--security-opt", f"seccomp={SECCOMP}")
    done = docker("run", "--rm", *profile, *options, image, "app", "settings")
    assert "APP_PORT=5000" in done.stdout


def test_health_checks_and_exec_can_start_programs(service: Container) -> None:
    """Hence execve is allowed; what could be run is bounded by what the image holds."""
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(42)'], check=True)"
    assert service.python(code) == "42\n"


def test_it_allows_no_more_calls_than_pyproject_says() -> None:
    profile = json.loads(SECCOMP.read_text())
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    rules = [rule for rule in profile["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW"]
    names = {name for rule in rules for name in rule["names"]}
    assert len(names) <= of_the_fork()["kernel-calls"], (
        "if it must be more, say so in pyproject.toml, [tool.drydock]; what is forbidden stays so"
    )
    # No word that Docker alone understands: Kubernetes and Podman load the same file.
    assert not {key for rule in profile["syscalls"] for key in rule} - {
        *("comment", "names", "action", "errnoRet", "args")
    }


@pytest.fixture
def debug() -> Iterator[str]:
    """The name of an image whose debug variant `make calls` builds."""
    name = f"{unique('image')}:latest"
    yield name
    docker("image", "rm", "--force", f"{name}-debug", check=False)


@pytest.mark.slow
def test_make_calls_shows_what_the_profile_denies_and_nothing_else(debug: str, image: str) -> None:
    code = """
import os, socket, subprocess, sys, threading
def attempt(call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        print(error.errno)
thread = threading.Thread(target=subprocess.run, args=[[sys.executable, "-c", ""]])
thread.start(), thread.join()
attempt(socket.socket, socket.AF_NETLINK, socket.SOCK_RAW, 0)
attempt(socket.socket, socket.AF_NETLINK, socket.SOCK_RAW, 12)
attempt(socket.socket, socket.AF_VSOCK, socket.SOCK_STREAM, 0)
attempt(os.sched_setscheduler, 0, os.SCHED_BATCH, os.sched_param(0))
attempt(os.sched_setscheduler, 0, os.SCHED_BATCH, os.sched_param(0))
"""
    done = make("calls", f"IMAGE={debug}", "RUN=" + shlex.join(["python3", "-c", code]))
    assert done.returncode == 0, done.stderr
    assert "2 x sched_setscheduler(" in done.stdout
    assert "1 x socket(0x28 /* AF_VSOCK */" in done.stdout
    assert "1 x socket(0x10 /* AF_NETLINK */, 0x3 /* SOCK_RAW */|" in done.stdout
    lines = [line for line in done.stdout.splitlines() if re.match(r"\d+ x ", line)]
    assert len(lines) == 3, done.stdout
    # What it shows is what the profile denies.
    profile = ("--security-opt", f"seccomp={SECCOMP}")
    under = docker("run", "--rm", *profile, image, "python3", "-c", code)
    assert under.stdout.split() == [str(EPERM)] * 4


@pytest.mark.slow
def test_make_calls_of_the_service_s_own_command_shows_none(debug: str) -> None:
    done = make("calls", f"IMAGE={debug}", "RUN=app settings")
    assert "APP_PORT=5000" in done.stdout
    assert "\ndeploy/seccomp.json denies none of the calls that were made\n" in done.stdout


def test_the_documented_copy_that_logs_denies_nothing(image: str, tmp_path: Path) -> None:
    text = (CHECKOUT / "docs/hardening.md").read_text()
    (command,) = re.findall(r"^    (sed .* deploy/seccomp\.json > \S+)$", text, re.MULTILINE)
    command, _, _ = command.rpartition(" > ")
    printed = subprocess.check_output(command, shell=True, cwd=CHECKOUT, text=True)  # noqa: S602
    copy = tmp_path / "log.json"
    copy.write_text(printed)
    assert json.loads(printed)["defaultAction"] == "SCMP_ACT_LOG"
    found = errors(FORBIDDEN, "--security-opt", f"seccomp={copy}", image=image)
    assert EPERM not in found.values(), found


def test_what_python_s_own_library_offers_still_works(service: Container) -> None:
    code = """
import asyncio, os, pathlib, shutil, sys
source = pathlib.Path("/tmp/source")
source.write_text("x" * 10)
shutil.copy2(source, "/tmp/copy")
shutil.move("/tmp/copy", "/tmp/moved")
os.truncate("/tmp/moved", 5)
os.getsid(0), os.getpgid(0), os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0)
async def main():
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "print('child')")
    return await process.wait()
print(asyncio.run(main()), pathlib.Path("/tmp/moved").read_text())
"""
    assert service.python(code) == "child\n0 xxxxx\n"
