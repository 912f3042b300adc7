"""Tables of measurements over time."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dipole.data.tables import Table, read_table
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


def read_time_table(path: str | Path, encoding: str = "utf-8") -> TimeTable:
    """Read a table of numbers (see `dipole.data.tables`), one row for each step.

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
    table = read_table(path, encoding).whole()
    time = _time_column(table)
    times = None if time is None else _times(table, time)
    columns = [name for name in table.columns if name != time]
    if not columns:
        raise InputError(f"{path} has a time column and nothing else: expected columns of numbers.")
    values = np.stack([table.numbers(name) for name in columns], axis=1)
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


def _time_column(table: Table) -> str | None:
    """The column that says when."""
    named = next((name for name in table.columns if name.lower() in TIME_NAMES), None)
    return named or next((name for name in table.columns if table.dates(name) is not None), None)


def _times(table: Table, name: str) -> np.ndarray:
    """The time column as datetime64."""
    empty = sum(cell is None for cell in table.cells(name))
    if empty:
        raise InputError(f"{table.path}: column {name!r} has {empty} empty cells: every row needs a time.")
    dates = table.dates(name)
    if dates is None:
        raise InputError(
            f"{table.path}: column {name!r} holds {table.cells(name)[0]!r}, not dates such as 2016-07-01 05:00:00. "
            "Convert it, or rename it if it is no time."
        )
    return dates
