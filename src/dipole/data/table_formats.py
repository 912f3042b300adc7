"""Files of tables, format by format: columns of cells as they stand."""

import codecs
import csv
import gzip
import io
import json
import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from dipole.errors import InputError

HEAD_BYTES = 2**25
Column = Any  # an Arrow column, or a list of cells from JSON


def read_columns(
    path: Path, suffix: str, encoding: str, broken: list[int], head: int | None
) -> tuple[list[str], list[Column]]:
    """Read the names and the columns of a file; `tables.read_table` says what for.

    Args:
        path: of the file.
        suffix: what it is.
        encoding: of text.
        broken: takes the numbers of the lines that have another number of fields.
        head: stop after about so many rows.
    """
    if suffix == ".jsonl":
        return _json_lines(path, encoding, head)
    table = _parquet(path, head) if suffix == ".parquet" else _delimited(path, suffix, encoding, broken, head)
    return list(table.column_names), list(table.columns)


def open_bytes(path: Path) -> Any:
    """Open a file as bytes, unpacked where its name ends in `.gz`."""
    return gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb")


def _parquet(path: Path, head: int | None) -> pa.Table:
    """The table; of a part, nothing but its first pages is read."""
    import pyarrow.parquet as pq

    if head is None or path.is_dir():
        return pq.read_table(path)
    with pq.ParquetFile(path, buffer_size=2**20) as file:
        groups = (file.metadata.row_group(number) for number in range(file.metadata.num_row_groups))
        size = sum(group.total_byte_size for group in groups)
        fitting = HEAD_BYTES * file.metadata.num_rows // max(1, size)  # cells may be pictures
        batches = file.iter_batches(batch_size=max(1, min(head, fitting)), use_threads=False)
        return pa.Table.from_batches(islice(batches, 1), file.schema_arrow)


def _delimited(path: Path, suffix: str, encoding: str, broken: list[int], head: int | None) -> pa.Table:
    """All cells as text."""
    quoted = suffix in (".csv", ".tsv")  # RecBole's files know no quotes
    with open_bytes(path) as file, io.TextIOWrapper(file, _python_encoding(encoding), newline="") as text:
        first = next((line for line in text if line.strip()), "")
    bare = re.sub(r"\"[^\"]*\"", "", first)
    delimiter = "\t" if suffix != ".csv" else max(",;\t", key=lambda mark: (bare.count(mark), mark == ","))

    def skip(row: Any) -> str:
        broken.append(row.number)
        return "skip"

    def read(names: Sequence[str]) -> pa.Table:
        broken.clear()
        options = {
            "read_options": pa.csv.ReadOptions(encoding="utf8" if _is_utf8(encoding) else encoding, use_threads=False),
            "parse_options": pa.csv.ParseOptions(
                delimiter=delimiter,
                quote_char='"' if quoted else False,
                newlines_in_values=quoted,
                invalid_row_handler=skip,
            ),
            "convert_options": pa.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""]
            ),
        }
        with open_bytes(path) as file:
            if head is None:
                return pa.csv.read_csv(file, **options)
            with pa.csv.open_csv(file, **options) as reader:
                batches: list[pa.RecordBatch] = []
                for batch in reader:
                    batches.append(batch)
                    if sum(map(len, batches)) >= head:
                        break
                return pa.Table.from_batches(batches, reader.schema)

    expected = next(
        csv.reader([first], delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE), []
    )
    table = read(expected)
    if set(table.column_names) - set(expected):  # the header goes over several lines
        table = read(table.column_names)
    if quoted and head is None:
        breaks = (pc.any(pc.match_substring_regex(column, "[\r\n]")).as_py() for column in table.columns)
        if any(breaks):
            _check_quotes(path, encoding, delimiter)
    return table


def _check_quotes(path: Path, encoding: str, delimiter: str) -> None:
    """Refuse a quote that nothing closes: all lines behind it would be one cell.

    Raises:
        InputError: there is one.
    """
    limit = csv.field_size_limit(2**31 - 1)
    start = 1
    try:
        with open_bytes(path) as file, io.TextIOWrapper(file, _python_encoding(encoding), newline="") as text:
            rows = csv.reader(text, delimiter=delimiter, strict=True)
            for _ in rows:
                start = rows.line_num + 1
    except csv.Error as error:
        raise InputError(
            f"{path}: a quotation mark opens in line {start} and is not closed where its cell ends ({error}). Close "
            'it, or write "" for each mark inside quoted text.'
        ) from error
    finally:
        csv.field_size_limit(limit)


def _json_lines(path: Path, encoding: str, head: int | None) -> tuple[list[str], list[Column]]:
    """Dictionaries, one a line; a key that a line lacks is missing there."""
    records: list[dict[str, Any]] = []
    with open_bytes(path) as file, io.TextIOWrapper(file, _python_encoding(encoding)) as text:
        for number, line in enumerate(islice(text, head), start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise InputError(f"{path}, line {number} is not valid JSON ({error}): put it right.") from error
            if not isinstance(record, dict):
                raise InputError(f"{path}, line {number} is a {type(record).__name__}: expected a dictionary a line.")
            records.append(record)
    names = list(dict.fromkeys(name for record in records for name in record))
    if not names:
        raise InputError(f"{path} holds no row.")
    return names, [[record.get(name) for record in records] for name in names]


def check_encoding(encoding: str) -> None:
    """Require an encoding that Python knows.

    Raises:
        InputError: it does not.
    """
    try:
        codecs.lookup(encoding)
    except LookupError as error:
        raise InputError(f"encoding is {encoding!r}, which Python does not know: try latin-1 or cp1252.") from error


def wrong_encoding(path: Path, encoding: str) -> InputError:
    """Return the error that names the first byte that is no text of an encoding."""
    decoder = codecs.getincrementaldecoder(encoding)()
    place, line, hint = 0, 1, "latin-1"
    with open_bytes(path) as file:
        for raw in file:
            if not place and raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                hint = "utf-16"
            try:
                decoder.decode(raw)
            except UnicodeDecodeError as error:
                found = f"byte 0x{raw[min(error.start, len(raw) - 1)]:02x} at {place + error.start} (line {line})"
                return InputError(f"{path} is not {encoding}: {found}. Say what it is, e.g. --loading.encoding {hint}.")
            place, line = place + len(raw), line + 1
    return InputError(f"{path} is not {encoding}. Say what it is, e.g. --loading.encoding latin-1.")


def _is_utf8(encoding: str) -> bool:
    return codecs.lookup(encoding).name in ("utf-8", "utf-8-sig")


def _python_encoding(encoding: str) -> str:
    return "utf-8-sig" if _is_utf8(encoding) else encoding
