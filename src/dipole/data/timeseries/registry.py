"""The time series that dipole knows by name, and the one function that turns `--data` into series."""

import difflib
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from dipole.data.finding import existing_path, existing_root, leads_nowhere
from dipole.data.registry import DataSetInfo
from dipole.data.tables import table_suffix
from dipole.data.timeseries.arrays import load_npz_series, load_ts, read_npy, split_set
from dipole.data.timeseries.calendar import CALENDAR, calendar_features
from dipole.data.timeseries.csv_files import TimeTable, read_time_table
from dipole.data.timeseries.series_set import ForecastTask, SeriesData, SeriesSet
from dipole.data.timeseries.toy import TOY_LOAD, TOY_PATTERNS, toy_load, toy_patterns
from dipole.errors import InputError

# Steps of a month of 30 days, of which training has 12, validation 4 and test 4.
ETT = {"ETTh1": 720, "ETTh2": 720, "ETTm1": 2880, "ETTm2": 2880}
_AEON = "aeon:"
_ROWS = (
    DataSetInfo(TOY_PATTERNS, "generated patterns in noise, 64 steps", "120 + 120", 3, "built in"),
    DataSetInfo(TOY_LOAD, "generated hourly load, two columns, to forecast", "1500 steps", None, "built in"),
    *(
        DataSetInfo(
            name, f"transformer temperature, {every}, to forecast", f"{20 * month} steps", None, "files in --data-root"
        )
        for (name, month), every in zip(ETT.items(), ("hourly", "hourly", "15 min", "15 min"), strict=True)
    ),
)
TABLES = (".csv", ".tsv", ".jsonl", ".parquet")
_NAMES = [info.name for info in _ROWS]


def load_series(
    data: str,
    data_root: str | Path | None = None,
    *,
    target: str | None = None,
    covariates: bool = True,
    series: str | None = None,
    known: str | None = None,
    encoding: str = "utf-8",
) -> SeriesData:
    """Load time series.

    Args:
        data: a name that `available_series()` lists; `aeon:NAME`, a set that aeon ships; or a path: a .csv, .tsv,
            .jsonl or .parquet file, one row for each step (see `read_time_table`); a .npz file of series (see
            `load_npz_series`); a .npy file of series (N, T, C), or of one long series (T, C); a .ts file or its folder
            (see `load_ts`). A name goes before a file called alike.
        data_root: folder of the sets that are read from files; relative paths are also looked up there.
        target: of a long series: the column to forecast, from its own past alone; all of them if it is None.
        covariates: of a long series: put what the calendar says of each time before the columns.
        series: column of a table that names the series that a row is of, where it holds several of the same columns.
        known: of a long series: columns, with commas, whose values to come are known, such as `price,holiday`. They are
            not forecast; forecasts see them, of the steps to forecast too.
        encoding: of a table, e.g. `latin-1`.

    Returns:
        The series. A long one is cut into 60 % to train, 20 % to validate and 20 % to test, the ETT sets into 12, 4
        and 4 months.

    Raises:
        InputError: an unknown name, a missing path, a column that does not exist, or data that are not what they
            should be.

    Example:
        >>> load_series("toy-load").forecast.targets
        ('load', 'temperature')
    """
    root = existing_root(data_root)
    found: SeriesData | TimeTable
    if data == TOY_LOAD:
        name, found = TOY_LOAD, toy_load()
    elif data == TOY_PATTERNS:
        name, found = TOY_PATTERNS, SeriesData(*toy_patterns())
    elif data.startswith(_AEON):
        name, found = data, SeriesData(*load_ts(_aeon_folder(data.removeprefix(_AEON))))
    else:
        path = _path(data, root)
        name, found = path.stem, _read(path, encoding, series)
    if isinstance(found, TimeTable):
        return long_series(name, found, target, covariates, known_names(known))
    if known is not None:
        raise InputError(f"known={known} names columns of one long series: {name} holds many series.")
    if target is not None:
        raise InputError(f"target={target!r} chooses a column of one long series: {name} holds many series.")
    return found


def _read(path: Path, encoding: str, series: str | None) -> SeriesData | TimeTable:
    """Read whatever a path leads to: many series, or the table of a long one."""
    suffix = path.suffix.lower()
    if table_suffix(path) in TABLES:
        return read_time_table(path, encoding, series)
    if suffix == ".npz":
        return SeriesData(*load_npz_series(path))
    if suffix == ".ts" or path.is_dir():
        return SeriesData(*load_ts(path))
    if suffix == ".npy":
        array = read_npy(path)
        if array.ndim == 2 and array.dtype.kind in "fiub":
            return TimeTable(array.astype(np.float64), tuple(map(str, range(array.shape[1]))), None)
        return SeriesData(*split_set(path.stem, (array, None)))
    raise InputError(
        f"{path} is of a kind that dipole does not read as series: expected .csv, .tsv, "
        ".jsonl, .parquet, .npz, .npy or .ts."
    )


