"""Files of interactions: tables with named columns, and lists of a user's items."""

import difflib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from dipole.data import tables
from dipole.data.recommendation.interactions import Interactions, interactions_of
from dipole.errors import InputError

# What the columns are called in the files that are passed around.
NAMES = {
    "user": ("user_id", "user", "userid", "userId", "uid", "reviewerID"),
    "item": ("item_id", "item", "itemid", "itemId", "iid", "asin", "movie_id", "movieId", "product_id", "sku"),
    "time": ("timestamp", "time", "datetime", "date", "unixReviewTime"),
}
MOVIES = "movies.csv"  # of MovieLens, beside ratings.csv
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
        with path.open(encoding="utf-8-sig") as file:
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
    path: Path,
    *,
    user: str | None = None,
    item: str | None = None,
    time: str | None = None,
    encoding: str = "utf-8",
) -> Interactions:
    """Read a table: .inter (RecBole), .csv, .tsv, .jsonl or .parquet, also .gz.

    Rows without a user, an item or a time are left out and counted, and so are lines with another number of fields.

    Args:
        path: of the file.
        user: name of the column; the usual names are tried if it is None.
        item: likewise.
        time: likewise: numbers, dates in any form of ISO 8601, or text that holds such; without such a column, the rows
            are in the order of time.
        encoding: of text.

    Raises:
        InputError: the file cannot be read, a column is missing, or no row is whole.
    """
    table = tables.read_table(path, encoding)
    keys = list(table.columns)
    names = [name.partition(":")[0] for name in keys]  # RecBole: name:type
    columns = {"user": user, "item": item, "time": time}
    places = {kind: _column(path, names, kind, wanted) for kind, wanted in columns.items()}
    assert places["user"] is not None
    assert places["item"] is not None
    users, items = (np.array(table.ids(keys[place]), object) for place in (places["user"], places["item"]))
    whole = np.array([user is not None and item is not None for user, item in zip(users, items, strict=True)])
    times = None
    if places["time"] is not None:
        times, timed = _times(table, keys[places["time"]])
        whole &= timed
    if not whole.any():
        raise InputError(f"{path} holds no row with a user, an item and a time.")
    found = interactions_of(
        users[whole].tolist(),
        items[whole].tolist(),
        None if times is None else times[whole],
        name=path.stem,
    )
    missing = int((~whole).sum())
    found = _noted(found, f"{missing} rows without a user, an item or a time" if missing else None)
    broken = len(table.broken)
    found = _noted(found, f"{broken} lines with another number of fields" if broken else None)
    titles = path.with_suffix(".item") if tables.table_suffix(path) == ".inter" else path.with_name(MOVIES)
    beside = titles != path and (titles.suffix == ".item" or path.stem == "ratings")
    return _titled(found, titles, encoding, keys[places["item"]]) if beside else found


def _times(table: tables.Table, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Numbers that sort as the times do, and which rows have one; dates in any form of ISO 8601."""
    try:
        return table.times(name)
    except InputError:
        cells = table.cells(name)
        if not all(cell is None or isinstance(cell, str) for cell in cells):
            raise
        try:
            moments = [None if cell is None else datetime.fromisoformat(cell.strip()) for cell in cells]
        except ValueError:
            moments = []
        if not moments:
            raise
    valid = np.array([moment is not None for moment in moments])
    seconds = [
        0.0 if moment is None else (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        for moment in moments
    ]
    return np.array(seconds), valid


def _column(path: Path, names: list[str], kind: str, wanted: str | None) -> int | None:
    """The place of a column; None if there is no time."""
    if wanted is not None:
        if wanted in names:
            return names.index(wanted)
        close = difflib.get_close_matches(wanted, names, 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise InputError(f"{path} has no column {wanted!r}. Columns: {', '.join(names)}.{hint}")
    lower = {name.lower(): name for name in reversed(names)}
    found = next((lower[name.lower()] for name in NAMES[kind] if name.lower() in lower), None)
    if found is None and kind != "time":
        raise InputError(
            f"{path} has no column of a usual name for the {kind} ({', '.join(NAMES[kind])}). Columns: "
            f"{', '.join(names)}. Name it with --loading.{kind}_column."
        )
    return None if found is None else names.index(found)


def _titled(found: Interactions, path: Path, encoding: str, item: str) -> Interactions:
    """Add the titles that RecBole and MovieLens keep in a file beside the interactions."""
    if not path.is_file():
        return found
    table = tables.read_table(path, encoding)
    keys = {name.partition(":")[0]: name for name in table.columns}  # RecBole: name:type
    title = next((name for name in TITLES if name in keys), None)
    key = next((name for name in ("item_id", item) if name in keys), None)
    if title is None or key is None:
        return found
    columns = (table.ids(keys[name]) for name in (key, title))
    titles = dict(zip(*columns, strict=True))
    return replace(found, titles=tuple(titles.get(item) or item for item in found.items))


def _noted(found: Interactions, note: str | None) -> Interactions:
    """Add a note of what was left out."""
    return found if note is None else replace(found, skipped=(*found.skipped, note))
