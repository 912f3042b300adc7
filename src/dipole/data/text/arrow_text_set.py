"""Tables of text: CSV, TSV and Parquet files of any size."""

import csv
import io
import logging
import os
import tempfile
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from dipole.data.table_formats import open_bytes
from dipole.data.tables import NAMELESS, table_suffix
from dipole.data.text.line_file import NOT_UTF8, check_text_file, decode, remove_own
from dipole.data.text.line_text_set import EMPTY
from dipole.data.text.text_set import LineNote, Record, TextSet, missing_column
from dipole.errors import InputError

logger = logging.getLogger(__name__)
_ROWS = 4096
# Arrow reads 32 blocks ahead: 128 MiB, whatever the size of the file.
_BLOCK = 2**22
Note = Callable[[str, int], None]


class ArrowTextSet(TextSet):
    """A CSV, TSV or Parquet file with named columns.

    The file is streamed once into an uncompressed Arrow file in the system's folder for temporary files, which is
    mapped into memory: any row is found at once, the memory in use does not grow with the file, and workers share it.
    The temporary file needs about as much space as the texts and goes away with the set (set `TMPDIR` for another
    place).

    A CSV file (`,`, `;` or tabs) follows RFC 4180: the first row names the columns, quoted cells may hold commas and
    line feeds. In a TSV file a quote is a letter like any other. Text files may be compressed (`.gz`). Columns without
    a name, as the index that pandas saves, are left out with a warning. All cells are strings: numbers are not guessed
    at. Cells that are not UTF-8 are read as Windows-1252 and counted. A row may have 4 MiB. Rows whose main text is
    empty are left out and counted.

    Args:
        path: a file whose name ends in .csv, .tsv (also with .gz) or .parquet, in capitals or not.
        column: the main text, which becomes the entry `"text"` of the records; by default `"text"`, or the only
            column. Without a main text, records are handed on as they are.
        name: of the set; by default that of the file.

    Raises:
        InputError: the file is missing, empty, broken or of another kind, a row has another number of cells than the
            first, the column does not exist or holds no strings, or no row holds text.

    Example:
        >>> path = Path(tempfile.mkdtemp()) / "texts.csv"
        >>> _ = path.write_text('id,body\\n1,"One, two."\\n')
        >>> ArrowTextSet(path, column="body")[0]
        {'id': '1', 'body': 'One, two.', 'text': 'One, two.'}
    """

    def __init__(self, path: str | Path, column: str | None = None, name: str | None = None) -> None:
        path = Path(path)
        name = name or path.name
        notes: dict[str, LineNote] = {}
        schema, batches = _open(path, partial(_add_note, notes))
        self._column = column or ("text" if "text" in schema.names else schema.names[0] if len(schema) == 1 else None)
        if self._column is not None:
            if self._column not in schema.names:
                raise missing_column(name, self._column, schema.names)
            _check_strings(name, schema.field(self._column))
        self._table = _MappedTable()
        has_text = self._table.write(schema, batches, self._column)
        rows = np.flatnonzero(has_text)
        if not len(rows):
            raise InputError(f"{path} has {len(has_text)} rows and no text: columns {', '.join(schema.names)}.")
        columns = schema.names if self._column is None else dict.fromkeys([*schema.names, "text"])
        empty = len(has_text) - len(rows)
        skipped = [LineNote(EMPTY, empty, int(has_text.argmin()) + 1)] if empty else []
        super().__init__(name, tuple(columns), rows, skipped, tuple(notes.values()))

    def _read(self, row: int) -> Record:
        record = self._table.read(row)
        return record if self._column is None else {**record, "text": record[self._column]}


