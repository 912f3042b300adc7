"""What a file most likely is, by its columns and cells."""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dipole.data.tables import Table, read_table, table_suffix
from dipole.errors import InputError

LOOKED_AT = 500  # cells of a column, lines of a text
ROWS = 4096  # of a table, among which these cells are
NUMBER = re.compile(r"\s*[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?\s*")
TABLES = (".csv", ".tsv", ".jsonl", ".parquet")
SERIES, GRAPHS = (".ts", ".npy"), (".mat", ".gml", ".graphml")


def likely_kind(path: Path) -> str:
    """Return the kind of data that a file or folder most likely is, whatever may be wrong with it.

    A table with columns for a user and an item holds interactions; one with a source and a target, a graph; one with a
    time, or nothing but numbers, a series, also where some cells are no numbers; one with names of images or sounds,
    several modalities; any other, texts.

    Args:
        path: that exists.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "load.csv"
        >>> _ = path.write_text("date,load\\n2024-05-01,1\\n2024-05-02,oops\\n2024-05-03,2\\n")
        >>> likely_kind(path)
        'series'
    """
    suffix = table_suffix(path)
    if path.is_dir():
        return _folder(path)
    if suffix == ".inter":
        return "interactions"
    if suffix in GRAPHS:
        return "graph"
    if suffix in SERIES:
        return "series"
    if suffix == ".npz":
        return _arrays(path)
    if suffix in TABLES:
        return _table(path)
    return _lines(path) if suffix == ".txt" else "images"


def _folder(path: Path) -> str:
    """Folders of several files."""
    if any(found for pattern in ("ind.*.graph", "edges.*") for found in path.glob(pattern)):
        return "graph"
    heco = (path / "labels.npy").is_file() and any(path.glob("??.txt"))
    if heco or any(name.stem.count("-") == 1 for name in path.glob("*-*.csv")):
        return "heterograph"
    if any(path.glob("*_TRAIN.ts")):
        return "series"
    return "texts" if (path / "corpus.jsonl").is_file() else "images"


def _table(path: Path) -> str:
    """Tables with a header."""
    from dipole.data.graph.table_graph import END_NAMES
    from dipole.data.recommendation.files import NAMES
    from dipole.data.timeseries.csv_files import TIME_NAMES

    table = None
    for encoding in ("utf-8", "latin-1"):
        try:
            table = read_table(path, encoding, head=ROWS)
            break
        except InputError:
            continue
    if table is None:
        return "texts"
    names = {name.lower() for name in table.columns}
    if all(names & {name.lower() for name in NAMES[role]} for role in ("user", "item")):
        return "interactions"
    if any(set(ends) <= names for ends in END_NAMES):
        return "graph"
    shares = {name: _numbers(table, name) for name in table.columns if name.lower() not in TIME_NAMES}
    numeric = sum(share >= 0.5 for share in shares.values())
    timed = len(shares) < len(table.columns)
    if shares and (numeric == len(shares) or (timed and 2 * numeric > len(shares))):
        return "series"
    if len(shares) > 1 and numeric == len(shares) - 1 and any(table.dates(name) is not None for name in shares):
        return "series"
    return "modalities" if any(_files(table, name) for name in table.columns) else "texts"


def _cells(table: Table, name: str) -> Iterator[Any]:
    """The first cells of a column that are not empty."""
    found = 0
    for cell in table.cells(name):
        if cell is not None:
            yield cell
            found += 1
        if found == LOOKED_AT:
            return


def _numbers(table: Table, name: str) -> float:
    """The share of cells that are numbers, decimal commas included; 1 of an empty column."""
    cells = list(_cells(table, name))
    numbers = (not isinstance(cell, str) or NUMBER.fullmatch(cell) is not None for cell in cells)
    plain = (isinstance(cell, int | float | str) for cell in cells)
    return sum(a and b for a, b in zip(numbers, plain, strict=True)) / len(cells) if cells else 1.0


def _files(table: Table, name: str) -> bool:
    """Whether a column holds images or sounds."""
    from dipole.data.multimodal.kinds import infer_kind

    return infer_kind(list(_cells(table, name))) in ("image", "sound")


def _arrays(path: Path) -> str:
    """Arrays of NumPy, of which only the names and types are read."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.removesuffix(".npy") for name in archive.namelist()}
            if names & {"edge_index", "adj_data"}:
                return "graph"
            first = next((name for name in ("x_train", "X_train", "x", "X") if name in names), None)
            if first is None:
                return "images"
            with archive.open(f"{first}.npy") as file:
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                _, _, kind = read(file)
        return "series" if kind.kind == "f" else "images"
    except (OSError, ValueError, zipfile.BadZipFile):
        return "images"


def _lines(path: Path) -> str:
    """Lines of numbers are edges, below a comment as in SNAP's files, or users and items; all others are texts."""
    with path.open(encoding="utf-8", errors="replace") as file:
        lines = [line.split() for _, line in zip(range(LOOKED_AT), file, strict=False)]
    comments = any(line and line[0].startswith(("#", "%")) for line in lines)
    rows = [line for line in lines if line and not line[0].startswith(("#", "%"))]
    if rows and all(len(row) > 1 and all(part.isdigit() for part in row) for row in rows):
        return "graph" if comments else "interactions"
    return "texts"
