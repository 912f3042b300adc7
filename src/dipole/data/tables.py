"""Tables of every field: cells are text until the role of their column says what they are."""

import csv
import logging
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dipole.data.table_formats import Column, check_encoding, read_columns, wrong_encoding
from dipole.errors import InputError

logger = logging.getLogger(__name__)
EXTENSIONS = (".parquet", ".csv", ".tsv", ".jsonl", ".inter", ".item")
GAPS = ("", "na", "n/a", "nan", "null", "none")  # in a column of numbers, where they cannot be names
NAMELESS = re.compile(r"\s*|Unnamed: \d+(_level_\d+)?|__index_level_\d+__")
ZONE = r"(?:[zZ]|\d[+-]\d\d(?::?\d\d)?)$"


def table_suffix(path: str | Path) -> str:
    """Return the kind of a table's file: its suffix in lower case, without `.gz`.

    Example:
        >>> table_suffix("Ratings.CSV.gz")
        '.csv'
    """
    name = Path(path).name.lower()
    return Path(name.removesuffix(".gz")).suffix


def as_text(value: Any) -> str | None:
    """Return a cell as a string without white space around it; None if nothing is left, or NaN.

    Example:
        >>> as_text(" a "), as_text(3), as_text("  "), as_text(None)
        ('a', '3', None, None)
        >>> as_text(3.0), as_text(float("nan"))  # pandas turns integers beside empty cells into fractions
        ('3', None)
    """
    if isinstance(value, float):
        value = None if math.isnan(value) else int(value) if value.is_integer() else value
    return None if value is None else str(value).strip() or None


