"""Change drydock's code in a copy, one place at a time: each change has to turn a unit test red.

mutmut makes the changes and runs the tests, as pyproject.toml says. It works in the folder
.mutants, where a run that was stopped goes on, unless the checkout has changed since.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import tomllib
from pathlib import Path

from common import ROOT, capture, die, entry, step

COPY = ROOT / ".mutants"
MUTMUT = str(Path(sys.executable).with_name("mutmut"))
ACCEPTED = ROOT / "tests" / "mutants.toml"
SOURCES = ("src", "tests", "scripts", "deploy", "requirements")
SETTINGS = ("pyproject.toml",)
KILLED = {"killed", "timeout"}  # by an endless loop
UNFINISHED = {"not checked", "check was interrupted by user"}


def prepare() -> None:
    """Copy the checkout, unless the copy that is there is one of the same files."""
    trees = (file for name in SOURCES for file in sorted((ROOT / name).rglob("*.*")))
    files = [ROOT / name for name in SETTINGS] + [file for file in trees if file != ACCEPTED]
    digest = hashlib.sha256()
    for file in files:
        if file.is_file() and "__pycache__" not in file.parts:
            digest.update(f"{file}\n".encode() + hashlib.sha256(file.read_bytes()).digest())
    stamp = COPY / "files.sha256"
    if stamp.is_file() and stamp.read_text() == digest.hexdigest():
        return
    shutil.rmtree(COPY, ignore_errors=True)
    for name in SOURCES:
        shutil.copytree(ROOT / name, COPY / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(ROOT / "pyproject.toml", COPY)
    stamp.write_text(digest.hexdigest())


def describe(mutant: str) -> tuple[str, int, str]:
    """Return a change's file, its line there, and what is put in place of what."""
    _, header, _, _, *lines = capture(MUTMUT, "show", mutant).stdout.splitlines()
    file = header.removeprefix("--- ")
    hunk = [(line[:1], line[1:].strip()) for line in lines]
    # mutmut numbers the lines from the function's first on.
    source = [line.strip() for line in Path(file).read_text().splitlines()]
    old = [text for sign, text in hunk if sign != "+"]
    begin = next(n for n in range(len(source)) if source[n : n + len(old)] == old)
    line = begin + next(n for n, (sign, _) in enumerate(hunk, 1) if sign in ("-", "+"))
    code = [(sign, re.sub(r"  # .*", "", text)) for sign, text in hunk]
    removed, added = (" ".join(text for sign, text in code if sign == side) for side in "-+")
    return file, line, f"{removed} => {added}"


def main() -> None:
    """Run what is left to run; end with the changes that no test noticed.

    Raises:
        SystemExit: with status 1 if one of them is not accepted, or one that is accepted not there.

    """
    prepare()
    os.chdir(COPY)
    # A database server would be shared by tests that run at the same time.
    environment = {"TEST_DATABASE_URL": "", "TMPDIR": str(COPY)}
    step("changing the code, one place at a time", [MUTMUT, "run"], environment)
    listed = capture(MUTMUT, "results", "--all", "true").stdout.splitlines()
    results = dict(line.strip().split(": ", 1) for line in listed)
    if not results or UNFINISHED & set(results.values()):
        die("the run was stopped; `make mutants` goes on with it")

    survivors = [describe(name) for name, status in results.items() if status not in KILLED]
    accepted = {
        f"{file}: {change}"
        for file, reasons in tomllib.loads(ACCEPTED.read_text()).items()
        for changes in reasons.values()
        for change in changes
    }
    unexpected = [
        (file, line, change)
        for file, line, change in survivors
        if f"{file}: {change}" not in accepted
    ]
    for file, line, change in sorted(unexpected):
        print(f"{file}:{line}: {change}")
    print(
        f"{len(results)} changes: {len(results) - len(survivors)} noticed,"
        f" {len(survivors) - len(unexpected)} accepted, {len(unexpected)} survived"
    )
    stale = accepted - {f"{file}: {change}" for file, _, change in survivors}
    for entry_ in sorted(stale):
        print(f"error: tests/mutants.toml accepts what does not survive: {entry_}", file=sys.stderr)
    raise SystemExit(bool(unexpected or stale))


if __name__ == "__main__":
    with entry():
        main()
