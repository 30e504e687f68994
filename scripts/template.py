"""Where a fork comes from: the template's address and commit, in the file owners.RECORD."""

from __future__ import annotations

import dataclasses
import re
import tomllib

import owners
from common import ROOT, die, git, output

FILE = ROOT / owners.RECORD
ADDRESS = r"[^\s\"\\-][^\s\"\\]*"
TEXT = """\
# Where this fork comes from: docs/fork.md. `make adopt` and `make update` write it.
repository = "{}"
commit = "{}"
"""


@dataclasses.dataclass(frozen=True)
class Record:
    """The address that git fetches from, empty if nobody has named it, and a commit's full id."""

    repository: str
    commit: str

    def text(self) -> str:
        """What the file says. It is committed, and so no place for a password."""
        return TEXT.format(re.sub(r"^(https?://)[^/@]*@", r"\1", self.repository), self.commit)


def recorded() -> Record | None:
    """What the file says; None in the template itself, which has no such file.

    Raises:
        SystemExit: with one line, if it is not as these scripts write it.
    """
    if not FILE.exists():
        return None
    try:
        found = tomllib.loads(FILE.read_text())
    except tomllib.TOMLDecodeError as error:
        die(f"{owners.RECORD}: {error}")
    address, commit = (str(found.get(key, "")) for key in ("repository", "commit"))
    if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", commit):
        die(f'{owners.RECORD}: expected a line `commit = "..."` with the full id of a commit')
    if not re.fullmatch(rf"(?:{ADDRESS})?", address):
        die(
            f'{owners.RECORD}: expected a line `repository = "..."` with an address, or without one'
        )
    return Record(address, commit)


def check_checkout() -> str:
    """Return the commit that is checked out; end with one line if something is uncommitted."""
    if output("git", "-C", str(ROOT), "rev-parse", "--show-toplevel") != str(ROOT):
        die("this is no git repository of its own: run `git init`, and commit all that is here")
    if output("git", "-C", str(ROOT), "rev-parse", "--verify", "HEAD") is None:
        die("this repository has no commit: commit all that is here, as it came")
    if git("status", "--porcelain"):
        die("the checkout is not clean: commit, or take back, what `git status` shows")
    return git("rev-parse", "HEAD")


def remote_address(own: str) -> str:
    """The template's address, by the remotes of this clone; empty if they do not tell.

    That is `upstream`, or `origin` where it is known not to be the fork's `own` repository.
    """
    for remote in ("upstream", "origin"):
        found = output("git", "-C", str(ROOT), "remote", "get-url", remote) or ""
        if found and (remote == "upstream" or (own and place(found) != place(own))):
            return found if re.fullmatch(ADDRESS, found) else ""
    return ""


def place(address: str) -> str:
    """Host and path of a repository's address, the same for each way to reach it."""
    return re.sub(
        r"^(?:\w+://)?(?:[^@/]*@)?([^/:]*)(?::\d+(?=/))?[:/](.*?)(?:\.git)?/?$", r"\1/\2", address
    )
