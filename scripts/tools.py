"""Make .venv: the tools for linting and the tests' own needs, all locked by hash."""

from __future__ import annotations

import importlib.util
import sys

from common import ROOT, apt_get, die, entry, may_install, step

VENV = ROOT / ".venv"


def main() -> None:
    """Create or update the environment; its stamp file tells make that it is current."""
    if importlib.util.find_spec("ensurepip") is None:
        # Debian keeps this part of Python in a package of its own.
        if not may_install():
            die("this Python can't make virtual environments; install python3-venv")
        apt_get("reading the package lists", "update")
        apt_get("installing python3-venv", "install", "python3-venv")
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check"]
    locks = [f"--requirement={ROOT}/requirements/{name}.txt" for name in ("runtime", "dev")]
    step("making .venv", [sys.executable, "-m", "venv", "--clear", str(VENV)])
    step("installing the locked tools into .venv", [*pip, "--require-hashes", *locks])
    project = ["--no-deps", "--no-build-isolation", "--editable", str(ROOT)]
    step("installing the project into .venv", [*pip, *project])
    (VENV / "bin" / "installed").touch()


if __name__ == "__main__":
    with entry():
        main()
