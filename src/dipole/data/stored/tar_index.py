"""Where the members of a WebDataset shard lie: looked through once, kept in the cache."""

import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dipole.data.decode import EXTENSIONS as IMAGES
from dipole.data.stored.arrow_store import MappedArrow
from dipole.data.stored.tar_members import members_of
from dipole.data.stored.unpacked import forget_others, state_of
from dipole.errors import InputError
from dipole.files import atomic_write, cache_folder

# What the last suffix of a member says of it; a member `left.jpg` of a sample is the column `left`.
FORMS: Mapping[str, tuple[str, ...]] = {
    "image": tuple(suffix[1:] for suffix in sorted(IMAGES)),
    "sound": ("wav", "flac", "ogg", "oga", "opus", "mp3", "aif", "aiff", "au", "w64"),
    "text": ("txt", "text", "transcript"),
    "label": ("cls",),
    "json": ("json", "jsn"),
    "vector": ("npy",),
}
_FORM_OF = {suffix: form for form, suffixes in FORMS.items() for suffix in suffixes}
PICKLES = ("pyd", "pickle", "pkl", "pth", "pt", "ckpt", "joblib")
PACKED = ("gz", "bz2", "xz", "zst")
_NAME = re.compile(r"((?:.*/)?[^./][^/.]*)\.([^/]+)")
_VERSION = "1"


def shard_index(path: Path) -> MappedArrow:
    """Return the samples of a shard: `key` and, for each column, where its bytes begin and how many they are.

    Both are −1 where a sample has none.

    The schema's metadata say of each column what it is (`image`, `text`, …), and how many members were left out.

    Raises:
        InputError: the file is no tar, or is broken off, packed, or holds pickles; or members of a sample lie apart.
    """
    place, state = state_of(path)
    kept = cache_folder() / "shards" / f"{_VERSION}-{place}-{state}.arrow"
    if not kept.is_file():
        table = _looked_through(path)
        kept.parent.mkdir(parents=True, exist_ok=True)
        forget_others(kept, f"*-{place}-*.arrow")
        with atomic_write(kept) as temporary, pa.OSFile(str(temporary), "wb") as file:  # noqa: SIM117
            with pa.ipc.new_file(file, table.schema) as writer:
                writer.write_table(table.combine_chunks(), max_chunksize=max(1, len(table)))
    return MappedArrow(kept)


def shard_indexes(paths: list[Path]) -> list[MappedArrow]:
    """Return the index of each shard; several are made at once."""
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(shard_index, paths))


def _looked_through(path: Path) -> pa.Table:
    """Read the headers of all members."""
    samples: dict[str, dict[str, tuple[int, int]]] = {}
    forms: dict[str, str] = {}
    left_out: dict[str, int] = {}
    last = ""
    for name, begin, size in members_of(path):
        found = _NAME.fullmatch(name)
        column, form = ("", "") if found is None else _column(path, name, found[2])
        if found is None or not column:
            what = name.rpartition(".")[2] if found else "others"
            left_out[what] = left_out.get(what, 0) + 1
            continue
        key = found[1]
        if key != last and key in samples:
            raise InputError(f"{path}: the members of {key!r} lie apart: a sample's are one after the other.")
        own = samples.setdefault(key, {})
        if column in own or forms.setdefault(column, form) != form:
            raise InputError(f"{path}: sample {key!r} has two members for the column {column!r}.")
        own[column] = (begin, size)
        last = key
    if not samples:
        raise InputError(f"{path} holds no sample: expected members such as 000.jpg and 000.txt.")
    return _table(samples, forms, left_out)


def _column(path: Path, name: str, suffixes: str) -> tuple[str, str]:
    """The column that a member belongs to and what it is; nothing if it is of no kind that is read.

    Raises:
        InputError: it is a pickle, or packed by itself.
    """
    before, _, suffix = suffixes.lower().rpartition(".")
    if suffix in PICKLES:
        raise InputError(
            f"{path} holds {name}, a pickle, which could run code: it is not read. Write .npy, .json or .txt."
        )
    if suffix in PACKED:
        raise InputError(f"{path} holds {name}, which is packed: pack shards without compressing their members.")
    form = _FORM_OF.get(suffix, "")
    return (before or form) if form else "", form


def _table(
    samples: Mapping[str, Mapping[str, tuple[int, int]]], forms: Mapping[str, str], left_out: Mapping[str, int]
) -> pa.Table:
    """The index as a table."""
    columns: dict[str, Any] = {"key": pa.array(samples, pa.string())}
    for name in forms:
        places = np.array([own.get(name, (-1, -1)) for own in samples.values()], np.int64)
        columns |= {f"begin {name}": pa.array(places[:, 0]), f"size {name}": pa.array(places[:, 1])}
    said = {f"form {name}": form for name, form in forms.items()}
    said |= {f"left out {suffix}": str(count) for suffix, count in left_out.items()}
    return pa.table(columns).replace_schema_metadata(said)
