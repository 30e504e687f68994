"""Which package may import which: `app` stands on `drydock`, never the other way."""

from __future__ import annotations

import ast
import graphlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import drydock
from probe import service

ROOT = Path(drydock.__file__).parent
# Alembic's own entry, which runs when it is imported.
ENTRIES = {"drydock.migrations.env"}
# What a service without a database does without.
DATABASE = {"drydock.database", "drydock.outages"}
IMPORT = """
import importlib, json, sys
modules, blocked = json.loads(sys.argv[1])
sys.modules.update(dict.fromkeys(blocked))  # importing one of these fails
for name in modules:
    importlib.import_module(name)
print(*sys.modules)
"""


def name_of(file: Path) -> str:
    parts = ("drydock", *file.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts).removesuffix(".__init__")


FILES = {name_of(file): file for file in sorted(ROOT.rglob("*.py"))}


def imported(modules: list[str], blocked: list[str]) -> set[str]:
    """What a fresh interpreter has imported after `modules`."""
    command = [sys.executable, "-c", IMPORT, json.dumps([modules, blocked])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_drydock_does_without_app() -> None:
    modules = sorted(set(FILES) - ENTRIES - (set() if service.has_database else DATABASE))
    assert set(modules) <= imported(modules, ["app"])


def test_the_server_does_without_flask_and_the_database() -> None:
    modules = [name for name in FILES if name.startswith("drydock.server")]
    assert len(modules) > 10
    blocked = ["app", "flask", "werkzeug", "flask_smorest", "sqlalchemy", "alembic", "psycopg"]
    assert set(modules) <= imported(modules, blocked)


@pytest.mark.parametrize(
    "module", ["drydock", "probe", "probe.cli", "drydock.cli", "drydock.service"]
)
def test_what_a_command_imports_costs_little(module: str) -> None:
    heavy = {"flask", "sqlalchemy", "marshmallow", "gunicorn", "prometheus_client"}
    assert not heavy & imported([module], [])


def test_without_tracing_nothing_of_it_is_imported() -> None:
    """Not even where the packages are there, as they are here."""
    everything = imported(
        ["probe.hello", "probe.notes", "drydock.factory", "drydock.background"], []
    )
    assert "flask" in everything
    assert not {name for name in everything if name.split(".")[0] in ("opentelemetry", "requests")}


def test_the_problem_document_needs_nothing() -> None:
    assert not {"flask", "werkzeug", "marshmallow"} & imported(["drydock.problems"], [])


def imports(file: Path) -> set[str]:
    """The modules of drydock that a file imports: in functions, and for types alone, too."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            # A name may be a module, or something in one.
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (inner & set(FILES)) or {node.module}
    return found & (set(FILES) - {"drydock"})


def test_no_imports_go_in_a_circle() -> None:
    graph = {name: imports(file) for name, file in FILES.items()}
    assert {"drydock.context", "drydock.logs"} <= set().union(*graph.values())
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" imports ".join(error.args[1]))


def test_no_module_of_the_server_is_too_long_to_read_at_once() -> None:
    server = {name: file for name, file in FILES.items() if name.startswith("drydock.server")}
    assert not [name for name, file in server.items() if len(file.read_text().splitlines()) > 310]
