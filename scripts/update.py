"""Take the template's newest release, or what TEMPLATE=address@ref names, into this fork.

git merges, with the commit that the fork began with (or was last updated to) as what both started
from. No common history is needed: git is given three commits made for this, of the template's two
trees as they would be in this fork, with its name, its version and its own files. All stays
uncommitted, for a person to look at.
"""

from __future__ import annotations

import functools
import os
import re
import subprocess
import tempfile
from pathlib import Path

import adopted
import owners
import template
import without_database
from common import ROOT, capture, die, entry, git, output, say
from release import numbers

# `address`, `address@ref` or `@ref`. An @ before the path, as in git@host:path, is the address's.
SOURCE = re.compile(r"((?:\w+://[^/]*/|[^/@:]+@[^/@:]+:)?[^@]*)(?:@([^@:\s]+))?")
# The synthetic commits are nobody's and are never shown, but for the subject in a conflict.
AUTHOR = {
    f"GIT_{role}_{what}": "template"
    for role in ("AUTHOR", "COMMITTER")
    for what in ("NAME", "EMAIL")
}


def remote(*arguments: str, problem: str) -> str:
    """What git says of another repository; end with one line if it can't be asked."""
    done = capture("git", "-C", str(ROOT), *arguments)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        die(f"{problem}: {lines[0] if lines else 'git says nothing more'}")
    return done.stdout


def source(record: template.Record) -> tuple[str, str]:
    """The address, and the ref: that of TEMPLATE, or the tag of the newest release."""
    given = os.environ.get("TEMPLATE", "")
    found = SOURCE.fullmatch(given)
    if not found or not re.fullmatch(rf"({template.ADDRESS})?", found[1]):
        die(f"TEMPLATE={given}: expected address@ref, as in https://host/template@v1.2.0")
    address, ref = found[1] or record.repository, found[2] or ""
    if not address:
        die(f"{owners.RECORD} names no address: make update TEMPLATE=address")
    if ref.startswith("-"):
        die(f"TEMPLATE={given}: expected a tag, a branch or a commit behind the @")
    listed = remote(
        "ls-remote", "--tags", "--refs", "--", address, problem=f"{address} can't be reached"
    )
    releases = [
        tag for tag in re.findall(r"refs/tags/(v\S+)$", listed, re.MULTILINE) if numbers(tag)
    ]
    if not ref and not releases:
        die(f"{address} has no release yet: name a branch or a commit, TEMPLATE=address@ref")
    return address, ref or "refs/tags/" + max(releases, key=numbers)


def fetched(address: str, ref: str) -> str:
    """Fetch the ref, without keeping a name for it here; return its commit."""
    shown = ref.removeprefix("refs/tags/")
    fetch = ("fetch", "--quiet", "--no-tags", "--", address)
    remote(*fetch, ref, problem=f"{address} has no {shown}")
    return git("rev-parse", "FETCH_HEAD^{commit}")


def start(record: template.Record, address: str, *known: str) -> str:
    """The template's commit that this fork has: the recorded one, or what that was made from.

    "Use this template" leaves none of the template's commits: its tree tells which it was. A fork
    may have begun with commits of its own, too: then it is the last one before them. Looked for is
    before the commits `known`, which are the template's.
    """
    if output("git", "-C", str(ROOT), "cat-file", "-t", record.commit) is None:
        problem = f"{owners.RECORD}: the commit {record.commit} is neither here nor at {address}"
        remote("fetch", "--quiet", "--no-tags", "--", address, record.commit, problem=problem)
    theirs = {}
    for line in git("log", "--topo-order", "--reverse", "--format=%T %H", *known).splitlines():
        tree, commit = line.split()
        theirs[tree] = commit
    trees = git("log", "--topo-order", "--format=%T", record.commit).splitlines()
    found = next((theirs[tree] for tree in trees if tree in theirs), None)
    if found is None:
        die(
            f"{owners.RECORD}: neither the commit {record.commit} nor one before it is one of"
            f" {address}; put there the commit of the template that this fork began with"
        )
    return found


def entries(tree: str) -> dict[str, str]:
    """The files of a tree: mode, kind and id of each."""
    listed = git("ls-tree", "-r", "-z", tree).split("\0")
    return {path: about for about, _, path in (line.partition("\t") for line in listed if line)}


@functools.cache
def contents(commit: str) -> dict[str, str]:
    """What the files that are read here say in a commit: those with values, and the changelog."""
    wanted = {"CHANGELOG.md", *without_database.WITHOUT}
    paths = [p for p in entries(commit) if adopted.has_values(p) or p in wanted]
    names = "".join(f"{commit}:{path}\n" for path in paths)
    command = ("git", "-C", str(ROOT), "cat-file", "--batch")
    done = subprocess.run(command, input=names.encode(), capture_output=True, check=True).stdout
    found = {}
    for path in paths:
        about, _, rest = done.partition(b"\n")  # the id, the kind, the size
        size = int(about.split()[2])
        found[path], done = rest[:size].decode(), rest[size + 1 :]
    return found


def values(commit: str) -> dict[str, str]:
    """The values that a commit has in adopted.PLACES."""
    return adopted.values(lambda path: contents(commit).get(path, ""))


