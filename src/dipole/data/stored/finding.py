"""Which files on disk a source means, and how a table of them is opened."""

import glob
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dipole.data.decode import EXTENSIONS as IMAGES
from dipole.data.finding import existing_root
from dipole.data.stored.arrow_store import ArrowStore, MappedArrow
from dipole.data.stored.chunk_store import BEGUN, ChunkStore
from dipole.data.stored.store import Store
from dipole.data.stored.tar_store import TarStore
from dipole.data.stored.unpacked import unpacked
from dipole.errors import InputError
from dipole.files import read_json

TABLES = (".parquet", ".arrow", ".feather")
TRAIN, TEST = ("train", "training"), ("test", "testing", "val", "valid", "validation", "dev", "eval")
_BRACES = re.compile(r"\{([^{}]*)\}")
MOST_FILES = 1_000_000


def expanded(pattern: str) -> list[str]:
    """Return the names that braces stand for, as a shell does: `{a,b}` and `{000..127}`.

    Raises:
        InputError: they stand for more than a million.

    Example:
        >>> expanded("shard-{08..10}.tar")
        ['shard-08.tar', 'shard-09.tar', 'shard-10.tar']
    """
    found = _BRACES.search(pattern)
    if found is None:
        return [pattern]
    ends = re.fullmatch(r"(\d+)\.\.(\d+)", found[1])
    if ends:
        first, last = int(ends[1]), int(ends[2])
        if abs(last - first) >= MOST_FILES:
            raise InputError(f"{pattern} stands for {abs(last - first) + 1} files: expected at most {MOST_FILES}.")
        width = max(len(ends[1]), len(ends[2])) if ends[1].startswith("0") or ends[2].startswith("0") else 0
        step = 1 if last >= first else -1
        middle = [str(number).zfill(width) for number in range(first, last + step, step)]
    else:
        middle = found[1].split(",")
    start, end = pattern[: found.start()], pattern[found.end() :]
    return [start + part + rest for part in middle for rest in expanded(end)]


def is_pattern(data: str) -> bool:
    """Return whether a source stands for several files: with `*`, `?`, `[…]` or braces.

    Example:
        >>> is_pattern("shards/{00..36}.tar"), is_pattern("digits")
        (True, False)
    """
    return bool(glob.has_magic(data) or _BRACES.search(data))


def _matching(data: str, root: Path | None) -> list[Path]:
    """The files that a pattern stands for, where it is or below the data root, each once.

    Raises:
        InputError: one that braces name is missing.
    """
    for folder in (None, root):
        names = [str(Path(name).expanduser() if folder is None else folder / name) for name in expanded(data)]
        found = [[Path(path) for path in sorted(glob.glob(name))] or [Path(name)] for name in names]
        paths = list(dict.fromkeys(path for part in found for path in part))
        missing = [path for path in paths if not path.exists()]
        if not missing:
            return paths
        if len(missing) < len(paths):
            raise InputError(
                f"--data {data}: {len(missing)} of {len(paths)} files are missing (first: {missing[0]}). Correct the "
                "numbers, or fetch them: shards are not left out in silence."
            )
    return []


def existing_pattern(data: str, data_root: str | Path | None = None) -> Path | None:
    """Return a pattern that stands for files, as it is or below the data root; None if there is none.

    Example:
        >>> existing_pattern("no/such/{0..3}.tar") is None
        True
    """
    root = existing_root(data_root)
    if not is_pattern(data):
        return None
    paths = _matching(data, root)
    inside = root is not None and bool(paths) and root in paths[0].parents and not Path(data).is_absolute()
    return None if not paths else root / data if inside and root is not None else Path(data).expanduser()


def split_of(path: Path, folder: Path) -> str | None:
    """Return whether a file holds training or test rows, by a word in its name or the folders above it.

    Example:
        >>> split_of(Path("set/data/train-00000-of-00002.parquet"), Path("set"))
        'train'
        >>> split_of(Path("set/validation/0.parquet"), Path("set"))
        'test'
    """
    inside = path.relative_to(folder) if path.is_relative_to(folder) else Path(path.name)
    words = re.split(r"[^a-z]+", str(inside.with_suffix("")).lower())
    for word in words:
        if word in TRAIN or word in TEST:
            return "train" if word in TRAIN else "test"
    return None


def find_store(data: str | Path, data_root: str | Path | None = None) -> Store | None:
    """Open a table whose rows stay on disk; None if the source is something else.

    Args:
        data: a Parquet or Arrow file; a folder of them; a folder that `datasets` saved; a .tar of WebDataset, or a
            folder of them; a folder of LitData; or a pattern of files, such as `shard-{000..127}.tar` or
            `part-*.parquet`. Words in the names of files and folders (`train`, `test`, `validation`) make a column
            `split` where there are both parts.
        data_root: where relative paths are also looked up.

    Raises:
        InputError: the files cannot be read, are missing in part, or do not fit each other.
    """
    root, data = existing_root(data_root), str(data)
    if is_pattern(data) and not Path(data).expanduser().exists():
        paths = _matching(data, root)
        return _placed(_of_files(data, paths, paths[0].parent), paths[0].parent) if paths else None
    places = (Path(data).expanduser(), *((root / data,) if root is not None else ()))
    path = next((place for place in places if data and place.exists()), None)
    if path is None:
        return None
    if path.is_file():
        store = _of_files(path.name, [path], path.parent) if path.suffix.lower() in (*TABLES, ".tar") else None
        return _placed(store, path.parent)
    return _placed(_of_folder(path), path)


