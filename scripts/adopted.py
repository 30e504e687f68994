"""Say what a fork still has to fill in; for other scripts, read and fill in these places: PLACES.

In the template itself all of it is still to be filled in; so nothing but a release asks for it.
"""

from __future__ import annotations

import dataclasses
import datetime
import fnmatch
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from common import ROOT, die, entry, say

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclasses.dataclass(frozen=True)
class Place:
    """A value of the fork's own.

    The first line that `pattern` finds counts, and its one group is the value. Where a fork has
    deleted the file or the line, there is nothing left to be filled in.
    """

    key: str  # the same for values that have to agree
    file: str
    pattern: str
    placeholder: str  # the value in the template
    wanted: str  # what takes its place, for a person to read


HOLDER = "copyright holder"
PLACES = (
    Place(
        "name",
        "pyproject.toml",
        r'^name = "([^"]*)"',
        "flask-microservice",
        "the service's name, in lower case with hyphens; the image is named by it",
    ),
    Place(
        "name",
        "compose.yaml",
        r"^ *image: \$\{IMAGE:-([^}]*)\}",
        "flask-microservice",
        "the same name as in pyproject.toml",
    ),
    Place(
        "description",
        "pyproject.toml",
        r'^description = "([^"]*)"',
        "A small Flask service in a production-hardened container image",
        "what the service does, in one sentence",
    ),
    Place(
        "repository",
        "pyproject.toml",
        r'^repository = "([^"]*)"',
        "https://github.com/your-org/your-service",
        "the address of the repository, as a browser opens it",
    ),
    Place(
        "owners",
        ".github/CODEOWNERS",
        r"^\* +(.+)$",
        "@your-org/your-team",
        "who reviews each change: @user or @organization/team",
    ),
    Place(
        "security contact",
        "SECURITY.md",
        r"^ {4}(\S+@\S+.*)$",
        "security@example.org  ← a fork puts its own address here",
        "the address that reports of vulnerabilities go to, alone",
    ),
    Place(
        HOLDER,
        "LICENSE",
        r"^Copyright \(c\) [\d-]+ (.+)$",
        "The Drydock authors",
        "a line of your own above it; the template's has to stay, as the licence says",
    ),
)

# A fork's own as well, but nothing that it has to fill in.
VERSION = Place("version", "pyproject.toml", r'^version = "([^"]*)"', "", "")
# In which the project's name stands as well, as uv writes it: what asks for a package.
LOCKS = "requirements/*.txt"


def values(read: Callable[[str], str]) -> dict[str, str]:
    """The value of each key, where it stands first; `read` gives a file's text, or nothing."""
    found: dict[str, str] = {}
    for place in (*PLACES, VERSION):
        if match := re.search(place.pattern, read(place.file), re.MULTILINE):
            found.setdefault(place.key, match[1])
    return found


def has_values(path: str) -> bool:
    """Whether one of the values stands in the file."""
    return path in {place.file for place in PLACES} or fnmatch.fnmatchcase(path, LOCKS)


def filled(path: str, text: str, old: Mapping[str, str], new: Mapping[str, str]) -> str:
    """The text of the file `path` with the values `new` in its places.

    A value has to be without line breaks, and without what a string in TOML escapes. `old` are the
    values so far: by them the name is found in a lock.
    """
    for place in (*PLACES, VERSION):
        match = re.search(place.pattern, text, re.MULTILINE) if place.file == path else None
        value = new.get(place.key)
        if not match or value is None or value == match[1]:
            continue
        if place.key == HOLDER and match[1] == place.placeholder:
            # The template's line stays, below it.
            year = datetime.datetime.now(datetime.UTC).year
            line = f"Copyright (c) {year} {value}\n"
            text = text[: match.start()] + line + text[match.start() :]
        else:
            text = text[: match.start(1)] + value + text[match.end(1) :]
    if fnmatch.fnmatchcase(path, LOCKS) and "name" in old and "name" in new:
        pattern = rf"^( +#(?: via)? +){re.escape(old['name'])}(?= \(pyproject\.toml)"
        text = re.sub(pattern, rf"\g<1>{new['name']}", text, flags=re.MULTILINE)
    return text


def unfilled(root: Path = ROOT) -> list[str]:
    """A line for each value that is still the template's: file, number, value, what is wanted."""
    found = []
    for place in PLACES:
        file = root / place.file
        text = file.read_text() if file.exists() else ""
        match = re.search(place.pattern, text, re.MULTILINE)
        if match and match[1] == place.placeholder:
            line = text.count("\n", 0, match.start(1)) + 1
            found.append(f"{place.file}:{line}: {match[1]}: put {place.wanted}")
    return found


def main() -> None:
    """Print the places; status 1 if there are any."""
    left = unfilled(Path(sys.argv[1]) if sys.argv[1:] else ROOT)
    print("\n".join(left), end="\n" if left else "")
    if left:
        die(f"{len(left)} values are still the template's; a release needs your own")
    say("nothing is left of what a fork has to fill in")


if __name__ == "__main__":
    with entry():
        main()
