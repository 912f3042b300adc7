"""Tables of any cells: Parquet, CSV, TSV and JSON lines, read as lists and written again."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dipole.data.multimodal.kinds import parsed
from dipole.data.multimodal.modality_set import unknown_column
from dipole.data.stored.finding import find_store, of_table
from dipole.data.tables import as_text, read_table, table_suffix
from dipole.data.text.line_file import LineFile
from dipole.errors import InputError
from dipole.files import atomic_write

EXTENSIONS = (".parquet", ".csv", ".tsv", ".jsonl")
SAVED = (".parquet", ".jsonl")
Cells = Sequence[Any]


def read_columns(path: Path, encoding: str = "utf-8") -> Mapping[str, Cells]:
    """Read the columns of a table; missing cells are None. Those of Parquet, Arrow and shards stay on disk.

    Raises:
        InputError: the file is missing, empty, broken or of another kind.
    """
    store = find_store(path)
    if store is not None:
        return store.cells()
    if not path.is_file():
        raise InputError(
            f"{path} is no file: expected a table, {', '.join(EXTENSIONS)}, or shards (Parquet, Arrow, .tar, LitData)."
        )
    table = read_table(path, encoding).whole()
    if table_suffix(path) == ".jsonl":
        return {name: table.cells(name) for name in table.columns}
    return of_table(path, table.columns).cells()


def read_records(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """Read the dictionaries of a file of JSON lines, with the numbers of their lines; empty lines are left out.

    Raises:
        InputError: the file cannot be read, or a line is no dictionary.
    """
    file = LineFile(path)
    records: list[tuple[int, dict[str, Any]]] = []
    for line in np.flatnonzero(file.has_text).tolist():
        try:
            record = json.loads(file.read(line))
        except ValueError as error:
            raise InputError(f"{path}, line {line + 1} is not valid JSON ({error}): put it right.") from error
        if not isinstance(record, dict):
            raise InputError(f"{path}, line {line + 1} is a {type(record).__name__}: expected a dictionary a line.")
        records.append((line + 1, record))
    return records


def write_columns(columns: Mapping[str, Cells], path: str | Path) -> None:
    """Write columns as Parquet or JSON lines.

    Raises:
        InputError: a column holds cells of several kinds, which Parquet cannot.
    """
    if Path(path).suffix.lower() == ".parquet":
        import pyarrow.parquet as pq

        try:
            table = pa.table({name: pa.array(cells) for name, cells in columns.items()})
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise InputError(f"{path}: {str(error).splitlines()[0]}. Choose a .jsonl file.") from error
        with atomic_write(path) as temporary:
            pq.write_table(table, temporary)
        return
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for cells in zip(*columns.values(), strict=True):
            row = {name: cell for name, cell in zip(columns, cells, strict=True) if cell is not None}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def texts_of(value: Any) -> list[str]:
    """Return the texts of a cell without the empty ones.

    Example:
        >>> texts_of('["one", ""]'), texts_of("two"), texts_of(None)
        (['one'], ['two'], [])
    """
    value = parsed(value)
    parts = value if isinstance(value, list) else [value]
    return [text for text in map(as_text, parts) if text]


def captions_of(columns: Mapping[str, Cells], column: str, name: str) -> list[list[str]]:
    """Return the texts of each cell of a column.

    Raises:
        InputError: there is no such column, or no text in it.
    """
    if column not in columns:
        raise unknown_column(name, column, list(columns))
    found = [texts_of(value) for value in columns[column]]
    if not any(found):
        raise InputError(f"{name}: column {column!r} holds no text.")
    return found
