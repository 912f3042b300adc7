"""Tutorials run from start to end, and the site shows what they gave."""

import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="pip install 'dipole[tutorials]'")

import notebooks  # noqa: E402

NAMES = list(notebooks.tutorials())
SEVEN = {"photos", "sentences", "pairs", "graph", "series", "recommender", "language-model"}


def test_every_field_has_its_tutorial() -> None:
    assert set(NAMES) == SEVEN


@pytest.mark.parametrize("name", NAMES)
def test_sources_hold_no_results_and_results_are_those_of_the_sources(name: str) -> None:
    path = notebooks.tutorials()[name]
    cells = nbformat.read(path, as_version=4).cells
    assert not [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")]
    assert not notebooks.outdated(name, path), f"run python docs/notebooks.py {name}"


@pytest.mark.parametrize("name", NAMES)
def test_pages_show_code_results_and_plots(name: str) -> None:
    path = notebooks.tutorials()[name]
    text, pictures = notebooks.page(name, path)
    assert text.startswith("# ")
    assert text.count("```python") == len(notebooks.codes(nbformat.read(path, as_version=4)))
    assert len(pictures) >= 2
    assert all(content.startswith(b"\x89PNG") and len(content) < 250_000 for content in pictures.values())
    shown = re.findall(r"!\[(.+?)\]\((.+?)\)", text)
    assert [picture for _, picture in shown] == list(pictures)
    assert all(said != "plot" for said, _ in shown), "the last comment of a cell says what its picture shows"
    assert "Traceback" not in text
    assert str(Path.home()) not in text


def test_changed_code_makes_results_outdated(tmp_path: Path) -> None:
    notebook = nbformat.read(notebooks.tutorials()["series"], as_version=4)
    changed = tmp_path / "series.ipynb"
    notebook.cells[0].source += " More words."
    nbformat.write(notebook, changed)
    assert not notebooks.outdated("series", changed)
    next(cell for cell in notebook.cells if cell.cell_type == "code").source += "\nprint(1)"
    nbformat.write(notebook, changed)
    assert notebooks.outdated("series", changed)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_tutorials_run_from_start_to_end(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ipykernel", reason="pip install 'dipole[tutorials]'")
    if name == "language-model":  # SmolLM2 is no dependency
        from decoding.folder import write_model

        monkeypatch.setenv("DIPOLE_TUTORIAL_MODEL", str(write_model(tmp_path / "tiny")))
    monkeypatch.setenv("PYTHONPATH", str(Path(notebooks.__file__).parents[1] / "src"))
    done = notebooks.execute(notebooks.tutorials()[name], small=True, seconds=240)
    assert all(cell.execution_count for cell in done.cells if cell.cell_type == "code")
    pictures = [out for cell in done.cells for out in cell.get("outputs", ()) if "image/png" in out.get("data", {})]
    assert len(pictures) >= 2
