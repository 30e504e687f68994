"""How the server is cut: files that can be read at once, and no circle among their imports."""

from __future__ import annotations

import ast
import graphlib
from pathlib import Path

from drydock import server

FOLDER = Path(server.__file__).parent
MODULES = {file.stem: file for file in FOLDER.glob("*.py")}


def imported(file: Path) -> set[str]:
    """The server's modules that a file imports, wherever: for types alone counts, too."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == server.__name__:
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            package, _, name = node.module.rpartition(".")
            found |= {name} if package == server.__name__ else set()
    return found


def test_no_module_of_the_server_imports_itself_by_way_of_others() -> None:
    imports = {name: imported(file) for name, file in MODULES.items()}
    assert imports["worker"] >= {"loop", "pool", "lifecycle"}
    assert set().union(*imports.values()) <= set(MODULES)
    order = list(graphlib.TopologicalSorter(imports).static_order())  # raises CycleError
    assert order[-1] == "worker"


def test_no_module_of_the_server_is_too_long() -> None:
    assert {
        name for name, file in MODULES.items() if len(file.read_text().splitlines()) > 310
    } == set()
