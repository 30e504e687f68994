"""Let this machine run programs of another platform, by QEMU's emulation of one process.

PLATFORM is what an image is built for: linux/amd64 or linux/arm64; empty for this machine's own.
Emulated programs make the host's kernel calls, so a seccomp profile is not proved by them.
https://docs.kernel.org/admin-guide/binfmt-misc.html
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

from common import announce, apt_get, die, may_install, step

# What the engine and Debian call an architecture, and what the kernel and QEMU call it.
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
REGISTRY = Path("/proc/sys/fs/binfmt_misc")


def architecture() -> str:
    """The architecture that PLATFORM names; empty if it is this machine's own."""
    wanted = os.environ.get("PLATFORM", "")
    if not wanted:
        return ""
    system, _, found = wanted.partition("/")
    if system != "linux" or found not in MACHINES:
        known = " or ".join(f"linux/{each}" for each in MACHINES)
        die(f"PLATFORM={wanted}: expected {known}; without it, this machine's own")
    return foreign(found)


def foreign(architecture: str) -> str:
    """The architecture; empty if it is this machine's own."""
    return "" if MACHINES.get(architecture) == platform.machine() else architecture


def start(wanted: str) -> None:
    """Let the kernel run programs of that architecture, until this machine starts anew."""
    machine = MACHINES[wanted]
    entry = REGISTRY / f"qemu-{machine}"
    if entry.exists():
        return
    reason = f"programs for linux/{wanted} can't be run here"
    if not may_install():
        die(f"{reason}: on a Debian or Ubuntu, as root, `make` could install what is needed")
    # Statically linked and opened once: found in a container as well, whatever is in there.
    handler = Path(f"/usr/lib/binfmt.d/qemu-{machine}.conf")
    if not handler.exists():
        announce("qemu-user-static", reason)
        apt_get("reading the package lists", "update")
        apt_get("installing qemu-user-static", "install", "qemu-user-static", "arch-test")
    if not (REGISTRY / "register").exists():
        step("mounting the kernel's list", ["mount", "-t", "binfmt_misc", "none", str(REGISTRY)])
    if not entry.exists():  # the package may have registered it
        (REGISTRY / "register").write_text(handler.read_text().strip())
