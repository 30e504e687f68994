"""Copies of this checkout, and the project's verbs in them as a person types them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]


def environment(**variables: str) -> dict[str, str]:
    """This process's, without what an outer make or a person's settings would change."""
    own = (
        "IMAGE",
        "PORT",
        "YES",
        "FILE",
        "DEBUG_PORT",
        "GATEWAY_RATE",
        "MAX_BODY_BYTES",
        "GATEWAY_BURST",
        "TEST_FULL",
        "TEST_QUICK",
        "REPOSITORY",
        "IMAGES",
        "IDENTITY",
        "ISSUER",
        "TAGS",
        "EXTRA_TAGS",
        "DEBIAN_SNAPSHOT",
        "FRESH",
        "CONTEXT",
        "OVERLAY",
    )
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in own and not name.startswith(("MAKE", "MFLAGS", "COMPOSE_"))
    }
    return kept | variables


def make(
    *arguments: str, checkout: Path = CHECKOUT, timeout: float = 900, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run make, and keep what it prints."""
    return subprocess.run(
        ["make", "-C", str(checkout), *arguments, f"PYTHON={sys.executable}"],
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )


def copy(target: Path) -> Path:
    """Copy the checkout to `target`, to be changed freely: what git has, as it is now."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listing, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    for file in filter(None, files.split("\0")):
        if (CHECKOUT / file).exists():
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / file, target / file)
    return target
