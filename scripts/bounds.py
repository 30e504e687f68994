"""What a fork may rightly change of what the contract holds its image to: [tool.drydock]."""

from __future__ import annotations

import tomllib
from typing import Any

from common import ROOT


def of_the_fork() -> dict[str, Any]:
    """The bounds in pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    found: dict[str, Any] = project["tool"]["drydock"]
    return found
