"""Build the image twice, as differently as can be had on one machine, and demand one digest.

What differs: the path of the sources, of another length; the user that owns them and that runs the
client, with his home and umask, and so the files' modes; the files' times, 25 years apart; the time
zone and language of the client. The time of day is the moment itself: the second build begins when
the first has ended, minutes later. The engine's clock can't be set for a build, nor can its kernel
and processor be varied here: two machines do that, whose digests can be compared.

The labels come from this checkout, once: what they say (revision, time, address) is not a matter
of the build. Nothing is taken from a cache but the base and pip's downloads, whose hashes are
locked.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import differences
import engine
import image
import layout
from common import ROOT, die, entry, output, say

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NOBODY = 65534  # any number will do that is not this process's own
# apt's line for each file that it gets: "Get:7 http://... trixie/main amd64 zlib1g amd64 1.3 [1 B]"
GOT = re.compile(r" Get:\d+ \S+ \S+ \S+ (?P<package>\S+) \S+ (?P<version>\S+) \[")


@dataclasses.dataclass(frozen=True)
class Way:
    """How one of the two builds is made."""

    tag: str  # the image's name, while it is there
    folder: str  # of the sources, below a temporary one
    umask: int
    time: float  # when the files were last changed, in seconds since 1970
    zone: str
    language: str
    options: Sequence[str]  # of `docker build`
    user: int | None = None  # another than this process's, if that can be


def ways(first: Sequence[str], second: Sequence[str]) -> tuple[Way, Way]:
    """The two ways, with what each has of Docker's options: by which of its caches, if any."""
    tag = f"drydock-reproduce-{os.getpid()}"
    user = NOBODY if may_be(NOBODY) else None
    long = "/a b/".join(f"a-folder-of-another-length-{n}" for n in range(4))
    return (
        Way(f"{tag}:first", "a", 0o022, 1e9, "UTC", "C", first),
        Way(f"{tag}:second", long, 0o077, 1.79e9, "Asia/Kathmandu", "tr_TR.UTF-8", second, user),
    )


def identity(user: int) -> dict[str, Any]:
    """What makes subprocess run a program as `user`, who may use the engine's socket."""
    socket = Path("/var/run/docker.sock")
    groups = [socket.stat().st_gid] if socket.exists() else []
    return {"user": user, "group": user, "extra_groups": groups}


def may_be(user: int) -> bool:
    """Whether a build can run as `user`; if not, the reason is said."""
    if os.geteuid() != 0:
        say(f"not varied: the user, since this is not root but {os.geteuid()}")
        return False
    where = shlex.quote(tempfile.gettempdir())
    asked = subprocess.run(
        ["sh", "-c", f"cd {where} && docker version"],
        env={**os.environ, "HOME": "/nonexistent"},
        capture_output=True,
        check=False,
        **identity(user),
    )
    if asked.returncode != 0:
        say(f"not varied: the user, since {where} or the engine does not let user {user} in")
    return asked.returncode == 0


def lay(sources: Path, top: Path, way: Way) -> None:
    """Copy below `top` what git has of a checkout, as it is now; with the owner, modes and times.

    Raises:
        SystemExit: with one line, if `sources` is no checkout.
    """
    listed = output(
        *("git", "-C", str(sources), "ls-files", "-z", "--cached", "--others"), "--exclude-standard"
    )
    if not listed:
        die(f"{sources} is no git checkout; the sources to build are those that git lists")
    for name in filter(None, listed.split("\0")):
        target = top / way.folder / name
        if (sources / name).is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(sources / name, target)
    for path in (top, *top.rglob("*")):
        path.chmod((0o777 if path.is_dir() or path.stat().st_mode & 0o100 else 0o666) & ~way.umask)
        if way.user is not None:
            os.chown(path, way.user, way.user)
        os.utime(path, (way.time, way.time))


def prepare(sources: Path, way: Way, stack: contextlib.ExitStack) -> Callable[[], list[str]]:
    """Copy the sources; return what then builds the image in that way and returns the log."""
    top, home = (stack.enter_context(tempfile.TemporaryDirectory()) for _ in range(2))
    lay(sources, Path(top), way)
    variables = {**os.environ, "TZ": way.zone, "LANG": way.language, "LC_ALL": way.language}
    options: dict[str, Any] = {"umask": way.umask, "env": variables}
    if way.user is not None:
        # Docker's client keeps notes at home.
        os.chown(home, way.user, way.user)
        variables |= {"HOME": home, "DOCKER_CONFIG": home}
        options |= identity(way.user)
    command = image.command("runtime", way.tag, Path(top, way.folder))
    return lambda: image.run([*command, *way.options], way.tag, options)


def packages(log: list[str]) -> dict[str, str]:
    """The Debian packages that apt got in a build, with their versions."""
    return {found["package"]: found["version"] for found in map(GOT.search, log) if found}


def explained(tags: Sequence[str]) -> None:
    """Print how two images differ."""
    with tempfile.TemporaryDirectory() as folder:
        first, second = (
            differences.Image(layout.load(layout.save(tag, Path(folder, str(number)))))
            for number, tag in enumerate(tags)
        )
        lines = list(differences.explain(first, second))
    print("\n".join(lines or ["the same layers and configuration, compressed in different ways"]))


def blame(one: dict[str, str], two: dict[str, str]) -> NoReturn:
    """End with one line; if apt got other packages for the second build, it is not to blame."""
    both = one.keys() & two.keys()
    if moved := differences.of_dicts({p: one[p] for p in both}, {p: two[p] for p in both}):
        die(f"Debian's archive has moved on between both builds, so try again: {moved}")
    die("two builds gave two images; how they differ is above")


def twice(sources: Path, first: Sequence[str], second: Sequence[str]) -> str:
    """Build `sources` in both ways, with what each has of Docker's options; return the digest.

    Raises:
        SystemExit: with one line, after what was printed of how they differ, if there are two.
    """
    pair = ways(first, second)
    with contextlib.ExitStack() as stack:
        for way in pair:  # removed also after Ctrl-C
            stack.callback(output, "docker", "image", "rm", "--force", way.tag)
        # Both copies before the first build: somebody may go on working here.
        builds = [prepare(sources, way, stack) for way in pair]
        one, two = (packages(build()) for build in builds)
        digests = [output("docker", "image", "inspect", "-f", "{{.Id}}", way.tag) for way in pair]
        if digests[0] == digests[1]:
            return str(digests[0])
        explained([way.tag for way in pair])
    blame(one, two)


def main() -> None:
    """Print the one digest, and what kind it is."""
    engine.main()
    digest = twice(ROOT, ["--no-cache"], ["--no-cache"])
    # With the one kind of image store an image is known by its manifest, as in a registry; with the
    # other by its configuration, which names the layers' hashes before they are compressed.
    store = output("docker", "info", "--format", "{{.DriverStatus}}") or ""
    kind = "manifest" if "io.containerd" in store else "configuration"
    print(f"two builds gave one image, by the digest of its {kind}: {digest}")


if __name__ == "__main__":
    with entry():
        main()
