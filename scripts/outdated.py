"""Compare the image's Debian packages with the newest in Debian's archive, security included.

The image is $IMAGE, and is not built. Those that are outdated are shown as a table in Markdown on
standard output, which stays empty if none is. The status is 0 if none is, 1 if one is, 2 if nobody
can know: no archive was reached, or the image does not say what is in it.
"""

from __future__ import annotations

import subprocess
import sys

import base
import contents
import image
import rootfs
from common import die, entry, output, say

UNKNOWN = 2

# For a real apt in the base, with the sources that the image is built from. Of each package: the
# newest version there and the suites that have it (madison lists the newest first), where dpkg says
# that the image's is older. Without Error-Mode apt goes on with fewer lists than it should have.
ASK = r"""
set -eu
printf 'APT::Architecture "%s";\nAPT::Architectures "%s";\n' "$1" "$1" > /etc/apt/apt.conf.d/image
apt-get -qq -o APT::Update::Error-Mode=any update >&2
cat > /tmp/image
apt-cache madison $(cut -d ' ' -f 1 /tmp/image) \
    | sed -E 's/ *\| */|/g; s/^ *//; s/\|[^ |]+ ([^ ]+) [^|]*$/|\1/' > /tmp/archive
while read -r package version; do
    found=$(awk -F '|' -v "package=$package" '
        $1 == package && (newest == "" || $2 == newest) { newest = $2; suites = suites " " $3 }
        END { print newest "|" suites }' /tmp/archive)
    newest=${found%%|*}
    if [ -z "$newest" ] || dpkg --compare-versions "$version" lt "$newest"; then
        echo "$package|$version|$found"
    fi
done < /tmp/image
"""


def ask(packages: dict[str, str], architecture: str) -> list[list[str]]:
    """Return those packages that are not the newest: name, version, the newest version, its suites.

    The last two are empty where the archive no longer has the package.
    """
    shell = ("sh", "-c", ASK, "sh", architecture)
    done = subprocess.run(
        ["docker", "run", "--rm", "--interactive", base.image(), *shell],
        input="".join(f"{package} {version}\n" for package, version in sorted(packages.items())),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [""]
        reason = next((line for line in said if line.startswith("E: ")), said[-1])
        die(f"Debian's archive does not answer, so nobody knows what is outdated: {reason}")
    return [line.split("|") for line in done.stdout.splitlines()]


def table(outdated: list[list[str]]) -> str:
    """Show them as a table in Markdown."""
    rows = ["| Package | In the image | Newest | In |", "| --- | --- | --- | --- |"]
    for package, version, newest, suites in outdated:
        where = ", ".join(suites.split()) or "the archive has it no more"
        rows.append(f"| {package} | {version} | {newest or 'none'} | {where} |")
    return "\n".join(rows)


def compare() -> bool:
    """Show what is outdated, and return whether anything is."""
    image.find()
    with rootfs.exported(image.name()) as root:
        packages = contents.debian(root)
    if not packages:
        die(f"{image.name()} has no list of its Debian packages in /var/lib/dpkg/status.d")
    architecture = output("docker", "image", "inspect", "-f", "{{.Architecture}}", image.name())
    say(f"asking Debian's archive for {len(packages)} packages ...")
    outdated = ask(packages, architecture or "")
    if outdated:
        print(table(outdated))
    which = f"{len(outdated)} of {len(packages)}" if outdated else f"none of {len(packages)}"
    say(f"{image.name()}: {which} Debian packages outdated")
    return bool(outdated)


if __name__ == "__main__":
    try:
        with entry():
            older = compare()
    except SystemExit as end:
        # What says why has been printed. A status of 1 would say that something is outdated.
        sys.exit(UNKNOWN if end.code == 1 else end.code)
    sys.exit(1 if older else 0)