def long_series(
    name: str, table: TimeTable, target: str | None = None, covariates: bool = True, known: Sequence[str] = ()
) -> SeriesData:
    """Make a task of forecasting from a table.

    Args:
        name: of the data; decides the parts of the ETT sets.
        table: of values over time.
        target: see `load_series`.
        covariates: see `load_series`.
        known: see `load_series`.

    Raises:
        InputError: there is no such column, one is both known and to forecast, a known one has gaps,
            or the series is too short.
    """
    values, columns = table.values.astype(np.float32), table.columns
    for asked in (*known, *(() if target is None else (target,))):
        if asked not in columns:
            near = difflib.get_close_matches(asked, columns, 1)
            raise InputError(f"{name} has no column {asked!r}: choose from {', '.join(near or columns)}.")
    targets = [column for column in columns if column not in known] if target is None else [target]
    _check_known(name, table, known, targets)
    columns = (*known, *targets)
    values = values[..., [table.columns.index(column) for column in columns]]
    calendar: tuple[str, ...] = ()
    if covariates and table.times is not None:
        said = calendar_features(table.times)
        said = np.broadcast_to(said, (*values.shape[:-1], said.shape[1]))
        values = np.concatenate([said, values], axis=-1)
        calendar = CALENDAR
    x = torch.from_numpy(np.ascontiguousarray(values if values.ndim == 3 else values[None]))
    steps = x.shape[1]
    if name in ETT and steps >= 20 * ETT[name]:
        ends = [months * ETT[name] for months in (12, 16, 20)]
    else:
        ends = [int(0.6 * steps), int(0.8 * steps), steps]
    train_end, validation_end, test_end = ends
    before = len(calendar) + len(known)
    task = ForecastTask(
        x, (*calendar, *columns), before, train_end, validation_end, test_end, times=table.times, known=len(known)
    )
    train = SeriesSet(name, x[:, : task.train_end], task.columns, ids=table.series or (name,))
    return SeriesData(train, None, task, table.notes)


def known_names(known: str | None) -> list[str]:
    """Return the names of columns that are known ahead, which stand with commas between them.

    Example:
        >>> known_names("price, holiday")
        ['price', 'holiday']
    """
    return [] if known is None else [column.strip() for column in known.split(",")]


def _check_known(name: str, table: TimeTable, known: Sequence[str], targets: Sequence[str]) -> None:
    """Refuse known columns that are none, or that leave nothing to forecast."""
    if len(set(known)) < len(known):
        raise InputError(f"known={','.join(known)} names a column twice.")
    if not targets:
        raise InputError(f"all columns of {name} are known ahead: leave one to forecast out of --loading.known.")
    both = [column for column in known if column in targets]
    if both:
        raise InputError(
            f"column {both[0]!r} is to be forecast and known ahead: choose another one with --loading.known."
        )
    for column in known:
        gaps = int(np.isnan(table.values[..., table.columns.index(column)]).sum())
        if gaps:
            raise InputError(
                f"{name}: column {column!r} is known ahead, and {gaps} of its values are missing: fill them in, of the "
                "steps to forecast too."
            )


def available_series() -> list[DataSetInfo]:
    """List the time series that dipole knows, those that need no files first.

    Example:
        >>> [info.name for info in available_series()][:2]
        ['toy-patterns', 'toy-load']
    """
    return [
        *_ROWS,
        DataSetInfo(_AEON + "NAME", ", ".join(_aeon_names()) or "needs aeon", "", None, "shipped by aeon"),
        DataSetInfo("FILE.csv", "your table: one row for each step", "", None, "a path"),
        DataSetInfo("FILE.npz", "your series: x_train, y_train, x_test, y_test (N, T, C)", "", None, "a path"),
        DataSetInfo("FILE.npy", "your series (N, T, C), or one long series (T, C)", "", None, "a path"),
        DataSetInfo("NAME_TRAIN.ts", "your series, with NAME_TEST.ts beside it", "", None, "a path"),
    ]


def _path(data: str, root: Path | None) -> Path:
    """The file that a name or a path leads to."""
    if data in ETT:
        if root is None:
            raise InputError(f"{data} is read from a file: give --data-root, the folder that holds {data}.csv.")
        data = f"{data}.csv"
    path = existing_path(data, root, None if root is None else root / "ett")
    if path is None:
        raise leads_nowhere(data, "known set of series", [*_NAMES, f"{_AEON}NAME"])
    return path


def _aeon_data() -> Path | None:
    """The folder of the sets that aeon ships; it is not imported, which takes seconds."""
    found = importlib.util.find_spec("aeon")
    return None if found is None or found.origin is None else Path(found.origin).parent / "datasets" / "data"


def _aeon_names() -> list[str]:
    """Sets of which aeon ships a training and a test part."""
    folder = _aeon_data()
    return [] if folder is None else sorted(path.parent.name for path in folder.glob("*/*_TRAIN.ts") if _whole(path))


def _whole(train: Path) -> bool:
    """Whether a training part is that of its folder, with a test part beside it."""
    name = train.parent.name
    return train.stem == f"{name}_TRAIN" and train.with_name(f"{name}_TEST.ts").is_file()


def _aeon_folder(name: str) -> Path:
    """One file of a set that aeon ships."""
    folder = _aeon_data()
    if folder is None:
        raise InputError(f"{_AEON}{name} needs aeon: pip install 'dipole[timeseries]'.")
    if name not in _aeon_names():
        near = difflib.get_close_matches(name, _aeon_names(), 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise InputError(f"aeon ships no set {name!r}.{hint} It ships {', '.join(_aeon_names())}.")
    return folder / name / f"{name}_TRAIN.ts"
