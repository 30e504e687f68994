"""Make the template a service of one's own: its name, its owners, without the sample.

Run by `make adopt`, which names the variables that were given to it; their values are in the
environment. All edits are worked out first and then written; after an error the checkout is as it
was. A second run with the same values changes nothing.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import difflib
import os
import re
import shutil
import sys
import tomllib

import adopted
import owners
import template
import without_database
from common import ROOT, die, entry, git, say, says_yes

Edits = dict[str, str | None]  # the new text of a file, or None where it goes

TEXT = r'[^\s"\\](?:[^"\\\x00-\x1f\x7f]{0,198}[^\s"\\])?'


@dataclasses.dataclass(frozen=True)
class Answer:
    """A variable that `make adopt` takes, and what it may be."""

    key: str  # as in adopted.PLACES, or empty
    pattern: str
    expected: str


ANSWERS = {
    "NAME": Answer(
        "name",
        r"(?=.{1,63}$)[a-z][a-z0-9]*(?:-[a-z0-9]+)*",
        "lower-case letters and digits with single hyphens between, as in notes-service",
    ),
    "DESCRIPTION": Answer("description", TEXT, 'one line, without " and \\'),
    "REPOSITORY": Answer(
        "repository",
        r"https://[\w.-]+(?::\d+)?(?:/[\w.~-]+)+(?<!\.git)",
        "its address as a browser opens it: https://github.com/organization/name",
    ),
    "OWNERS": Answer(
        "owners",
        r"@[\w-]+(?:/[\w.-]+)?(?: +@[\w-]+(?:/[\w.-]+)?)*",
        "@user or @organization/team, or several with spaces between",
    ),
    "CONTACT": Answer("security contact", r"[^\s@]+@[^\s@]+\.[^\s@]+", "an e-mail address"),
    "HOLDER": Answer(adopted.HOLDER, TEXT, 'who holds the copyright: one line, without " and \\'),
    "SAMPLE": Answer("", r"keep|remove", "keep or remove"),
    "DATABASE": Answer("", r"keep|none", "keep or none"),
    "TEMPLATE": Answer("", template.ADDRESS, "the address that git fetches the template from"),
    "DRY_RUN": Answer("", r"0|1|", "1 or 0"),
}

# The sample: what goes with it, and its place among the parts.
SAMPLE = ("src/app/blogs/", "tests/app/blogs/", "src/app/migrations/versions/0001_blogs.py")
PARTS, PART = "src/app/__init__.py", r', "app\.blogs"(?=[,)])'
MIGRATIONS = "src/app/migrations/versions/"

README = """\
# {name}

{description}

A Flask service in a container image without a shell and without root, made from a template: the
service is `src/app`, its tests are `tests/app`, and [docs/fork.md](docs/fork.md) says whose the
rest is.

    make up      # build and start it, {stack}, and say where it is
    make down    # stop it{kept}
    make dev     # the same for development: an edit is served at once
    make test    # prove the service, the image and the stack

`make` alone lists the other verbs.

