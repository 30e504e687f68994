"""The names in deploy/seccomp.json, against the kernel's own: an unknown one is allowed in vain."""

from __future__ import annotations

import json

from containers import SECCOMP
from kernel import MACHINES, numbers

PROFILE = json.loads(SECCOMP.read_text())["syscalls"]
ALLOWED = {n for rule in PROFILE if rule["action"] == "SCMP_ACT_ALLOW" for n in rule["names"]}
X86_64, AARCH64 = (set(numbers(machine)) for machine in MACHINES)

# What aarch64 has in place of the older calls; the C library makes these there.
INSTEAD = {
    "access": "faccessat",
    "chmod": "fchmodat",
    "chown": "fchownat",
    "dup2": "dup3",
    "epoll_wait": "epoll_pwait",
    "getpgrp": "getpgid",
    "lchown": "fchownat",
    "link": "linkat",
    "lstat": "newfstatat",
    "mkdir": "mkdirat",
    "open": "openat",
    "pipe": "pipe2",
    "poll": "ppoll",
    "readlink": "readlinkat",
    "rename": "renameat",
    "rmdir": "unlinkat",
    "select": "pselect6",
    "stat": "newfstatat",
    "symlink": "symlinkat",
    "time": "clock_gettime",
    "unlink": "unlinkat",
    "vfork": "clone",
}
# The address of a thread's own data, which on aarch64 is a register.
NOTHING = {"arch_prctl"}


def test_every_name_is_a_call_of_the_kernel() -> None:
    named = {name for rule in PROFILE for name in rule["names"]}
    assert not named - X86_64 - AARCH64


def test_what_is_allowed_on_x86_64_is_allowed_on_aarch64_by_its_name_there() -> None:
    older = ALLOWED - AARCH64 - NOTHING
    assert not older - set(INSTEAD), "say here what aarch64 has instead"
    needed = {INSTEAD[name] for name in older}
    assert not needed - AARCH64
    assert not needed - ALLOWED


def test_no_call_is_named_twice_with_and_without_a_condition() -> None:
    """The rule without one would make the other useless."""
    for rule in PROFILE:
        for name in rule["names"]:
            others = [r for r in PROFILE if name in r["names"] and r is not rule]
            assert not others or all("args" in r for r in (rule, *others)), name
