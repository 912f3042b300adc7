"""The interactions that dipole knows by name, and the one function that turns `--data` into a table."""

from pathlib import Path

from dipole.data.finding import existing_root, leads_nowhere
from dipole.data.recommendation.files import read_lists, read_table
from dipole.data.recommendation.interactions import Interactions, k_core, keep_last
from dipole.data.recommendation.toy import toy_interactions
from dipole.data.registry import DataSetInfo
from dipole.data.tables import table_suffix
from dipole.errors import InputError

TOY = "toy-interactions"
# Where the files of a named set may lie below the data root.
FILES = {
    "ml-100k": ("recsys/ml-100k/ml-100k.inter", "ml-100k/ml-100k.inter", "ml-100k.inter"),
    "beauty": ("recsys/Beauty.txt", "Beauty.txt"),
    "yelp": ("recsys/Yelp.txt", "Yelp.txt"),
}
TABLES = (".inter", ".csv", ".tsv", ".jsonl", ".parquet")


def load_interactions(
    data: str = TOY,
    data_root: str | Path | None = None,
    *,
    min_interactions: int = 5,
    last: int | None = None,
    user_column: str | None = None,
    item_column: str | None = None,
    time_column: str | None = None,
    encoding: str = "utf-8",
) -> Interactions:
    """Load interactions of users with items.

    Args:
        data: a name that `available_interactions()` lists, or a path: .inter (RecBole), .csv, .tsv, .jsonl, .parquet,
            or .txt with a user and items in the order of time on every line, which SASRec's files are too.
        data_root: folder of the sets that are read from files; relative paths are also looked up there.
        min_interactions: users and items with fewer are left out, until all have so many; 1 keeps all.
        last: keep the latest so many interactions of every user.
        user_column: of a table; so are the next two. The usual names are tried.
        item_column: likewise.
        time_column: likewise; without such a column the rows are in the order of time.
        encoding: of a table, e.g. `latin-1`.

    Raises:
        InputError: an unknown name, a missing path or column, a file that holds none, or nothing is left.

    Example:
        >>> load_interactions("toy-interactions")
        Interactions('toy-interactions', 4413 interactions, 300 users, 60 items)
    """
    columns = {"user": user_column, "item": item_column, "time": time_column}
    return keep_last(k_core(_load(data, data_root, columns, encoding), min_interactions), last)


def available_interactions() -> list[DataSetInfo]:
    """List the interactions that dipole knows, those that need no files first.

    Example:
        >>> [info.name for info in available_interactions()][:2]
        ['toy-interactions', 'ml-100k']
    """
    return [
        DataSetInfo(TOY, "generated walks of users through a catalogue", "300 users", None, "built in"),
        DataSetInfo("ml-100k", "MovieLens 100K: films that people rated", "943 users", None, "files in --data-root"),
        DataSetInfo("beauty", "Amazon reviews of beauty products", "22363 users", None, "files in --data-root"),
        DataSetInfo("yelp", "Yelp reviews of businesses", "30431 users", None, "files in --data-root"),
        DataSetInfo("FILE", "your table: .inter, .csv, .tsv, .jsonl, .parquet", "", None, "a path"),
        DataSetInfo("FILE.txt", "your lists: a user and items on every line", "", None, "a path"),
    ]


def _load(data: str, data_root: str | Path | None, columns: dict[str, str | None], encoding: str) -> Interactions:
    """The whole table."""
    root = existing_root(data_root)
    if data == TOY:
        return toy_interactions()
    candidates = [Path(data).expanduser(), *([] if root is None else [root / data])]
    if data in FILES:
        if root is None:
            raise InputError(f"{data} is read from files: give --data-root, the folder that holds {FILES[data][0]}.")
        candidates = [root / place for place in FILES[data]]
    path = next((path for path in candidates if data and path.is_file()), None)
    if path is None:
        if data in FILES:
            raise InputError(f"{data} is not in the data root: expected {' or '.join(FILES[data])} there.")
        raise leads_nowhere(data, "known set of interactions", (TOY, *FILES))
    if path.suffix.lower() == ".txt":
        return read_lists(path)
    if table_suffix(path) in TABLES:
        return read_table(path, **columns, encoding=encoding)
    raise InputError(f"{path} is no file of interactions: give one of {', '.join((*TABLES, '.txt'))}.")
