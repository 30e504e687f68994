"""The documented way to write a migration, typed as it is documented."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from checkouts import CHECKOUT, copy, make

pytestmark = pytest.mark.database

MODEL = '''

from sqlalchemy.orm import Mapped, mapped_column

from drydock.database import Model


class Trial(Model):
    """A table of this test's."""

    __tablename__ = "drydock_trial"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
'''


def test_the_documented_line_writes_a_migration_of_the_models(tmp_path: Path) -> None:
    checkout = copy(tmp_path / "checkout")
    (checkout / ".venv").symlink_to(Path(sys.prefix))
    for file in (checkout / "pyproject.toml", *(checkout / "requirements").iterdir()):
        os.utime(file, (0, 0))  # else make would take an .venv that is older for outdated
    with (checkout / "src/app/__init__.py").open("a") as module:
        module.write(MODEL)
    folder = checkout / "src/app/migrations/versions"
    before = set(folder.glob("*.py"))  # none, and no folder, in a fork without tables
    (line,) = re.findall(
        r"`make (migration NAME=\".*\")`", (CHECKOUT / "docs/service.md").read_text()
    )
    source = str(checkout / "src")
    done = make(*shlex.split(line), checkout=checkout, PYTHONPATH=source)
    assert done.returncode == 0, done.stdout + done.stderr
    (new,) = {file for file in folder.glob("*.py") if file not in before}
    assert int(new.name.partition("_")[0]) == 1 + max(
        (int(file.name[:4]) for file in before), default=0
    )
    assert "drydock_trial" in new.read_text()

    # It is as the linter wants it, and it can be applied.
    ruff = (sys.executable, "-m", "ruff")
    for check in (("check",), ("format", "--check")):
        assert subprocess.run([*ruff, *check, str(new)], cwd=checkout, check=False).returncode == 0
    variables = os.environ | {"PYTHONPATH": source, "DATA_DIR": str(tmp_path / "data")}
    migrate = [sys.executable, "-m", "app", "migrate"]
    applied = subprocess.check_output(migrate, cwd=tmp_path, env=variables, text=True)
    assert applied.strip().endswith(new.name.partition("_")[0])

    nameless = make("migration", checkout=checkout)
    assert nameless.returncode != 0
    assert 'error: name it: make migration NAME="' in nameless.stderr