- [Add to the service](docs/extend.md): a part, {table}a setting, a command, a dependency
- [Settings](docs/settings.md), and [the service in operation](docs/service.md)
- [The stack](docs/stack.md): TLS, rollouts, backups
- [Make a release](docs/release.md), and [take the template's updates](docs/fork.md)
"""
CHANGELOG = """\
# Changelog

What changes for those who run the image, in the form of
[Keep a Changelog](https://keepachangelog.com/en/1.1.0/); the versions follow
[Semantic Versioning](https://semver.org/). `make release` moves what is unreleased to its version.

## [Unreleased]

[Unreleased]: {repository}/commits/main
"""

WITH_DATABASE = {
    "stack": "with PostgreSQL and a gateway",
    "table": "a table, ",
    "kept": "; the data is kept",
}
BEGUN = {"README.md": README, "CHANGELOG.md": CHANGELOG}
PLACEHOLDERS = {place.key: place.placeholder for place in adopted.PLACES}


def given(names: list[str]) -> dict[str, str]:
    """The values of the variables with these names, each of which is checked."""
    answers = {}
    for name in names:
        if name not in ANSWERS:
            die(f"make adopt knows no {name}: expected one of {', '.join(ANSWERS)}")
        answers[name] = os.environ.get(name, "").strip()
        if problem := wrong(name, answers[name]):
            die(problem)
    if answers.get("DATABASE") == "none" and answers.get("SAMPLE") == "keep":
        die("DATABASE=none: the sample needs a database; expected SAMPLE=remove, or no SAMPLE")
    return answers


def wrong(name: str, value: str) -> str:
    """What is wrong with a value, in one line; nothing if it is fine."""
    if not re.fullmatch(ANSWERS[name].pattern, value):
        shown = " ".join(value.split())
        return f"{name}={shown}: expected {ANSWERS[name].expected}"
    locked = [text(path) for path in files() if owners.owner(path) == owners.GENERATED]
    if name == "NAME" and any(re.search(rf"^{value}==", lock, re.MULTILINE) for lock in locked):
        return f"NAME={value}: that is a package that the service needs; expected another name"
    return ""


def ask(answers: dict[str, str]) -> None:
    """Ask the person at the terminal for what was not given and is still the template's."""
    say("nothing but Enter leaves a value as it is")
    old = adopted.values(text)
    wanted = {place.key for place in adopted.PLACES if old.get(place.key) == place.placeholder}
    for name, answer in ANSWERS.items():
        if name in answers or answer.key not in wanted:
            continue
        while value := prompt(f"{name} ({answer.expected}): "):
            problem = wrong(name, value)
            if not problem:
                answers[name] = value
                break
            print(problem, file=sys.stderr)
    if "SAMPLE" not in answers and sample() and not template.recorded():
        remove = says_yes(f"Remove the sample, {SAMPLE[0]}, with its tests and its table?")
        answers["SAMPLE"] = "remove" if remove else "keep"
        if remove and "DATABASE" not in answers:
            none = says_yes("Leave the database out, with PostgreSQL and all that it needs?")
            answers["DATABASE"] = "none" if none else "keep"


def prompt(question: str) -> str:
    """What the person at the terminal types."""
    print(question, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip()


def files() -> list[str]:
    """The files that git has of this checkout, which is clean."""
    return [path for path in git("ls-files", "-z").split("\0") if (ROOT / path).is_file()]


def current(path: str) -> str | None:
    """What a file says; None if it is not there."""
    file = ROOT / path
    return file.read_text() if file.exists() else None


def text(path: str) -> str:
    """What a file says; nothing if it is not there."""
    return current(path) or ""


def sample() -> list[str]:
    """The files of the sample that are there."""
    return [path for path in files() if path.startswith(SAMPLE)]


def without_sample() -> Edits:
    """The edits that remove the sample; none if it is gone."""
    gone: Edits = dict.fromkeys(sample())
    if not gone:
        return {}
    parts, count = re.subn(PART, "", text(PARTS))
    if count != 1:
        die(f'{PARTS}: expected "app.blogs" once in `parts`; remove the sample by hand')
    parts = re.sub(r"(parts ?= ?\(\"[^\"]+\")\)", r"\1,)", parts)  # one alone is a tuple, too
    later = [p for p in files() if p.startswith(MIGRATIONS) and p not in gone]
    if SAMPLE[-1] in gone and later:
        die(f"{later[0]}: is a migration after the sample's; remove the sample by hand")
    return gone | {PARTS: parts}


def edits(answers: dict[str, str], commit: str) -> Edits:
    """All that has to change; `commit` is what is checked out.

    The version, the changelog and README.md are begun anew where they are still the template's: no
    other run has left its record, and nobody has renamed the service by hand.
    """
    old = adopted.values(text)
    new = {a.key: answers[name] for name, a in ANSWERS.items() if a.key and name in answers}
    record = template.recorded()
    fresh = record is None and old.get("name") == PLACEHOLDERS["name"]
    if fresh:
        new["version"] = "0.1.0"
    now = dict.fromkeys(PLACEHOLDERS, "") | old | new
    changes: Edits = {
        path: adopted.filled(path, text(path), old, new)
        for path in files()
        if adopted.has_values(path)
    }
    none = answers.get("DATABASE") == "none"
    # What README.md says of the database; a later run leaves it to the fork.
    texts = {"stack": "with a gateway", "table": "", "kept": ""} if none else WITH_DATABASE
    for path, begun in BEGUN.items():
        if fresh or current(path):
            changes[path] = begun.format(**now, **texts) if fresh else renamed(text(path), old, now)
    if answers.get("SAMPLE") == "remove" or none:
        changes |= without_sample()
    if none:
        left = [path for path in files() if changes.get(path, "") is not None]
        changes |= without_database.edits(left, lambda path: changes.get(path) or text(path))
    own = now["repository"] if now["repository"] != PLACEHOLDERS["repository"] else ""
    address = answers.get("TEMPLATE") or (record.repository if record else "")
    kept = template.Record(
        address or template.remote_address(own), record.commit if record else commit
    )
    changes[owners.RECORD] = kept.text()
    return {path: new for path, new in changes.items() if new != current(path)}


def renamed(text: str, old: dict[str, str], new: dict[str, str]) -> str:
    """A text that an earlier run began, where it still says what that run wrote."""
    for form, key in (
        ("# {}\n", "name"),
        ("\n{}\n", "description"),
        ("\n[Unreleased]: {}/", "repository"),
    ):
        if key in old:
            text = text.replace(form.format(old[key]), form.format(new[key]), 1)
    return text


def difference(changes: Edits) -> str:
    """The edits as a person reads them."""
    lines: list[str] = []
    for path, after in sorted(changes.items()):
        lines += difflib.unified_diff(
            text(path).splitlines(keepends=True),
            (after or "").splitlines(keepends=True),
            "/dev/null" if current(path) is None else f"a/{path}",
            "/dev/null" if after is None else f"b/{path}",
        )
    return "".join(lines)


def write(changes: Edits) -> None:
    """Write all of it; what stops that takes all of it back, which the clean checkout allows."""
    added = [path for path in changes if not (ROOT / path).exists()]
    try:
        for path, after in changes.items():
            if after is None:
                (ROOT / path).unlink()
                shutil.rmtree((ROOT / path).parent / "__pycache__", ignore_errors=True)
                with contextlib.suppress(OSError):  # while something is left in it
                    (ROOT / path).parent.rmdir()
            else:
                (ROOT / path).write_text(after)
    except BaseException:  # Ctrl-C as well
        for path in added:
            (ROOT / path).unlink(missing_ok=True)
        git("reset", "--hard", "--quiet")
        raise


def check(changes: Edits) -> None:
    """End with one line if a file that was changed would not be read any more."""
    for path, after in changes.items():
        try:
            if path.endswith(".toml"):
                tomllib.loads(after or "")
            elif path.endswith(".py"):
                ast.parse(after or "")
        except (SyntaxError, tomllib.TOMLDecodeError) as error:
            die(f"{path} would be wrong, and nothing was changed: {error}")


def left() -> list[str]:
    """What a person has to do by hand: a line for each."""
    lines = adopted.unfilled()
    record = template.recorded()
    if record and not record.repository:
        lines.append(f"{owners.RECORD}: put the template's address: make adopt TEMPLATE=address")
    if sample():
        lines.append(f"{SAMPLE[0]}: the sample is still there: make adopt SAMPLE=remove")
    return lines


def main() -> None:
    """Adopt the template, or show how that would change it."""
    commit = template.check_checkout()
    answers = given(sys.argv[1:])
    if sys.stdin.isatty() and os.environ.get("CI", "") in ("", "false", "0"):
        ask(answers)
    changes = edits(answers, commit)
    check(changes)
    if answers.get("DRY_RUN") == "1":
        print(difference(changes), end="")
        say(f"{len(changes)} files would change; nothing was written")
        return
    write(changes)
    if again := edits(answers, commit):
        die(f"a second run would change {', '.join(again)}: that is a fault of make adopt")
    say(f"changed {len(changes)} files" + (": `git status` shows them" if changes else ""))
    if lines := left():
        say("left to do by hand, before the first release:")
        print("\n".join(lines))
    say("next: `make lint unit`, then commit all of it")


if __name__ == "__main__":
    with entry():
        main()