def as_here(commit: str) -> str:
    """The tree of the template's commit with this fork's values, and its own files.

    So what `make adopt` has changed is no change of the fork's, and its own files are none of the
    template's: they are the same in all that is merged. Nor does a database that was left out come
    back with a release.
    """
    files = {p: about for p, about in entries(commit).items() if owners.owner(p) != owners.FORK}
    files |= {p: about for p, about in entries("HEAD").items() if owners.owner(p) == owners.FORK}
    theirs, ours = values(commit), values("HEAD")
    texts = {
        path: adopted.filled(path, before, theirs, ours)
        for path, before in contents(commit).items()
        if owners.owner(path) != owners.FORK
    }
    if without_database.left_out(entries("HEAD")):
        files = {path: about for path, about in files.items() if path not in without_database.FILES}
        texts = {p: without_database.without(p, t) or "" for p, t in texts.items() if p in files}
    with tempfile.TemporaryDirectory() as folder:
        written = [Path(folder, str(number)) for number, _ in enumerate(texts)]
        for file, text in zip(written, texts.values(), strict=True):
            file.write_bytes(text.encode())
        names = "\n".join(map(str, written))
        blobs = git("hash-object", "-w", "--no-filters", "--stdin-paths", text=names).split()
        for path, blob in zip(texts, blobs, strict=True):
            files[path] = f"{files[path].split()[0]} blob {blob}"
        index = {"GIT_INDEX_FILE": str(Path(folder, "index"))}
        lines = "".join(f"{about}\t{path}\0" for path, about in files.items())
        git("update-index", "-z", "--index-info", text=lines, env=index)
        return git("write-tree", env=index)


def merge(base: str, new: str, name: str) -> None:
    """Merge what the template changed from `base` to `new` into this checkout, uncommitted."""
    before, after = as_here(base), as_here(new)
    began = git("commit-tree", before, "-m", "template", env=AUTHOR)
    change = git("commit-tree", after, "-p", began, "-m", f"template {name}", env=AUTHOR)
    done = capture("git", "-C", str(ROOT), "cherry-pick", "--no-commit", change)
    if done.returncode != 0 and not conflicts():
        back()
        die(f"git could not merge, and nothing was changed: {' '.join(done.stderr.split())}")


def conflicts() -> list[str]:
    """The files that git could not merge."""
    listed = git("diff", "--name-only", "--diff-filter=U", "-z").split("\0")
    return [path for path in listed if path]


def keep_generated() -> list[str]:
    """Keep the fork's own of what a verb writes, where git could not merge it; return the paths."""
    kept = [path for path in conflicts() if owners.owner(path) == owners.GENERATED]
    for path in kept:
        if output("git", "-C", str(ROOT), "checkout", "--quiet", "--ours", "--", path) is None:
            git("rm", "--quiet", "--", path)  # the fork has none
        else:
            git("add", "--", path)
    return kept


def back() -> None:
    """As it was: all that there was is committed."""
    git("reset", "--hard", "--quiet", "HEAD")


def notes(base: str, new: str) -> str:
    """The upgrade notes of each release that `base` does not have, the newest first."""
    known, found = sections(contents(base).get("CHANGELOG.md", "")), []
    for title, text in sections(contents(new).get("CHANGELOG.md", "")).items():
        part = re.search(r"^### Upgrade notes\n+(.*?)(?=^### |\Z)", text, re.MULTILINE | re.DOTALL)
        if part and part[1].strip() and known.get(title) != text:
            found.append(f"{title}\n\n{part[1].strip()}\n")
    return "\n".join(found)


def sections(changelog: str) -> dict[str, str]:
    """The releases of a changelog: title and text."""
    text = re.split(r"^\[[^\]\n]+\]: ", changelog, maxsplit=1, flags=re.MULTILINE)[0]
    parts = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def untaken(base: str, new: str) -> list[str]:
    """The files of the service that the template changed, too, and that are here."""
    changed = git("diff", "--name-only", "-z", base, new, "--", "src/app", "tests/app").split("\0")
    return [path for path in changed if path and (ROOT / path).exists()]


def report(base: str, new: str, name: str, kept: list[str]) -> None:
    """Say what is new, and what is left to do; status 1 if there are conflicts."""
    if text := notes(base, new):
        say("upgrade notes:")
        print(text)
    if paths := untaken(base, new):
        say("the template changed its sample, too; yours stays. Look whether you want that, too:")
        print(f"git diff {base[:12]} {new[:12]} -- {' '.join(paths)}")
    if kept:
        say(f"yours was kept of {', '.join(kept)}: write it anew, `make lock docs`")
    way_back = "`git reset --hard` takes all of it back"
    if paths := conflicts():
        print("\n".join(paths))
        die(
            f"{len(paths)} files were changed there and here: edit them, `git add` them; {way_back}"
        )
    say(f"merged {name}, uncommitted: `git diff --cached` shows it; {way_back}")
    say("next: `make lint unit`, then commit it")


def main() -> None:
    """Update this fork."""
    template.check_checkout()
    record = template.recorded()
    if not record:
        die(f"there is no {owners.RECORD}: `make adopt` writes it, in a fork of the template")
    address, ref = source(record)
    name = ref.removeprefix("refs/tags/")
    newest = fetched(address, "HEAD")
    new = fetched(address, ref)
    base = start(record, address, newest, new)
    # Not a release either that is older than what a fork began with.
    if output("git", "-C", str(ROOT), "merge-base", "--is-ancestor", new, base) is not None:
        say(f"already up to date: this fork has {name} of {address}, or newer")
        return
    say(f"merging {name} of {address} ({new[:12]}), from {base[:12]} on")
    try:
        merge(base, new, name)
        kept = keep_generated()
        template.FILE.write_text(template.Record(address, new).text())
        git("add", "--", owners.RECORD)
    except BaseException:  # Ctrl-C as well
        back()
        raise
    report(base, new, name, kept)


if __name__ == "__main__":
    with entry():
        main()
