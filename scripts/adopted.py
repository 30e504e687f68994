"""Say what a fork still has to fill in, or in which places, for other scripts: PLACES.

In the template itself all of it is still to be filled in; so nothing but a release asks for it.
"""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path

from common import ROOT, die, entry, say


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
        "copyright holder",
        "LICENSE",
        r"^Copyright \(c\) [\d-]+ (.+)$",
        "The Drydock authors",
        "a line of your own above it; the template's has to stay, as the licence says",
    ),
)


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
