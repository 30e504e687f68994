"""Make .venv: the tools for linting and the tests' own needs, all locked by hash."""

from __future__ import annotations

import importlib.util
import re
import sys
import tempfile
from pathlib import Path

from common import ROOT, announce, apt_get, capture, die, entry, may_install, step

VENV = ROOT / ".venv"

# A lock is installed and never resolved. Without --no-deps, pip 23 takes the newest release for an
# extra that some requirement names (`coverage[toml]`), and then complains that it is not in the
# lock. Without --only-binary a Python that is newer than the locks would start to compile.
# The Dockerfile says the same; tests/drydock/repository/test_locks.py compares the two.
INSTALL = ("install", "--no-deps", "--require-hashes", "--only-binary=:all:")


def install(python: Path, *locks: Path) -> None:
    """Install what the lock files name into the environment of the interpreter `python`."""
    requirements = [f"--requirement={lock}" for lock in locks]
    step(
        "installing the locked packages",
        [str(python), "-m", "pip", "--disable-pip-version-check", *INSTALL, *requirements],
        hint=f"Where a package has no wheel for Python {sys.version_info[0]}.{sys.version_info[1]},"
        " name an older one, `make PYTHON=python3.13`, or renew the locks: `make upgrade`",
    )


def check(python: Path) -> None:
    """Check that each installed package has what it requires: --no-deps does not."""
    checked = capture(str(python), "-m", "pip", "--disable-pip-version-check", "check")
    if checked.returncode != 0:
        die(
            "the lock files in requirements/ do not fit pyproject.toml; run `make lock`: "
            + "; ".join(checked.stdout.splitlines())
        )


def make_environment(*, clear: bool) -> Path:
    """Make .venv and return its interpreter."""
    if importlib.util.find_spec("ensurepip") is None:
        # Debian keeps this part of Python in a package of its own.
        if not may_install():
            die("this Python can't make virtual environments; install python3-venv")
        announce("python3-venv", "this Python can't make virtual environments")
        apt_get("reading the package lists", "update")
        apt_get("installing python3-venv", "install", "python3-venv")
    options = ["--clear"] if clear else []
    step("making .venv", [sys.executable, "-m", "venv", *options, str(VENV)])
    return VENV / "bin" / "python"


def locked(package: str) -> str:
    """What the lock of the tools says of a package: its version and hashes."""
    lock = (ROOT / "requirements/dev.txt").read_text()
    found = re.search(rf"^{package}==.*\n(?: .*\n)*", lock, re.MULTILINE)
    if not found:
        die(f"requirements/dev.txt does not name {package}; take the file back from git")
    return found[0]


def install_uv() -> None:
    """Install what writes the locks, and nothing else: the other packages may be what is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        lock = Path(folder, "uv.txt")
        lock.write_text(locked("uv"))
        install(make_environment(clear=False), lock)


def main() -> None:
    """Create or renew the environment; its stamp file tells make that it is current."""
    if sys.argv[1:] == ["uv"]:
        install_uv()
        return
    python = make_environment(clear=True)
    install(python, *(ROOT / "requirements" / f"{name}.txt" for name in ("runtime", "dev")))
    pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
    project = ["--no-deps", "--no-build-isolation", "--editable", str(ROOT)]
    step("installing the project into .venv", [*pip, "install", *project])
    check(python)
    (VENV / "bin" / "installed").touch()


if __name__ == "__main__":
    with entry():
        main()
