"""Make a release: the changelog's entry, the version in pyproject.toml, the commit and the tag.

All is checked before, and what fails halfway is undone: after an error the checkout is as it was.
Nothing is pushed; what to push is printed. The version stands in pyproject.toml alone: the wheel,
the image's label and the service's /about have it from there.
"""

from __future__ import annotations

import argparse
import datetime
import re
import tomllib

import adopted
from common import ROOT, capture, die, entry, git, output, say, step

CHANGELOG, PROJECT = ROOT / "CHANGELOG.md", ROOT / "pyproject.toml"
REMOTE = "origin"
# https://semver.org, without what may follow: Python spells a pre-release in another way (1.2.3rc1
# for 1.2.3-rc.1), and a "+" can't be in an image's tag.
VERSION = re.compile(r"v?(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)", re.ASCII)


def numbers(version: str) -> tuple[int, ...]:
    """What versions are compared by; empty if it is none that a release can have."""
    found = VERSION.fullmatch(version)
    return tuple(map(int, found.groups())) if found else ()


def check_version(version: str, tags: list[str]) -> None:
    """End with one line if the version can't be that of the next release."""
    if not numbers(version) or version.startswith("v"):
        die(f"VERSION={version}: expected three numbers, as in 1.2.3")
    last = max(tags, key=numbers, default="")
    if numbers(version) <= numbers(last):
        die(f"VERSION={version}: expected one greater than the last, which the tag {last} has")


def check_checkout() -> str:
    """End with one line if this is not what the default branch is; return the branch's name."""
    if git("status", "--porcelain"):
        die("the checkout is not clean: commit, or take back, what `git status` shows")
    branch = git("branch", "--show-current")
    default = "main"
    if REMOTE in git("remote").splitlines():
        heads = capture("git", "-C", str(ROOT), "ls-remote", "--symref", REMOTE, "HEAD")
        if heads.returncode != 0:
            die(f"{REMOTE} can't be reached, so nobody knows whether this checkout is up to date")
        found = re.search(r"^ref: refs/heads/(\S+)\tHEAD\n(\w+)", heads.stdout, re.MULTILINE)
        default = found[1] if found else default
        if branch == default and found and found[2] != git("rev-parse", "HEAD"):
            die(f"{branch} is not what {REMOTE} has: pull, or push and wait for its checks")
    if branch != default:
        die(f"a release is made of {default}, and this is {branch or 'no branch'}")
    return branch


def remote_tags() -> list[str]:
    """The tags of the remote, if there is one: a clone need not have them all."""
    listed = output("git", "-C", str(ROOT), "ls-remote", "--tags", "--refs", REMOTE) or ""
    return re.findall(r"refs/tags/(\S+)$", listed, re.MULTILINE)


def released(changelog: str, version: str, address: str) -> tuple[str, str]:
    """Give what is unreleased to the version; return the new text, and the entry alone.

    Raises:
        SystemExit: with one line, if there is nothing that is unreleased.
    """
    found = re.search(
        r"^## \[Unreleased\]\n(.*?)(?=^## |^\[[^\]\n]+\]: |\Z)", changelog, re.MULTILINE | re.DOTALL
    )
    if not found:
        die("CHANGELOG.md: expected a line `## [Unreleased]`")
    changes = found[1].strip()
    if not re.search(r"^[^#\s]", changes, re.MULTILINE):
        die("CHANGELOG.md: nothing stands under `## [Unreleased]`; say there what has changed")
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    text = changelog[: found.start(1)] + f"\n## [{version}] - {today}\n\n{changes}\n\n"
    text += changelog[found.end(1) :]
    last = re.search(r"^\[Unreleased\]: .*\n", text, re.MULTILINE)
    links = f"[Unreleased]: {address}/compare/v{version}...HEAD\n"
    links += f"[{version}]: {address}/releases/tag/v{version}\n"
    text = text[: last.start()] + links + text[last.end() :] if last else f"{text}{links}"
    return text, changes


def versioned(text: str, version: str) -> str:
    """The text of pyproject.toml with that version, and nothing else changed."""
    before = tomllib.loads(text)
    after, count = re.subn(
        r'^(\[project\]\n(?:(?!\[).*\n)*?version = )"[^"\n]*"',
        rf'\g<1>"{version}"',
        text,
        count=1,
        flags=re.MULTILINE,
    )
    before["project"]["version"] = version
    if count != 1 or tomllib.loads(after) != before:
        die('pyproject.toml: expected a line `version = "..."` in [project]')
    return after


def record(version: str, changelog: str, project: str, notes: str) -> None:
    """Write both files, commit and tag them: all, or nothing."""
    start = git("rev-parse", "HEAD")
    try:
        CHANGELOG.write_text(changelog)
        PROJECT.write_text(project)
        git("commit", "--all", "--quiet", "--message", f"Release {version}")
        # Signed where git signs commits, too. Verbatim, or git drops the entry's headings: they
        # begin with a `#`, as its comments do.
        signs = git("config", "--type=bool", "--default=false", "commit.gpgSign") == "true"
        options = ["--annotate", *(["--sign"] if signs else []), "--cleanup=verbatim", "--file=-"]
        git("tag", *options, f"v{version}", text=f"Release {version}\n\n{notes}\n")
    except BaseException:  # Ctrl-C as well
        output("git", "-C", str(ROOT), "tag", "--delete", f"v{version}")
        output("git", "-C", str(ROOT), "reset", "--hard", "--quiet", start)
        raise


def main() -> None:
    """Check, then make the release."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version", nargs="?", default="")
    version = parser.parse_args().version
    if not version:
        die("name the version: make release VERSION=1.2.3")
    check_version(version, git("tag").splitlines() + remote_tags())
    branch = check_checkout()
    project = PROJECT.read_text()
    address = tomllib.loads(project)["project"].get("urls", {}).get("repository", "")
    changelog, notes = released(CHANGELOG.read_text(), version, address.rstrip("/"))
    project = versioned(project, version)
    if left := adopted.unfilled():
        die(f"{len(left)} values are still the template's; `make adopted` lists them")
    step("checking it by `make lint`", ["make", "-C", str(ROOT), "lint"], hint="Correct that first")
    record(version, changelog, project, notes)
    say(
        f"made the release {version}: a commit and the tag v{version}; nothing was pushed. Push it:"
    )
    print(f"git push --atomic {REMOTE} {branch} v{version}")


if __name__ == "__main__":
    with entry():
        main()
