"""Write docs/settings.md and .env.example from app.settings, the one list of all settings.

With --check nothing is written: status 1 if either differs from what would be.
"""

from __future__ import annotations

import dataclasses
import sys
import textwrap

from app.settings import Settings
from common import ROOT, die, entry, say

DOCUMENT = """\
# Settings

All are environment variables, read and checked once at start. A bad one ends the start with one
line that names it, what is wrong and what would be right. An empty variable counts as unset, but
an empty `APP_ENV` is an error: it would turn an image's production into development.
`app settings` shows the values in effect: `docker run --rm --env-file .env IMAGE app settings`.

A secret can be given as the path of a file instead, in the variable with `_FILE` at its end; a line
end after it is stripped.

| Variable | Default | Accepts | Meaning |
| --- | --- | --- | --- |
"""

EXAMPLE = """\
# Copy to .env and change what you need: `flask run` and the stack of compose.yaml read it. It is
# ignored by git and by the build. A variable that is unset or empty has its default; APP_ENV must
# not be empty. compose.yaml sets APP_PORT, DATABASE_URL, TRUSTED_PROXIES and the secrets itself.
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


def main() -> None:
    """Write or check the two files."""
    for path, text in (("docs/settings.md", document()), (".env.example", example())):
        file = ROOT / path
        if "--check" not in sys.argv:
            file.write_text(text)
            say(f"wrote {path}")
        elif file.read_text() != text:
            die(f"{path} is not what app.settings says; run: make docs")


if __name__ == "__main__":
    with entry():
        main()
