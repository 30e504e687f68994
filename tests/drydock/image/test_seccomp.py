"""What the service may ask of the kernel: the profile under which the whole contract runs."""

from __future__ import annotations

import json
import platform
import sys
from typing import TYPE_CHECKING, Any

import pytest

from containers import SECCOMP, Container, docker

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., Container]

# The names that the profile of Docker 26.1.5 allows to a container without capabilities, counted in
# the configuration that it handed to runc on x86_64.
DOCKER_S = 361

# Calls that the service never makes, with arguments that the kernel refuses for another reason than
# a missing right, or grants: the number on x86_64 and aarch64, and the arguments.
FORBIDDEN: dict[str, tuple[int, int, list[int]]] = {
    "mount": (165, 40, [0, 0, 0, 0, 0]),
    "ptrace": (101, 117, [0, 0, 0, 0]),
    "process_vm_readv": (310, 270, [1, 0, 0, 0, 0, 1]),
    "unshare": (272, 97, [0]),
    "setns": (308, 268, [-1, 0]),
    "clone into a new user namespace": (56, 220, [0x10000200, 0, 0, 0, 0]),
    "keyctl": (250, 219, [0, -3, 0]),
    "add_key": (248, 217, [0, 0, 0, 0, 0]),
    "userfaultfd": (323, 282, [1]),
    "perf_event_open": (298, 241, [0, 0, -1, -1, -1]),
    "personality": (135, 92, [0xFFFFFFFF]),
    "a socket to the kernel's ciphers": (41, 198, [38, 5, 0]),
    "a socket to the hypervisor": (41, 198, [40, 1, 0]),
}
# The kernel itself refuses these, without a capability or by its own settings.
PRIVILEGED: dict[str, tuple[int, int, list[int]]] = {
    "bpf": (321, 280, [0, 0, 0]),
    "io_uring_setup": (425, 425, [0, 0]),
    "kexec_load": (246, 104, [0, 0, 0, 0]),
    "init_module": (175, 105, [0, 0, 0]),
    "pivot_root": (155, 41, [0, 0]),
    "reboot": (169, 142, [0, 0, 0, 0]),
    "open_by_handle_at": (304, 265, [0, 0, 0]),
}
CLONE3 = (435, 435, [0, 0])

CALL = """
import ctypes, json, os, sys
calls = json.loads(sys.argv[1])
column = {"x86_64": 0, "aarch64": 1}[os.uname().machine]
syscall = ctypes.CDLL(None, use_errno=True).syscall
found = {}
for name, call in calls.items():
    # In a process of its own: some of these change the one that makes them.
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        ctypes.set_errno(0)
        result = syscall(*map(ctypes.c_long, [call[column], *call[2]]))
        os.write(writer, str(ctypes.get_errno() if result == -1 else 0).encode())
        os._exit(0)
    os.waitpid(child, 0)
    found[name] = int(os.read(reader, 9))
print(json.dumps(found))
"""
EPERM, ENOSYS = 1, 38


def errors(calls: dict[str, Any], *options: str, image: str) -> dict[str, int]:
    """Make each call in a container; its error number, 0 where there was none."""
    command = ("python3", "-c", CALL, json.dumps(calls))
    printed = docker("run", "--rm", "--cap-drop", "ALL", *options, image, *command).stdout
    found: dict[str, int] = json.loads(printed)
    return found


pytestmark = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "aarch64"), reason="the numbers of the calls are not known"
)


def test_what_the_service_never_calls_is_denied(image: str) -> None:
    profile = ("--security-opt", f"seccomp={SECCOMP}")
    calls = FORBIDDEN | PRIVILEGED
    assert set(errors(calls, *profile, image=image).values()) == {EPERM}
    # It is the profile that refuses them: without one they fail otherwise, or not at all.
    without = errors(FORBIDDEN, "--security-opt", "seccomp=unconfined", image=image)
    assert EPERM not in without.values(), without


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


def test_it_allows_less_than_half_of_what_docker_s_own_does(
    capsys: pytest.CaptureFixture[str],
) -> None:
    profile = json.loads(SECCOMP.read_text())
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    rules = [rule for rule in profile["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW"]
    names = {name for rule in rules for name in rule["names"]}
    with capsys.disabled():
        sys.stdout.write(f"\nseccomp: {len(names)} calls allowed, {DOCKER_S} by Docker's own\n")
    assert len(names) < DOCKER_S / 2
    # No word that Docker alone understands: Kubernetes and Podman load the same file.
    assert not {key for rule in profile["syscalls"] for key in rule} - {
        *("comment", "names", "action", "errnoRet", "args")
    }


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
