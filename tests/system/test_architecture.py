"""Imports point downwards: a part never knows what stands on it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import dipole

LAYERS = (
    "cli",
    "claims",
    "runs",
    "report",
    "methods",
    "decoding",
    "evaluation",
    "diagnostics",
    "data",
    "views",
    "negatives",
    "nn",
    "losses",
    "ops",
)
BELOW_ALL = {"card", "discovery", "errors", "files"}
ROOT = Path(dipole.__file__).parent


def imported(path: Path) -> set[str]:
    """First names below `dipole` that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("dipole.") and name.count(".") > 0}
    return found


def rank(layer: str) -> int:
    return len(LAYERS) if layer in BELOW_ALL else LAYERS.index(layer)


@pytest.mark.parametrize("path", sorted(ROOT.glob("*/**/*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_downwards(path: Path) -> None:
    layer = path.relative_to(ROOT).parts[0]
    known = set(LAYERS) | BELOW_ALL
    upwards = {name for name in imported(path) & known if rank(name) < rank(layer)}
    assert not upwards, f"{layer} imports {', '.join(sorted(upwards))}, which stand above it"


def test_every_package_has_a_layer() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages <= set(LAYERS)


@pytest.mark.parametrize("name", sorted(BELOW_ALL))
def test_what_lies_below_all_imports_errors_alone(name: str) -> None:
    assert imported(ROOT / f"{name}.py") <= {"errors"}


def test_the_package_itself_imports_nothing_at_once() -> None:
    tree = ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8"))
    at_once = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [ast.unparse(node) for node in at_once] == ["from typing import TYPE_CHECKING, Any"]
    # What type checkers alone read is imported by nobody else.
    code = "import dipole, sys; print([name for name in sys.modules if name.split('.')[0] in ('dipole', 'torch')])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert shown == "['dipole']\n"
