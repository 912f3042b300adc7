"""A package that is not installed is named, with the extra that brings it."""

import ast
import sys
import tomllib
from pathlib import Path

import pytest

from dipole.cli import main
from dipole.cli.missing import EXTRAS

ROOT = Path(__file__).parents[2]
# What the packages that dipole always needs bring with them, under the names of imports.
ALWAYS = {
    *("jaxtyping", "jinja2", "jsonargparse", "lightning", "markupsafe", "numpy", "plotly", "pyarrow", "rich"),
    *("safetensors", "scipy", "sklearn", "threadpoolctl", "torch", "yaml"),
}
SAID_WHERE_IMPORTED = {"nltk", "triton"}  # none of the extras brings them


def imported() -> set[str]:
    """The packages that the source imports anywhere."""
    found = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.split(".")[0])
    return found - {"dipole"} - sys.stdlib_module_names


def test_every_optional_package_has_its_extra() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert imported() - ALWAYS - SAID_WHERE_IMPORTED <= set(EXTRAS)
    assert set(EXTRAS.values()) <= set(extras)


def test_an_absent_package_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in [name for name in sys.modules if name == "PIL" or name.startswith("PIL.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Absent(), *sys.meta_path])
    picture = ROOT / "docs" / "images"
    assert main(["data", str(picture)]) == 2
    assert "PIL is not installed: pip install 'dipole[vision]'" in capsys.readouterr().err


class Absent:
    """Finds no Pillow, as where it is not installed."""

    def find_spec(self, name: str, *_: object) -> None:
        if name.split(".")[0] == "PIL":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
