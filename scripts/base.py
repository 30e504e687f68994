"""Get the Dockerfile's base image, or a stand-in where no registry can be reached.

The base also names the archive of its packages; DEBIAN_SNAPSHOT says of which moment they are.
The stand-in is Debian's own minimal system, bootstrapped by mmdebstrap from Debian's signed
archive. The Dockerfile stays as it is: `--build-context` replaces the base by the stand-in. For
another platform (PLATFORM) the official base has an image, and there is a stand-in of its own.
"""

from __future__ import annotations

import datetime
import functools
import os
import platform
import re
import tempfile
from pathlib import Path

import emulation
from common import ROOT, announce, apt_get, capture, die, may_install, output, say, step

STAND_IN = "drydock-base"  # the name of the stand-in's image
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def reference() -> str:
    """The base as the Dockerfile names it: name:tag@digest."""
    found = re.search(
        r"^FROM (\S+@sha256:\w{64}) AS base$", (ROOT / "Dockerfile").read_text(), re.MULTILINE
    )
    if not found:
        die("Dockerfile: no line `FROM <name>:<tag>@sha256:<digest> AS base`")
    return found[1]


def is_at_hand(image: str) -> bool:
    """Whether the engine has `image`, pulled if need be; False if no registry can be reached."""
    if output("docker", "image", "inspect", image) is not None:
        return True
    name = image.partition("@")[0]
    say(f"pulling {name} ...")
    pulled = capture("docker", "pull", "--quiet", image)
    if pulled.returncode == 0:
        return True
    reason = pulled.stderr.strip()
    # Such a response of the registry may mean a wrong digest: no stand-in may hide that.
    if re.search(r"not found|manifest unknown|denied|unauthorized|toomanyrequests", reason):
        die(f"the registry refuses {image}: {reason.splitlines()[0]}")
    say(f"the registry can't be reached; a stand-in for {name} comes from Debian's archive")
    return False


def stand_in(base: str, architecture: str = "") -> str:
    """The stand-in's name, for the base as a Dockerfile names it."""
    name, digest = base.split("@sha256:")
    words = (name.replace(":", "-"), digest[:12], architecture)
    return f"{STAND_IN}:{'-'.join(filter(None, words))}"


def image() -> str:
    """The engine's name for the base: the Dockerfile's own, pulled if need be, or a stand-in's."""
    return image_for(emulation.architecture())


@functools.cache
def image_for(architecture: str) -> str:
    """The same for an architecture; empty for this machine's own."""
    base = reference()
    if output("docker", "image", "inspect", base) is not None:
        return base
    other = stand_in(base, architecture)
    if output("docker", "image", "inspect", other) is None:
        if is_at_hand(base):
            return base
        bootstrap(base.partition(":")[2].partition("-")[0], other, architecture)
    say(f"base: {other}, a stand-in bootstrapped from Debian's archive")
    return other


def taken_for(architecture: str) -> str:
    """The same for an image that has been built; nothing is pulled or made for another platform."""
    other = stand_in(reference(), emulation.foreign(architecture))
    return other if output("docker", "image", "inspect", other) is not None else image_for("")


def build_options() -> tuple[str, ...]:
    """Return what `docker build` needs so that its base is there: nothing, or a stand-in."""
    if image() == reference():
        return ()
    return ("--build-context", f"{reference()}=docker-image://{image()}")


def snapshot() -> str:
    """Return the moment that DEBIAN_SNAPSHOT names; empty where the newest packages are wanted.

    A moment yet to come would be the newest packages under a label that names other ones.
    """
    moment = os.environ.get("DEBIAN_SNAPSHOT", "")
    if not moment:
        return ""
    wrong = f"DEBIAN_SNAPSHOT={moment}: expected a moment that is past, as 20261101T000000Z"
    if not re.fullmatch(r"\d{8}T\d{6}Z", moment, re.ASCII):
        die(wrong)
    try:
        at = datetime.datetime.strptime(moment, "%Y%m%dT%H%M%S%z")
    except ValueError:
        die(wrong)
    if at > datetime.datetime.now(datetime.UTC):
        die(wrong)
    return moment


def bootstrap(suite: str, tag: str, architecture: str) -> None:
    """Bootstrap a minimal Debian `suite` and import it into the engine as `tag`."""
    of = (f"--architectures={architecture}",) if architecture else ()
    platform = ("--platform", f"linux/{architecture}") if architecture else ()
    if output("mmdebstrap", "--version") is None:
        if not may_install():
            die("no registry can be reached, and mmdebstrap is not installed: install it, as root")
        announce("mmdebstrap", "no registry can be reached")
        if output("apt-cache", "show", "mmdebstrap") is None:
            apt_get("reading the package lists", "update")
        apt_get("installing mmdebstrap", "install", "mmdebstrap", "debian-archive-keyring")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "root.tar")
        sources = Path(folder, "sources.list")
        sources.write_text(mirrors(suite))
        # Without addresses of this machine's own, mmdebstrap takes Debian's.
        mirror = [str(sources)] if sources.stat().st_size else []
        step(
            f"bootstrapping Debian {suite} (about 15 s; minutes for another platform)",
            ["mmdebstrap", "--variant=minbase", *of, suite, str(root), *mirror],
            hint=f"It needs an archive that has {suite}, and this machine's debian-archive-keyring"
            " to be new enough for it; a machine that reaches a registry needs neither",
        )
        words = ["docker", "import", *platform, "--message", "stand-in"]
        step("importing it", [*words, str(root), tag])


def mirrors(suite: str) -> str:
    """A Debian machine's own archive addresses, security included, for another suite."""
    release = platform.freedesktop_os_release()
    if release["ID"] != "debian":  # an Ubuntu's archive has no Debian
        return ""
    own = release.get("VERSION_CODENAME", "")
    template = "$(REPO_URI) $(RELEASE) $(COMPONENT)"
    listed = output("apt-get", "indextargets", "--format", template, "Created-By: Packages") or ""
    found = re.findall(rf"^(\S+) {own}(|-updates|-security) main$", listed, re.MULTILINE)
    return "".join(f"deb [signed-by={KEYRING}] {uri} {suite}{part} main\n" for uri, part in found)
