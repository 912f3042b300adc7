"""Files around recommendations: who is asked for, what may be recommended, and what was found."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dipole.data.recommendation.files import NAMES
from dipole.data.tables import Table, read_table, table_suffix
from dipole.errors import InputError
from dipole.files import atomic_write
from dipole.runs.recommend import EVERYBODY, Recommended

SUFFIXES = (".jsonl", ".csv", ".parquet")
COLUMNS = ("user", "rank", "item", "title", "score")


def read_names(path: str | Path, role: str, encoding: str = "utf-8") -> list[str]:
    """Read names of users or items: a text file with one on each line, or a column of a table.

    Args:
        path: .txt, or a table with a column of a usual name; else its first column is taken.
        role: `"user"` or `"item"`.
        encoding: of text.

    Raises:
        InputError: the file cannot be read, or holds no name.
    """
    path = Path(path)
    if table_suffix(path) == ".txt":
        try:
            names = [line.strip() for line in path.read_text(encoding=encoding).splitlines()]
        except (OSError, UnicodeError, LookupError) as error:
            raise InputError(f"cannot read {path} as a list of names ({error}).") from error
    else:
        table = read_table(path, encoding)
        names = [name or "" for name in table.ids(_column(table, role) or next(iter(table.columns)))]
    found = list(dict.fromkeys(name for name in names if name))
    if not found:
        raise InputError(f"{path} holds no name: expected one of a {role} on each line.")
    return found


def read_users(value: str) -> list[str] | str:
    """Return the users of a file, or `"all"` as it is.

    Example:
        >>> read_users("all")
        'all'
    """
    return value if value == EVERYBODY else read_names(value, "user")


def read_excluded(path: str | Path, encoding: str = "utf-8") -> dict[str | None, list[str]]:
    """Read what is not to be recommended: pairs of a user and an item, or items for everybody (under None).

    Args:
        path: a table with columns for users and items, or whatever `read_names` reads.
        encoding: of text.

    Raises:
        InputError: the file cannot be read.
    """
    path = Path(path)
    if table_suffix(path) != ".txt":
        table = read_table(path, encoding)
        user, item = _column(table, "user"), _column(table, "item")
        if user is not None and item is not None:
            found: dict[str | None, list[str]] = {}
            for name, used in zip(table.ids(user), table.ids(item), strict=True):
                if name is not None and used is not None:
                    found.setdefault(name, []).append(used)
            return found
    return {None: read_names(path, "item", encoding)}


def split_items(text: str) -> list[str]:
    """Return names that stand between commas; one that holds a comma stands in quotes.

    Example:
        >>> split_items('tea, "salt, fine",rice')
        ['tea', 'salt, fine', 'rice']
    """
    row = next(csv.reader([text], skipinitialspace=True), [])
    return [name.strip() for name in row if name.strip()]


def check_out(path: str | Path) -> None:
    """Require a name that says how to write recommendations.

    Raises:
        InputError: a folder, or another suffix.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"--out {path} is a folder: name a file, e.g. {path / 'items.jsonl'}.")
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"--out {path}: expected a file that ends in {', '.join(SUFFIXES)}.")


def write_recommendations(path: str | Path, found: Mapping[str, Sequence[Recommended]]) -> None:
    """Write a row for each user and item, as JSON lines, CSV or Parquet by the suffix.

    Args:
        path: see `check_out`.
        found: by user.

    Raises:
        InputError: see `check_out`.
    """
    check_out(path)
    rows: list[dict[str, Any]] = [{"user": user, **vars(hit)} for user, hits in found.items() for hit in hits]
    with atomic_write(Path(path)) as temporary:
        suffix = Path(path).suffix.lower()
        if suffix == ".parquet":
            import pyarrow as pa
            import pyarrow.parquet as pq

            kinds = {"rank": pa.int64(), "score": pa.float64()}
            schema = pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS])
            pq.write_table(pa.Table.from_pylist(rows, schema), temporary)
        elif suffix == ".csv":
            with temporary.open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, COLUMNS)
                writer.writeheader()
                writer.writerows(rows)
        else:
            lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            temporary.write_text(lines, encoding="utf-8")


def _column(table: Table, role: str) -> str | None:
    """The column of a usual name, in capitals or not."""
    known = {name.lower() for name in (*NAMES[role], role)}
    return next((name for name in table.columns if name.partition(":")[0].lower() in known), None)
