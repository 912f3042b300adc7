"""Tables of measurements over time."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from dipole.errors import InputError

TIME_NAMES = ("date", "time", "timestamp", "datetime", "ds")


@dataclass(frozen=True)
class TimeTable:
    """Columns of numbers over time.

    Args:
        values: (T, C) float64, NaN where a cell is empty.
        columns: C names.
        times: (T,) datetime64 in increasing order, or None.
        notes: what had to be put right.
    """

    values: np.ndarray
    columns: tuple[str, ...]
    times: np.ndarray | None
    notes: tuple[str, ...] = ()


def read_time_table(path: str | Path) -> TimeTable:
    """Read a CSV file of numbers, one row for each step.

    The time is the column named `date`, `time`, `timestamp`, `datetime` or `ds`, or else the first one that holds
    dates. Rows are sorted by it. Without a time column, rows are taken in their order. Empty cells and `NaN` are gaps.
    Steps are taken as equally long, whatever the times say.

    Raises:
        InputError: the file is missing, empty or broken, a column holds no numbers, a time is missing or not a date,
            two rows are of the same time, or a value is infinite.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "table.csv"
        >>> _ = path.write_text("date,load\\n2020-01-02,2\\n2020-01-01,1\\n")
        >>> table = read_time_table(path)
        >>> table.values.tolist(), table.notes
        ([[1.0], [2.0]], ('rows were not in the order of time: sorted',))
    """
    path = Path(path)
    try:
        table = pa.csv.read_csv(path)
        names = [name.strip() for name in table.column_names]
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist. Check the path.") from error
    except (OSError, pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path} as CSV: {str(error).splitlines()[0]}") from error
    if table.num_rows == 0:
        raise InputError(f"{path} has no rows below its header.")
    if len(set(names)) < len(names):
        raise InputError(f"{path} has two columns of one name: rename one of them.")
    table = table.rename_columns(names)
    time = _time_column(table)
    times = None if time is None else _times(table[time], time, path)
    columns = [name for name in names if name != time]
    if not columns:
        raise InputError(f"{path} has a time column and nothing else: expected columns of numbers.")
    values = np.stack([_numbers(table[name], name, path) for name in columns], axis=1)
    notes: tuple[str, ...] = ()
    if times is not None:
        order = np.argsort(times, kind="stable")
        if (order[1:] < order[:-1]).any():
            notes = ("rows were not in the order of time: sorted",)
        values, times = values[order], times[order]
        twice = np.flatnonzero(times[1:] == times[:-1])
        if len(twice):
            raise InputError(f"{path} has two rows of the time {times[twice[0]]}: keep one row for each time.")
    return TimeTable(values, tuple(columns), times, notes)


def _time_column(table: pa.Table) -> str | None:
    """The column that says when."""
    named = [name for name in table.column_names if name.lower() in TIME_NAMES]
    dated = [field.name for field in table.schema if pa.types.is_temporal(field.type)]
    return next(iter([*named, *dated]), None)


def _times(column: Any, name: str, path: Path) -> np.ndarray | None:
    """The time column as datetime64; integers only order the rows, without a calendar."""
    if column.null_count:
        raise InputError(f"{path}: column {name!r} has {column.null_count} empty cells: every row needs a time.")
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        times: np.ndarray = pc.cast(column, pa.timestamp("s"), safe=False).to_numpy()
        return times
    raise InputError(
        f"{path}: column {name!r} holds {kind}, not dates such as 2016-07-01 05:00:00. Convert it, or rename it if it "
        "is no time."
    )


def _numbers(column: Any, name: str, path: Path) -> np.ndarray:
    """A column as float64 with NaN in gaps."""
    kind = column.type
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        raise InputError(f"{path}: column {name!r} holds {kind}, not numbers: remove it or convert it.")
    numbers = np.asarray(pc.cast(column, pa.float64()).to_numpy(), dtype=np.float64)
    if np.isinf(numbers).any():
        raise InputError(f"{path}: column {name!r} holds infinite values: leave such cells empty.")
    return numbers