@dataclass(frozen=True)
class Table:
    """Columns of a file as they stand, read by role: `ids`, `times`, `numbers`.

    Attributes:
        path: of the file.
        columns: by name; text where the file is text, typed cells where it is Parquet or JSON.
        broken: numbers of the lines that were left out because they have another number of fields.
        rows: how many rows there are.
    """

    path: Path
    columns: dict[str, Column]
    broken: tuple[int, ...]
    rows: int

    def whole(self) -> "Table":
        """Return the table itself where no line may be lost.

        Raises:
            InputError: lines were left out.
        """
        if self.broken:
            shown = ", ".join(map(str, self.broken[:5])) + (" …" if len(self.broken) > 5 else "")
            raise InputError(
                f"cannot read {self.path} as a table: {len(self.broken)} lines have another number of fields than the "
                f"header (lines {shown}). Put them right."
            )
        return self

    def cells(self, name: str) -> list[Any]:
        """Return a column's cells; None where one is empty."""
        column = self.columns[name]
        found: list[Any] = column if isinstance(column, list) else column.to_pylist()
        return [None if cell == "" else cell for cell in found]

    def line(self, row: int) -> int:
        """Return the number of a row as an editor shows it: the header is line 1, rows of Parquet count from 1."""
        kind = table_suffix(self.path)
        if kind in (".parquet", ".jsonl"):
            return row + 1
        number = row + 2
        for broken in self.broken:
            number += broken <= number
        return number

    def ids(self, name: str) -> list[str | None]:
        """Return names as they stand, without white space around them; of integers in a typed file their text.

        None where nothing is left: `b` and ` b` are one name, as `a, b` is written for `a,b`.

        Raises:
            InputError: a cell is no name, such as a list.
        """
        return [self._id(name, row, cell) for row, cell in enumerate(self.cells(name))]

    def _id(self, name: str, row: int, cell: Any) -> str | None:
        if isinstance(cell, bytes):
            try:
                cell = cell.decode()
            except UnicodeDecodeError as error:
                raise InputError(f"{self.path}: column {name!r}, row {self.line(row)} is no UTF-8 text.") from error
        if isinstance(cell, (list, dict)):
            raise InputError(f"{self.path}: column {name!r}, row {self.line(row)} is a {type(cell).__name__}, no name.")
        return as_text(cell)

    def _array(self, name: str) -> Any:
        """A column as an Arrow array, text without white space around it, empty text as null."""
        column = self.columns[name]
        try:
            found = pa.chunked_array([pa.array(column)]) if isinstance(column, list) else column
        except pa.ArrowException as error:
            raise InputError(f"{self.path}: column {name!r} holds cells of several kinds ({error}).") from error
        if pa.types.is_dictionary(found.type):
            found = pc.cast(found, found.type.value_type)
        if pa.types.is_string(found.type) or pa.types.is_large_string(found.type):
            found = pc.utf8_trim_whitespace(found)
            found = pc.if_else(pc.equal(found, ""), pa.scalar(None, found.type), found)
        return found

    def dates(self, name: str) -> np.ndarray | None:
        """Return a column of dates (ISO 8601, to the nanosecond) as datetime64, NaT in gaps; None if it holds others.

        Times with a zone are converted to UTC.
        """
        column = self._array(name)
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            if column.null_count == len(column):
                return None
            zoned = (
                pc.any(pc.match_substring_regex(column, ZONE)).as_py()
                and pc.any(pc.match_substring(column, ":")).as_py()
            )
            column = _first_cast(column, [pa.timestamp(unit, "UTC" if zoned else None) for unit in ("ns", "us", "s")])
        if column is None or not (pa.types.is_timestamp(column.type) or pa.types.is_date(column.type)):
            return None
        if pa.types.is_date(column.type):
            column = pc.cast(column, pa.timestamp("s"))
        # UTC is what datetime64 means.
        return np.asarray(pc.cast(column, pa.timestamp(column.type.unit)).to_numpy())

    def times(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return numbers that sort as the times do, and which rows have one.

        Raises:
            InputError: the times are neither numbers nor dates.
        """
        dates = self.dates(name)
        if dates is not None:
            return dates.astype(np.int64), ~np.isnat(dates)
        column = self._array(name)
        valid = np.asarray(pc.is_valid(column).to_numpy())
        whole = _first_cast(column, [pa.int64()])
        if whole is not None and not pa.types.is_null(column.type):
            return np.asarray(pc.fill_null(whole, 0).to_numpy()), valid
        try:
            found = self.numbers(name)
        except InputError as error:
            reason = f"{self.path}: the times in {name!r} are neither numbers nor dates such as 2024-05-01 ({error})."
            raise InputError(reason) from error
        return np.nan_to_num(found), np.isfinite(found)

    def numbers(self, name: str) -> np.ndarray:
        """Return a column as float64 (rows,), NaN in gaps: empty cells, `NA`, `NaN`, `null`, `None`.

        Raises:
            InputError: a cell is no number, or infinite.
        """
        column = self._array(name)
        kind = column.type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            lower = pc.utf8_lower(column)
            gaps = pc.is_in(lower, value_set=pa.array(GAPS, kind))
            column = pc.if_else(gaps, pa.scalar(None, kind), column)
            column = pc.if_else(pc.equal(lower, "true"), "1", pc.if_else(pc.equal(lower, "false"), "0", column))
        elif pa.types.is_decimal(kind) or pa.types.is_integer(kind):
            column = pc.cast(column, pa.float64(), safe=False)  # rounds integers beyond 2⁵³
        elif not (pa.types.is_null(kind) or pa.types.is_boolean(kind) or pa.types.is_primitive(kind)) or (
            pa.types.is_temporal(kind)
        ):
            raise InputError(f"{self.path}: column {name!r} holds {kind}, not numbers: remove it or convert it.")
        numbers = _first_cast(column, [pa.float64()])
        if numbers is None:
            row, cell = next((row, cell) for row, cell in enumerate(column.to_pylist()) if not _is_number(cell))
            raise InputError(
                f"{self.path}: column {name!r} holds {cell!r} in row {self.line(row)}, not numbers: remove it or "
                "convert it."
            )
        found = np.asarray(numbers.to_numpy(), dtype=np.float64)
        if np.isinf(found).any():
            row = int(np.flatnonzero(np.isinf(found))[0])
            raise InputError(f"{self.path}: column {name!r} holds infinite values (row {self.line(row)}): empty them.")
        return found


def read_table(path: str | Path, encoding: str = "utf-8", *, head: int | None = None) -> Table:
    """Read CSV (`,`, `;` or tabs), TSV, JSON lines, Parquet or RecBole's files, also `.gz`, as they stand.

    Only an empty cell is missing. Columns without a name, as the index that pandas saves, are left out with a warning.
    Lines with another number of fields are left out; a warning counts and names them.

    Args:
        path: of the file; the suffix, in capitals or not, says what it is.
        encoding: of text, e.g. `latin-1`; a byte-order mark is allowed.
        head: stop after about so many rows (by pieces that are read at once), and keep silent about what is left out.

    Raises:
        InputError: the file is missing, empty, broken, of another kind or in another encoding.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "table.csv"
        >>> _ = path.write_text("user,time\\n007,2024-05-01\\nNA,\\n")
        >>> table = read_table(path)
        >>> table.ids("user"), table.times("time")[1].tolist()
        (['007', 'NA'], [True, False])
    """
    path = Path(path)
    suffix = table_suffix(path)
    if suffix not in EXTENSIONS:
        raise InputError(f"{path} is no table that dipole reads: expected {', '.join(EXTENSIONS)}.")
    if not path.exists():
        raise InputError(f"{path} does not exist. Check the path.")
    check_encoding(encoding)
    broken: list[int] = []
    try:
        names, columns = read_columns(path, suffix, encoding, broken, head)
    except UnicodeError as error:
        raise wrong_encoding(path, encoding) from error
    except (OSError, EOFError, pa.ArrowException, csv.Error) as error:
        if "UTF8" in str(error):
            raise wrong_encoding(path, encoding) from error
        text = " ".join(str(error).split())
        raise InputError(f"cannot read {path} as a table, {suffix[1:]} ({text}).") from error
    return _named(path, names, columns, broken, quiet=head is not None)


def _named(path: Path, names: list[str], columns: list[Column], broken: list[int], quiet: bool) -> Table:
    """The table without its nameless columns; what is left out is said."""
    names = [name.strip() for name in names]
    nameless = [repr(name) for name in names if NAMELESS.fullmatch(name)]
    if nameless and not quiet:
        logger.warning("%s: columns without a name are left out (%s), as an index.", path, ", ".join(nameless))
    if broken and not quiet:
        shown = ", ".join(map(str, broken[:5])) + (" …" if len(broken) > 5 else "")
        logger.warning("%s: %d lines with another number of fields are left out (lines %s).", path, len(broken), shown)
    kept = [(name, column) for name, column in zip(names, columns, strict=True) if not NAMELESS.fullmatch(name)]
    twice = [name for index, (name, _) in enumerate(kept) if name in [other for other, _ in kept[:index]]]
    if twice:
        raise InputError(
            f"{path}: the table has {twice[0]!r} twice, two columns of one name: name its columns differently."
        )
    if not kept:
        raise InputError(f"{path} has no column with a name.")
    rows = len(kept[0][1])
    table = Table(path, dict(kept), tuple(broken), rows)
    if not rows:
        raise InputError(f"{table.whole().path} holds no row: it has no rows below its header.")
    return table


def _first_cast(column: Any, kinds: list[Any]) -> Any | None:
    """The column as the first kind that it can be; None if there is none."""
    for kind in kinds:
        try:
            return pc.cast(column, kind)
        except pa.ArrowException:
            continue
    return None


def _is_number(cell: Any) -> bool:
    return _first_cast(pa.array([cell]), [pa.float64()]) is not None
