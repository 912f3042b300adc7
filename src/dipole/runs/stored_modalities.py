"""Embeddings of several modalities that `dipole embed` wrote, as they are searched."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from dipole.errors import InputError
from dipole.methods.multimodal.base import AnyModal
from dipole.runs.fingerprint import check_same_model
from dipole.runs.vectors import open_shards


def is_stored(source: str, method: AnyModal) -> bool:
    """Return whether a source is a Parquet file of embeddings or a folder of such, and no table of modalities.

    Args:
        source: a path, or anything else.
        method: whose modalities a table would have as columns.
    """
    place = Path(source).expanduser()
    paths = sorted(place.glob("*.parquet")) if place.is_dir() else [place]
    if not paths or not paths[0].is_file() or paths[0].suffix.lower() != ".parquet":
        return False
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        columns = set(pq.read_schema(paths[0]).names)
    except (OSError, pa.ArrowInvalid):
        return False
    return {"id", "vector"} <= columns and not columns & set(method.modalities)


def stored_modalities(source: str, method: AnyModal, width: int, run: str | Path) -> list[str]:
    """Return the modalities of the model that stored embeddings are of; all of the model's where no column says.

    Args:
        source: see `is_stored`.
        method: whose modalities they are.
        width: of its embeddings.
        run: of the method.

    Raises:
        InputError: they are of none of them, another model made them, or their vectors are of another length.
    """
    shards = open_shards(source)
    known = list(method.modalities)
    if shards[0].dimensions != width:
        raise InputError(
            f"{source} holds vectors of {shards[0].dimensions} numbers, and the model makes such of {width}: "
            "embed with this model."
        )
    check_same_model(shards[0].model, run, source)
    if "modality" not in shards[0].columns:
        return known
    names = {
        name for shard in shards for _, table in shard.batches(["modality"]) for name in table["modality"].to_pylist()
    }
    found = [name for name in known if name in names]
    if not found:
        raise InputError(
            f"{source} holds {', '.join(sorted(map(str, names)))}, and the model knows {', '.join(known)}."
        )
    return found


def stored_candidates(source: str, name: str, method: AnyModal) -> Iterator[tuple[Tensor, list[str], list[str]]]:
    """Yield vectors of a modality, compared as the method does, their ids, and what a reader sees of them.

    Args:
        source: see `is_stored`.
        name: of the modality; without a column `modality`, every vector is taken to be of it.
        method: that scores them.
    """
    for shard in open_shards(source):
        columns = [each for each in ("id", "modality", "text", "start", "end") if each in shard.columns]
        for vectors, table in shard.batches(columns):
            cells = {each: table[each].to_pylist() for each in columns}
            kept = [row for row in range(len(vectors)) if cells.get("modality", [name] * len(vectors))[row] == name]
            if kept:
                yield (
                    method.comparable(torch.from_numpy(vectors[kept])),
                    [str(cells["id"][row]) for row in kept],
                    [_shown(name, {each: values[row] for each, values in cells.items()}) for row in kept],
                )


def _shown(name: str, row: dict[str, object]) -> str:
    """A few words about a row."""
    if isinstance(row.get("text"), str):
        return str(row["text"])
    start, end = row.get("start"), row.get("end")
    if isinstance(start, float) and isinstance(end, float) and start == start:
        return f"{name}, {start:g} to {end:g} s"
    return name
