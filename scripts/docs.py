"""Write docs/{settings,malformed,promises}.md, docs/overview.svg and .env.example.

Each is made from one list, the picture by a script. With --check nothing is written, and the status
is 1 if a file differs. Run with tests/ on the path, where the list of malformed requests is.
"""

from __future__ import annotations

import dataclasses
import itertools
import sys
import textwrap
from collections import Counter

import malformed
import picture
import promises
from app.settings import Settings
from common import ROOT, die, entry, say

DOCUMENT = """\
# Settings

All are environment variables, read and checked once at start. A bad one ends the start with one
line that names it, what is wrong and what would be right. An empty variable counts as unset, but
an empty `APP_ENV` or `APP_HOST` is an error: it would turn an image's production into development,
or leave the container reachable for nobody.
`app settings` shows the values in effect: `docker run --rm --env-file .env IMAGE app settings`.

A secret can be given as the path of a file instead, in the variable with `_FILE` at its end; a line
end after it is stripped.

| Variable | Default | Accepts | Meaning |
| --- | --- | --- | --- |
"""

EXAMPLE = """\
# Copy to .env and change what you need: `flask run` and the stack of compose.yaml read it. It is
# ignored by git and by the build. A variable that is unset or empty has its default; APP_ENV and
# APP_HOST must not be empty. compose.yaml sets APP_HOST, APP_PORT, TRUSTED_PROXIES, the secrets and
# where a database is itself.
"""

MALFORMED = """\
# Malformed requests

What comes back when a request is broken, ambiguous or merely unusual. It is sent straight to the
service, whole, and then the client closes its side of the connection. A response is shown as its
status, several in their order, or as `closed` where the connection is closed without one.
`tests/drydock/image/test_malformed.py` sends all of it to a container on every push. It expects
these responses, no second response to one request, a line in the log for each response and no
other, and a service that goes on. The list is `tests/malformed.py`; `make docs` writes this file.

{count} cases: {summary}.

A status below 400 means that the request is valid: RFC 9112 or 9110 says so where the rule points.
Decisions where they leave a choice:

- An unknown transfer coding is a 400. RFC 9112, 6.1 suggests 501, but a client's error must not
  look like a failure of the service.
- `Host` is a name, an IPv4 or an IPv6 address, and perhaps a port. The RFC allows further
  characters, a comma among them; no name of a host on the Internet has one.
- Fields with an underscore in their names are left out: to an application `X_Y` and `X-Y` would be
  the same.
- The content of a GET, HEAD, DELETE, OPTIONS or TRACE is read before the response, and broken
  content is rejected, though it means nothing.
- Where the response does not depend on the content, as with a 404, it is sent before the content is
  read; if that turns out to be broken, the connection is closed after the response.
"""


def rows() -> list[tuple[str, str, str, str]]:
    """Each setting's variable, default, accepted form and meaning."""
    effective = dict(Settings().effective())
    found = []
    for field in dataclasses.fields(Settings):
        name = field.name.upper()
        about = field.metadata
        label = f"{name} or {name}_FILE" if about["secret"] else name
        found.append((label, effective[name], about["accepts"], about["meaning"]))
    return found


def document() -> str:
    """The text of docs/settings.md."""
    lines = []
    for label, default, accepts, meaning in rows():
        names = ", ".join(f"`{name}`" for name in label.split(" or "))
        shown = f"`{default}`" if default else ""
        lines.append(f"| {names} | {shown} | {accepts} | {meaning} |\n")
    return DOCUMENT + "".join(lines)


def example() -> str:
    """The text of .env.example."""
    text = EXAMPLE
    for label, default, accepts, meaning in rows():
        about = f"{meaning.replace('`', '')} Accepts {accepts}."
        text += "\n" + textwrap.fill(about, 98, initial_indent="# ", subsequent_indent="# ")
        text += f"\n#{label.partition(' ')[0]}={default}\n"
    return text


def responses() -> str:
    """The text of docs/malformed.md."""
    cases = malformed.CASES
    kinds = Counter("closed" if c.response == "closed" else f"{c.response[0]}xx" for c in cases)
    names = {"4xx": "rejected with 4xx", "closed": "closed without a response", "2xx": "valid"}
    summary = ", ".join(f"{kinds[kind]} {name}" for kind, name in names.items())
    text = MALFORMED.format(count=len(cases), summary=summary)
    for group, members in itertools.groupby(cases, lambda case: case.group):
        text += f"\n## {group}\n\n| Sent | Response | Rule |\n| --- | --- | --- |\n"
        text += "".join(f"| {case.what} | {case.response} | {case.rule} |\n" for case in members)
    return text


def main() -> None:
    """Write or check the files."""
    texts = {
        "docs/settings.md": document(),
        ".env.example": example(),
        "docs/malformed.md": responses(),
        "docs/promises.md": promises.document(),
        "docs/overview.svg": picture.document(),
    }
    for path, text in texts.items():
        file = ROOT / path
        if "--check" not in sys.argv:
            file.write_text(text)
            say(f"wrote {path}")
        elif file.read_text() != text:
            die(f"{path} is not what its list says; run: make docs")


if __name__ == "__main__":
    with entry():
        main()
