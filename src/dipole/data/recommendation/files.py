"""Files of interactions: tables with named columns, and lists of a user's items."""

import difflib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from dipole.data.recommendation.interactions import Interactions, interactions_of
from dipole.errors import InputError

# What the columns are called in the files that are passed around.
NAMES = {
    "user": ("user_id", "user", "userid", "uid", "reviewerID"),
    "item": ("item_id", "item", "itemid", "iid", "asin", "movie_id"),
    "time": ("timestamp", "time", "datetime", "date", "unixReviewTime"),
}
TITLES = ("title", "movie_title", "name")


def read_lists(path: Path) -> Interactions:
    """Read a text file with users and their items in the order of time.

    A line holds a user and one item or more, with white space between: `user item item …`, a user on one line or on
    several. SASRec's files (`user item` a line) are of this form.

    Raises:
        InputError: the file cannot be read, or no line holds an item.
    """
    users, items = [], []
    short = 0
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                user, *used = line.split() or [""]
                short += not used
                users += [user] * len(used)
                items += used
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as text ({error}).") from error
    if not users:
        raise InputError(f"{path} holds no interaction: expected lines of a user and items, 'user item item …'.")
    found = interactions_of(users, items, name=path.stem)
    return _noted(found, f"{short} lines without an item" if short else None)


def read_table(
    path: Path, *, user: str | None = None, item: str | None = None, time: str | None = None
) -> Interactions:
    """Read a table: .inter (RecBole), .csv, .tsv, .jsonl or .parquet.

    Rows without a user, an item or a time are left out and counted, and so are lines with another number of fields.

    Args:
        path: of the file.
        user: name of the column; the usual names are tried if it is None.
        item: likewise.
        time: likewise: numbers, dates, or text that holds such; without such a column, the rows are in the order of
            time.

    Raises:
        InputError: the file cannot be read, a column is missing, or no row is whole.
    """
    table, broken = _read(path)
    names = [name.partition(":")[0] for name in table.column_names]  # RecBole: name:type
    columns = {"user": user, "item": item, "time": time}
    places = {kind: _column(path, names, kind, wanted) for kind, wanted in columns.items()}
    assert places["user"] is not None
    assert places["item"] is not None
    users, items = (pc.cast(table.column(places[kind]), pa.string()) for kind in ("user", "item"))
    times = None if places["time"] is None else _numbers(path, table.column(places["time"]))
    whole = pc.and_(pc.is_valid(users), pc.is_valid(items)).to_numpy(zero_copy_only=False)
    whole &= np.isfinite(times) if times is not None else True
    kept = pa.array(whole)
    if not whole.any():
        raise InputError(f"{path} holds no row with a user, an item and a time.")
    found = interactions_of(
        users.filter(kept).to_pylist(),
        items.filter(kept).to_pylist(),
        None if times is None else times[whole],
        name=path.stem,
    )
    missing = int((~whole).sum())
    found = _noted(found, f"{missing} rows without a user, an item or a time" if missing else None)
    found = _noted(found, f"{len(broken)} lines with another number of fields" if broken else None)
    return _titled(found, path.with_suffix(".item")) if path.suffix == ".inter" else found


def _read(path: Path) -> tuple[pa.Table, list[Any]]:
    """The table, and the rows that do not fit it."""
    broken: list[Any] = []

    def skip(row: Any) -> str:
        broken.append(row)
        return "skip"

    def delimited(delimiter: str) -> Callable[[Path], pa.Table]:
        parse = pa.csv.ParseOptions(
            delimiter=delimiter, invalid_row_handler=skip, quote_char='"' if delimiter == "," else False
        )
        return lambda file: pa.csv.read_csv(
            file, parse_options=parse, convert_options=pa.csv.ConvertOptions(strings_can_be_null=True)
        )

    readers: dict[str, Callable[[Path], pa.Table]] = {
        ".inter": delimited("\t"),
        ".item": delimited("\t"),
        ".tsv": delimited("\t"),
        ".csv": delimited(","),
        ".jsonl": pa.json.read_json,
        ".parquet": pa.parquet.read_table,
    }
    try:
        return readers[path.suffix](path), broken
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} cannot be read as {path.suffix[1:]} ({' '.join(str(error).split())}).") from error


def _column(path: Path, names: list[str], kind: str, wanted: str | None) -> int | None:
    """The place of a column; None if there is no time."""
    if wanted is not None:
        if wanted in names:
            return names.index(wanted)
        close = difflib.get_close_matches(wanted, names, 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise InputError(f"{path} has no column {wanted!r}. Columns: {', '.join(names)}.{hint}")
    found = next((name for name in NAMES[kind] if name in names), None)
    if found is None and kind != "time":
        raise InputError(
            f"{path} has no column of a usual name for the {kind} ({', '.join(NAMES[kind])}). Columns: "
            f"{', '.join(names)}. Name it with --loading.{kind}_column."
        )
    return None if found is None else names.index(found)


def _numbers(path: Path, column: pa.ChunkedArray) -> np.ndarray:
    """Times as numbers that sort alike; NaN where there is none."""
    kind = column.type
    try:
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            column = pc.cast(column, pa.timestamp("us"))
        if pa.types.is_temporal(column.type):
            column = pc.cast(pc.cast(column, pa.timestamp("us")), pa.int64())
        return np.asarray(pc.cast(column, pa.float64()).to_numpy())
    except pa.ArrowException as error:
        raise InputError(f"{path}: the times are neither numbers nor dates such as 2024-05-01 ({error}).") from error


def _titled(found: Interactions, path: Path) -> Interactions:
    """Add the titles that RecBole keeps in a file beside the interactions."""
    if not path.is_file():
        return found
    table, _ = _read(path)
    names = [name.partition(":")[0] for name in table.column_names]
    title = next((name for name in TITLES if name in names), None)
    if title is None or "item_id" not in names:
        return found
    columns = (pc.cast(table.column(names.index(name)), pa.string()).to_pylist() for name in ("item_id", title))
    titles = dict(zip(*columns, strict=True))
    return replace(found, titles=tuple(titles.get(item) or item for item in found.items))


def _noted(found: Interactions, note: str | None) -> Interactions:
    """Add a note of what was left out."""
    return found if note is None else replace(found, skipped=(*found.skipped, note))