def _placed(store: Store | None, folder: Path) -> Store | None:
    """A store that knows to which folder the paths in its cells are relative."""
    if store is not None:
        store.folder = folder
    return store


def _of_files(name: str, paths: Sequence[Path], folder: Path) -> Store | None:
    """A table of files of one kind."""
    name = Path(name).name
    kinds = {path.suffix.lower() for path in paths}
    if not kinds <= {*TABLES, ".tar"}:
        return None
    if ".tar" in kinds and len(kinds) > 1:
        raise InputError(f"{name} stands for files of several kinds, {', '.join(sorted(kinds))}: name those of one.")
    splits = [split_of(path, folder) for path in paths]
    if kinds == {".tar"}:
        return TarStore(name, paths, splits)
    store = ArrowStore(name, unpacked(paths), splits, said=[str(path) for path in paths])
    store.paths = paths
    return store


def _of_folder(path: Path) -> Store | None:
    """A table in a folder."""
    name = path.resolve().name
    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        return _saved(name, path)
    if (path / BEGUN).is_file():
        raise InputError(f"{path} is not finished: run the same `dipole data optimize` again, it goes on where it was.")
    if (path / "index.json").is_file() and any(path.glob("chunk-*")):
        return ChunkStore(name, path)
    if all((path / part / "index.json").is_file() for part in ("train", "test")):
        return ChunkStore(name, path, ("train", "test"))
    shards = _shards(path)
    for kind in (".tar", ".parquet", ".arrow"):
        paths = sorted(shard for shard in shards if shard.suffix.lower() == kind)
        if paths:
            return _of_files(name, paths, path)
    return None


def _shards(folder: Path) -> list[Path]:
    """Shards in a folder, or in the folders `data`, `train`, `test` … in it; none where other folders or images are."""
    found: list[Path] = []
    with os.scandir(folder) as listed:
        entries = sorted(listed, key=lambda entry: entry.name)
    for entry in entries:
        path = Path(entry.path)
        if entry.name.startswith((".", "_")):
            continue
        if entry.is_dir():
            if entry.name.lower() != "data" and split_of(path, folder) is None:
                return []
            found += _shards(path)
        elif path.suffix.lower() in IMAGES:
            return []
        elif path.suffix.lower() in (*TABLES, ".tar"):
            found.append(path)
    return found


def _saved(name: str, folder: Path) -> Store:
    """What `datasets` saved: one part, or several in folders."""
    if not (folder / "dataset_dict.json").is_file():
        pieces, rows, paths = _part(folder)
        store = ArrowStore(name, pieces, rows=rows)
        store.paths = paths
        return store
    listed = read_json(folder / "dataset_dict.json")
    parts = listed.get("splits", []) if isinstance(listed, dict) else []
    pieces, splits, orders, files = [], [], [], []
    start = 0
    for part in parts:
        found, rows, paths = _part(folder / Path(str(part)).name)
        files += paths
        length = sum(sum(piece.lengths) for piece in found)
        orders.append(np.arange(length) + start if rows is None else np.asarray(rows) + start)
        start += length
        pieces += found
        splits += [split_of(Path(str(part)), Path()) or str(part)] * len(found)
    if not pieces:
        raise InputError(f"{folder / 'dataset_dict.json'} names no part: save the set again.")
    order = np.concatenate(orders)
    store = ArrowStore(name, pieces, splits, None if len(order) == start and (np.diff(order) == 1).all() else order)
    store.paths = files
    return store


def _part(folder: Path) -> tuple[list[MappedArrow], np.ndarray | None, list[Path]]:
    """The files of one part, where `datasets` kept an order apart from the rows that order, and all their paths."""
    state = read_json(folder / "state.json")
    names = [Path(str(each["filename"])).name for each in state.get("_data_files") or ()]
    if not names:
        raise InputError(f"{folder / 'state.json'} names no file: save the set again with save_to_disk.")
    paths = [folder / name for name in names]
    kept = [folder / Path(str(each["filename"])).name for each in state.get("_indices_data_files") or ()]
    parts = [batch.column(0).to_numpy() for path in kept for batch in MappedArrow(path).batches]
    return unpacked(paths), np.concatenate(parts).astype(np.int64) if parts else None, [*paths, *kept]


def of_table(path: Path, columns: Mapping[str, Any]) -> ArrowStore:
    """Return Arrow columns of a file, which are in memory, as a store."""
    store = ArrowStore(path.name, [MappedArrow(pa.table(dict(columns)))])
    store.folder = path.parent
    return store