class _MappedTable:
    """An Arrow file in the folder for temporary files, mapped into memory."""

    def __init__(self) -> None:
        handle, name = tempfile.mkstemp(prefix="dipole-", suffix=".arrow")
        os.close(handle)
        self._path = name
        self._batches: list[pa.RecordBatch] | None = None
        self._starts = np.zeros(1, np.int64)
        weakref.finalize(self, remove_own, name, os.getpid())

    def write(self, schema: pa.Schema, batches: Iterator[pa.RecordBatch], column: str | None) -> np.ndarray:
        """Write all batches; return which rows hold text in `column`."""
        has_text = [np.zeros(0, bool)]
        with pa.OSFile(self._path, "wb") as file, pa.ipc.new_file(file, schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
                has_text.append(np.ones(len(batch), bool) if column is None else _has_text(batch[column]))
        self._starts = np.cumsum([len(rows) for rows in has_text])
        return np.concatenate(has_text)

    def read(self, row: int) -> dict[str, Any]:
        """Return a row as a dictionary."""
        if self._batches is None:
            reader = pa.ipc.open_file(pa.memory_map(self._path))
            self._batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
        batch = int(np.searchsorted(self._starts, row, side="right")) - 1
        (record,) = self._batches[batch].slice(row - int(self._starts[batch]), 1).to_pylist()
        return record

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_batches": None}


def _has_text(column: pa.Array) -> np.ndarray:
    """Which cells hold more than white space."""
    filled = pc.not_equal(pc.utf8_trim_whitespace(column), "")
    return pc.fill_null(filled, False).to_numpy(zero_copy_only=False)


def _add_note(notes: dict[str, LineNote], reason: str, row: int) -> None:
    """Count a row, given from 0, under a reason."""
    before = notes.get(reason)
    notes[reason] = LineNote(reason, 1, row + 1) if before is None else LineNote(reason, before.count + 1, before.first)


def _check_strings(name: str, field: pa.Field) -> None:
    """Refuse a main text that is no text."""
    if not (pa.types.is_string(field.type) or pa.types.is_large_string(field.type)):
        raise InputError(f"{name}: column {field.name!r} holds {field.type}, expected strings: choose with --column.")


def _open(path: Path, note: Note) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """The columns of a file and its rows in batches."""
    kind = table_suffix(path)
    if kind == ".parquet":
        return _open_parquet(path)
    if kind in (".csv", ".tsv"):
        return _open_delimited(path, note)
    raise InputError(f"{path} is no table that dipole reads: expected .csv, .tsv or .parquet.")


def _open_parquet(path: Path) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Stream a Parquet file."""
    if path.is_dir():
        raise InputError(f"{path} is a folder: give a file of texts.")
    try:
        # With a buffer, a row group is read page by page and not at once.
        file = pa.parquet.ParquetFile(path, buffer_size=2**20)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"cannot read {path} as Parquet ({_reason(error)}).") from error
    # Dictionaries may differ from batch to batch, which an Arrow file does not allow.
    fields = [
        field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field
        for field in file.schema_arrow
        if field.name in _with_name(path, file.schema_arrow.names)
    ]
    schema = pa.schema(fields)

    def batches() -> Iterator[pa.RecordBatch]:
        with file:
            for batch in file.iter_batches(batch_size=_ROWS):
                yield batch.select(schema.names).cast(schema)

    return schema, batches()


def _open_delimited(path: Path, note: Note) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Stream a CSV or TSV file, all columns as text."""
    packed = path.name.lower().endswith(".gz")
    if not packed:
        check_text_file(path)
    comma = table_suffix(path) == ".csv"
    names, delimiter = _header(path, comma)
    kept = _with_name(path, names)
    options = {
        "read_options": pa.csv.ReadOptions(
            block_size=_BLOCK, use_threads=False, column_names=names, skip_rows_after_names=1
        ),
        "parse_options": pa.csv.ParseOptions(
            delimiter=delimiter,
            quote_char='"' if comma else False,
            newlines_in_values=comma,
            # In a file of one column an empty line is an empty text, to be counted; elsewhere it is no row.
            ignore_empty_lines=len(names) > 1,
        ),
        "convert_options": pa.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.binary()), strings_can_be_null=False, include_columns=kept
        ),
    }
    schema = pa.schema([pa.field(name, pa.string()) for name in kept])

    def batches() -> Iterator[pa.RecordBatch]:
        row, last = 0, ""
        try:
            with open_bytes(path) as file, pa.csv.open_csv(file, **options) as reader:
                for raw in reader:
                    batch = pa.record_batch([_decoded(column, row, note) for column in raw.columns], schema)
                    row += len(batch)
                    last = str(batch.column(len(kept) - 1)[-1]) if len(batch) else last
                    yield batch
        except (OSError, EOFError, pa.ArrowInvalid) as error:
            raise InputError(f"cannot read {path}: {_reason(error)}.") from error
        if comma and "\n" in last and _has_odd_quotes(path):
            raise InputError(f"{path}: a quote that is opened in row {row} is never closed.")

    return schema, batches()


def _with_name(path: Path, names: list[str]) -> list[str]:
    """The columns that have a name; the others are left out, and that is said."""
    nameless = [repr(name) for name in names if NAMELESS.fullmatch(name)]
    if nameless and len(nameless) < len(names):
        logger.warning("%s: columns without a name are left out (%s), as an index.", path, ", ".join(nameless))
        return [name for name in names if not NAMELESS.fullmatch(name)]
    return names


def _header(path: Path, comma: bool) -> tuple[list[str], str]:
    """The names in the first row, and what stands between cells."""
    try:
        with open_bytes(path) as raw, io.TextIOWrapper(raw, "utf-8-sig", errors="replace", newline="") as file:
            first = file.readline()
            delimiter = max(",;\t", key=lambda mark: (first.count(mark), mark == ",")) if comma else "\t"
            file.seek(0)
            names = next(csv.reader(file, delimiter=delimiter), []) if comma else first.rstrip("\r\n").split("\t")
    except (OSError, EOFError, csv.Error) as error:
        raise InputError(f"cannot read the first row of {path}, which names the columns: {error}.") from error
    repeated = sorted({name for name in names if names.count(name) > 1})
    if not any(names) or repeated:
        raise InputError(
            f"the first row of {path} names the columns, each differently; it is {', '.join(map(repr, names))[:200]}."
        )
    return names, delimiter


def _has_odd_quotes(path: Path) -> bool:
    """Whether a quote has no partner."""
    quotes = 0
    with open_bytes(path) as file:
        while piece := file.read(_BLOCK):
            quotes += piece.count(b'"')
    return quotes % 2 == 1


def _decoded(column: pa.Array, row: int, note: Note) -> pa.Array:
    """Bytes as text; cells that are not UTF-8 are noted."""
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid:
        cells = [decode(raw) for raw in column.to_pylist()]
        for position, (_, valid) in enumerate(cells):
            if not valid:
                note(NOT_UTF8, row + position)
        return pa.array([text for text, _ in cells], pa.string())


def _reason(error: Exception) -> str:
    """What Arrow says, on one line and without its advice to programmers."""
    if "straddl" in str(error):
        return f"a row is longer than {_BLOCK >> 20} MiB, or a quote is never closed"
    return str(error).splitlines()[0].rstrip(".")[:300]
