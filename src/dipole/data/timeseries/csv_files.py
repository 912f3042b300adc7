"""Tables of measurements over time."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dipole.data.tables import Table, read_table
from dipole.errors import InputError

DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
TIME_NAMES = ("date", "time", "timestamp", "datetime", "ds")


@dataclass(frozen=True)
class TimeTable:
    """Columns of numbers over time.

    Args:
        values: (T, C) float64, NaN where a cell is empty; (N, T, C) of several series.
        columns: C names.
        times: (T,) datetime64 in increasing order, or None.
        notes: what had to be put right.
        series: names of several series.
    """

    values: np.ndarray
    columns: tuple[str, ...]
    times: np.ndarray | None
    notes: tuple[str, ...] = ()
    series: tuple[str, ...] = ()


def read_time_table(path: str | Path, encoding: str = "utf-8", series: str | None = None) -> TimeTable:
    """Read a table of numbers (see `dipole.data.tables`), one row for each step.

    The time is the column named `date`, `time`, `timestamp`, `datetime` or `ds`, or else the first one that holds
    dates. Rows are sorted by it. Without a time column, rows are taken in their order. Empty cells and `NaN` are gaps.
    Steps are taken as equally long, whatever the times say.

    Args:
        path: of the file.
        encoding: of text.
        series: column that names the series that a row is of: each has a row for each of its times. A time that a
            series lacks is a gap.

    Raises:
        InputError: the file is missing, empty or broken, a column holds no numbers, a time is missing or not a date,
            two rows of a series are of the same time, or a value is infinite.

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
    if series is not None and series not in table.columns:
        raise InputError(f"{path} has no column {series!r}: choose from {', '.join(table.columns)}.")
    columns = [name for name in table.columns if name not in (time, series)]
    if not columns:
        raise InputError(f"{path} has a time column and nothing else: expected columns of numbers.")
    values = np.stack([_numbers(table, name) for name in columns], axis=1)
    if series is not None:
        return _panel(table, series, values, columns, times)
    notes: tuple[str, ...] = ()
    if times is not None:
        order = np.argsort(times, kind="stable")
        if (order[1:] < order[:-1]).any():
            notes = ("rows were not in the order of time: sorted",)
        values, times = values[order], times[order]
        twice = np.flatnonzero(times[1:] == times[:-1])
        if len(twice):
            raise InputError(f"{path} has two rows of the time {times[twice[0]]}: keep one row for each time.")
        notes += _uneven(times)
    return TimeTable(values, tuple(columns), times, notes)


def _uneven(times: np.ndarray) -> tuple[str, ...]:
    """What to say of steps that are longer than usual; months and years are not."""
    steps = np.diff(times)
    usual = np.median(steps.astype(np.int64)).astype(steps.dtype) if len(steps) else None
    longer = 0 if usual is None else int((steps > usual * 3 // 2).sum())
    return (
        (f"{longer} steps are longer than usual, as if rows were missing: all are taken as equally long",)
        if longer
        else ()
    )


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


def _numbers(table: Table, name: str) -> np.ndarray:
    """A column of numbers; of others it is said what they may be."""
    try:
        return table.numbers(name)
    except InputError as error:
        cells = [cell for cell in table.cells(name) if isinstance(cell, str)]
        if sum(DECIMAL_COMMA.fullmatch(cell.strip()) is not None for cell in cells) * 2 > len(cells):
            raise InputError(f"{error} They look like numbers with decimal commas: write points instead.") from error
        if len(set(cells)) * 2 < len(cells):
            hint = f" If the column names the series that a row is of, say so with --loading.series {name}."
            raise InputError(f"{error}{hint}") from error
        raise


def _panel(table: Table, series: str, values: np.ndarray, columns: list[str], times: np.ndarray | None) -> TimeTable:
    """Several series (N, T, C) over the times of all of them."""
    names = table.ids(series)
    if None in names:
        raise InputError(f"{table.path}: column {series!r} has an empty place: every row names its series.")
    known = list(dict.fromkeys(map(str, names)))
    place = {name: row for row, name in enumerate(known)}
    rows = np.array([place[str(name)] for name in names])
    if times is None:
        moments, when = None, np.zeros(len(rows), dtype=np.int64)
        for row in range(len(known)):
            when[rows == row] = np.arange(int((rows == row).sum()))
    else:
        moments, when = np.unique(times, return_inverse=True)
    codes = rows * (int(when.max()) + 1) + when
    if len(np.unique(codes)) < len(codes):
        twice = int(np.flatnonzero(np.bincount(codes) > 1)[0])
        name, step = known[twice // (int(when.max()) + 1)], twice % (int(when.max()) + 1)
        at = step if moments is None else moments[step]
        raise InputError(f"{table.path} has two rows of the time {at} in {name!r}: keep one row for each time.")
    found = np.full((len(known), int(when.max()) + 1, len(columns)), np.nan)
    found[rows, when] = values
    gaps = found.shape[0] * found.shape[1] - len(codes)
    notes = (f"{gaps} times of a series have no row: gaps",) if gaps else ()
    return TimeTable(found, tuple(columns), moments, notes, tuple(known))
