"""Tutorials: notebooks without results in docs/tutorials, and what executing them gave in docs/tutorials/executed.

The site shows the texts of the first with the results of the second, so that it is built in seconds:

    python docs/notebooks.py             # execute all of them in full, and store their results
    python docs/notebooks.py photos      # some
    python docs/notebooks.py --check     # exit code 1 if a stored result is of other code
"""

import argparse
import base64
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat

FOLDER = Path(__file__).resolve().parent / "tutorials"
EXECUTED = FOLDER / "executed"
SIZE = "DIPOLE_TUTORIAL"  # `small` makes every notebook end within seconds; what it then shows means nothing
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def tutorials() -> dict[str, Path]:
    """The notebooks by name, in the order in which they are listed."""
    found = {path.stem: path for path in FOLDER.glob("*.ipynb")}
    order = ["photos", "sentences", "pairs", "graph", "series", "recommender", "language-model"]
    return dict(sorted(found.items(), key=lambda entry: (order.index(entry[0]), entry[0])))


def execute(path: Path, *, small: bool = False, seconds: int = 3600) -> Any:
    """Run a notebook from start to end in an empty folder, and return it with its results.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raised an error.
    """
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    settings = {"MATPLOTLIBRC": str(FOLDER / "matplotlibrc"), SIZE: "small" if small else "full"}
    with tempfile.TemporaryDirectory(prefix=f"dipole-{path.stem}-") as folder:
        place = {"metadata": {"path": folder}}
        client = NotebookClient(notebook, kernel_name="python3", timeout=seconds, resources=place)
        client.execute(env={**os.environ, **settings})
    return notebook


def codes(notebook: Any) -> list[str]:
    """What of a notebook is run."""
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def outdated(name: str, path: Path) -> bool:
    """Whether the stored results of a notebook are missing or those of other code."""
    stored = EXECUTED / f"{name}.ipynb"
    if not stored.is_file():
        return True
    return codes(nbformat.read(path, as_version=4)) != codes(nbformat.read(stored, as_version=4))


def store(name: str, notebook: Any) -> None:
    """Write results, without the times at which they were found and without warnings."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    notebook.metadata = {"kernelspec": notebook.metadata.kernelspec}
    EXECUTED.mkdir(exist_ok=True)
    nbformat.write(notebook, EXECUTED / f"{name}.ipynb")


def page(name: str, path: Path) -> tuple[str, dict[str, bytes]]:
    """The page of a tutorial in Markdown, and its pictures by file name."""
    source, stored = nbformat.read(path, as_version=4), EXECUTED / f"{name}.ipynb"
    results: list[Any] = []
    if stored.is_file():
        results = [cell.outputs for cell in nbformat.read(stored, as_version=4).cells if cell.cell_type == "code"]
    parts, pictures, place = [], {}, 0
    for cell in source.cells:
        if cell.cell_type != "code":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        for output in results[place] if place < len(results) else ():
            text, found = _shown(output, f"{name}-{len(pictures) + 1}.png", cell.source)
            parts.append(text)
            pictures |= found
        place += 1
    head, rest = parts[0], parts[1:]
    download = f"[This page as a notebook]({name}.ipynb){{ .notebook download }}"
    return "\n\n".join([head, download, *rest]) + "\n", pictures


def _shown(output: Mapping[str, Any], picture: str, code: str) -> tuple[str, dict[str, bytes]]:
    """One result of a cell in Markdown, and its picture if it is one."""
    if output["output_type"] == "stream":
        return _box(output["text"]), {}
    data = output.get("data", {})
    if "image/png" in data:
        # The last comment of the cell says what the picture shows.
        said = re.findall(r"^# (.*)$", code, re.MULTILINE)
        name = said[-1] if said else "plot"
        return f"![{name}]({picture}){{ .plot }}", {picture: base64.b64decode(data["image/png"])}
    return _box(data.get("text/plain", "")), {}


def _box(text: str) -> str:
    """A text that a cell wrote."""
    return f"```{{ .text .said }}\n{ESCAPES.sub('', text).strip()}\n```" if text.strip() else ""


def pages() -> dict[str, str | bytes]:
    """The pages of all tutorials with their pictures, by path below docs/."""
    found: dict[str, str | bytes] = {}
    for name, path in tutorials().items():
        text, pictures = page(name, path)
        found[f"tutorials/{name}.md"] = text
        found |= {f"tutorials/{file}": content for file, content in pictures.items()}
    return found


def titles() -> dict[str, str]:
    """The heading of each tutorial."""
    return {
        name: nbformat.read(path, as_version=4).cells[0].source.splitlines()[0].removeprefix("# ")
        for name, path in tutorials().items()
    }


def main() -> int:
    """Execute notebooks, or say which results are not current."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *tutorials()], help="all, if none is named")
    parser.add_argument("--small", action="store_true", help="only see whether they run: nothing is stored")
    parser.add_argument("--check", action="store_true", help="execute nothing")
    given = parser.parse_args()
    chosen = {name: path for name, path in tutorials().items() if name in given.names or not given.names}
    if given.check:
        old = [name for name, path in chosen.items() if outdated(name, path)]
        print("".join(f"{name}: run python docs/notebooks.py {name}\n" for name in old), end="", file=sys.stderr)
        return int(bool(old))
    for name, path in chosen.items():
        print(name, flush=True)
        notebook = execute(path, small=given.small)
        if not given.small:
            store(name, notebook)
    return 0


if __name__ == "__main__":
    sys.exit(main())
