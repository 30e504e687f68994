"""A service's API against its own description."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from depth import FULL

if TYPE_CHECKING:
    from containers import Container

# Of requests, for each operation at the most.
EXAMPLES = 500 if FULL else 40


def check_api(container: Container, token: str, folder: Path, *, examples: int) -> int:
    """Run schemathesis with all of its checks: no 5xx, no status that is not documented.

    Up to so many examples for each operation; return how many requests were made up in all.
    """
    done = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("st")), "run", "--no-color"),
            f"http://127.0.0.1:{container.port}/openapi.json",
            *("--checks", "all", "--max-examples", str(examples), "--continue-on-failure"),
            *("--seed", "1"),  # so that a red run can be run again
            *("--header", f"Authorization: Bearer {token}"),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    generated = re.search(r"(\d+) generated", done.stdout)
    assert generated is not None, done.stdout
    return int(generated[1])
