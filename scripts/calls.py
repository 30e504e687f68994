"""Show which kernel calls a command makes that deploy/seccomp.json denies.

    make calls RUN="app work"

The command runs in the debug image: without the profile, under which strace itself could not run,
and to its end or Ctrl-C. Without RUN it is the service; OPTIONS are for `docker run`.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import image
from common import ROOT, die, entry, say

if TYPE_CHECKING:
    from collections.abc import Callable

PROFILE = "deploy/seccomp.json"
CONDITIONS: dict[str, Callable[[int, dict[str, int]], bool]] = {
    "SCMP_CMP_EQ": lambda value, rule: value == rule["value"],
    "SCMP_CMP_NE": lambda value, rule: value != rule["value"],
    "SCMP_CMP_MASKED_EQ": lambda value, rule: value & rule["value"] == rule["valueTwo"],
}


def made(printed: str) -> str:
    """A call as it was made: without its result, which may be on a later line."""
    return re.sub(r"\s+(= .*|<unfinished \.\.\.>)$", "", printed)


def numbers(printed: str) -> list[int]:
    """The arguments of a call as `strace -X verbose` prints them; -1 for what is no number.

    Those of clone in the kernel's order, where strace has another: the flags are the first.
    """
    inside = re.sub(r"/\*.*?\*/", "", made(printed).partition("(")[2].removesuffix(")"))
    words = [re.sub(r"^\w+=", "", word.strip()) for word in inside.split(",")]
    if flags := re.search(r"\bflags=([^,]*)", inside):
        words = [flags[1]]
    found = []
    for word in words:
        parts = re.findall(r"0x[0-9a-f]+|\d+", word)
        value = 0
        for part in parts:
            value |= int(part, 0)
        found.append(value if parts else -1)
    return found


def is_allowed(rules: list[dict[str, Any]], call: str) -> bool:
    """Whether one of the profile's rules allows the call that strace has printed."""
    name = call.partition("(")[0]
    given = numbers(call)
    return any(
        all(
            condition["index"] < len(given)
            and CONDITIONS[condition["op"]](given[condition["index"]], condition)
            for condition in rule["args"]
        )
        for rule in rules
        if name in rule["names"] and "args" in rule
    )


def traced(rules: list[dict[str, Any]], command: list[str]) -> list[str]:
    """Run the command under strace; each call that no rule allows or answers, in strace's words."""
    settled = {name for rule in rules if "args" not in rule for name in rule["names"]}
    # A question mark for a name that this machine does not have.
    options = ["--follow-forks", "--seccomp-bpf", "--quiet=all", "--const-print-style=verbose"]
    options += ["--signal=none", "--interruptible=waiting", "--output=/trace/calls"]
    options += ["--trace=!" + ",".join(f"?{name}" for name in sorted(settled))]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)  # for the container's user
        run = ["docker", "run", "--rm", "--init", "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL"]
        run += ["--security-opt=seccomp=unconfined", f"--volume={folder}:/trace"]
        run += shlex.split(os.environ.get("OPTIONS", ""))
        with subprocess.Popen(
            [*run, image.name("debug"), "strace", *options, "--", *command]
        ) as process:
            while process.poll() is None:
                try:
                    process.wait()
                except KeyboardInterrupt:  # the container gets it as well, and ends
                    say("stopping ...")
        calls = Path(folder, "calls")
        if not calls.exists():
            die(f"{shlex.join(command)} was not started; the reason is above")
        lines = calls.read_text(errors="replace").splitlines()
    return [re.sub(r"^\d+ +", "", line) for line in lines]


def main() -> None:
    """Print each call that would be denied, how often, and as it was made first."""
    rules = json.loads((ROOT / PROFILE).read_text())["syscalls"]
    command = shlex.split(os.environ.get("RUN", "")) or ["gunicorn"]
    image.build("debug")
    say(f"{shlex.join(command)}, with the calls that {PROFILE} does not allow written down ...")
    denied: Counter[str] = Counter()
    for call in traced(rules, command):
        # The start of a call, not what it came back with, or the rest of one that was interrupted.
        if re.match(r"\w+\(", call) and not is_allowed(rules, call):
            denied[made(call)] += 1
    for call, times in denied.most_common():
        print(f"{times} x {call}")
    if not denied:
        print(f"{PROFILE} denies none of the calls that were made")


if __name__ == "__main__":
    with entry():
        main()
