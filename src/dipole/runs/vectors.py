"""Embeddings in Parquet files, read a piece at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from dipole.errors import InputError
from dipole.runs.fingerprint import MARK

PIECE = 2**16  # rows in memory at once
Vectors = Float32[np.ndarray, "n d"]


@dataclass(frozen=True)
class Shard:
    """A Parquet file with the columns `id` and `vector`.

    Attributes:
        path: of the file.
        rows: in it.
        dimensions: of a vector.
        columns: besides `vector`.
        state: size and time of modification.
        model: fingerprint of the model that made the vectors; None if the file does not say it.
    """

    path: Path
    rows: int
    dimensions: int
    columns: tuple[str, ...]
    state: tuple[int, int]
    model: str | None = None

    def pieces(self) -> Iterator[Vectors]:
        """Return the vectors in their order.

        Raises:
            InputError: a vector is missing, of another length, or not finite.
        """
        return (vectors for vectors, _ in self.batches([]))

    def batches(self, columns: Sequence[str]) -> Iterator[tuple[Vectors, Any]]:
        """Return the vectors in their order, with other columns beside them, as batches of Arrow.

        Args:
            columns: names of the others.

        Raises:
            InputError: as of `pieces`.
        """
        import pyarrow.parquet as pq

        with pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(PIECE, columns=["vector", *columns]):
                yield self._array(batch["vector"]), batch

    def _array(self, column: Any) -> Vectors:
        """A column as rows of numbers."""
        flat = np.asarray(column.flatten(), dtype=np.float32)
        if column.null_count or len(flat) != len(column) * self.dimensions:
            raise InputError(f"{self.path}: not every row has a vector of {self.dimensions} numbers: embed anew.")
        found: Vectors = flat.reshape(-1, self.dimensions)
        if not np.isfinite(found).all():
            raise InputError(f"{self.path} holds vectors that are not finite: embed anew.")
        return found


def open_shards(source: str | Path) -> list[Shard]:
    """Open a Parquet file of embeddings, or all of a folder, in the order of their names.

    Args:
        source: what `dipole embed` wrote.

    Raises:
        InputError: there is none, a column is missing, the vectors differ in length, or different models made them.
    """
    place = Path(source).expanduser()
    paths = sorted(place.glob("*.parquet")) if place.is_dir() else [place]
    if not paths or not paths[0].is_file():
        raise InputError(f"{source} is no Parquet file of embeddings and no folder of such files: `dipole embed` …")
    shards = [_open(path) for path in paths]
    for shard in shards:
        if (shard.dimensions, shard.columns) != (shards[0].dimensions, shards[0].columns):
            raise InputError(
                f"{shard.path} has vectors of {shard.dimensions} numbers and the columns {', '.join(shard.columns)}, "
                f"{shards[0].path.name} {shards[0].dimensions} and {', '.join(shards[0].columns)}: keep files of one "
                "model and one source in a folder."
            )
    models = {shard.model: shard.path.name for shard in shards if shard.model is not None}
    if len(models) > 1:
        raise InputError(
            f"{source} holds embeddings of different models, in {' and '.join(list(models.values())[:2])}: vectors of "
            "two models cannot be compared. Keep those of one in a folder."
        )
    if not any(shard.rows for shard in shards):
        raise InputError(f"{source} holds no embedding.")
    return shards


def _open(path: Path) -> Shard:
    """Read what a file says of itself, and the length of its first vector."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
            mark = (schema.metadata or {}).get(MARK)
            missing = [name for name in ("id", "vector") if name not in schema.names]
            if missing:
                raise InputError(f"{path} has no column {missing[0]!r}: give a file that `dipole embed` wrote.")
            kind = schema.field("vector").type
            width = kind.list_size if pa.types.is_fixed_size_list(kind) else _first_length(file)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"cannot read {path} ({' '.join(str(error).split())[:200]}).") from error
    status = path.stat()
    columns = tuple(name for name in schema.names if name != "vector")
    return Shard(path, rows, width, columns, (status.st_size, status.st_mtime_ns), mark and mark.decode())


def _first_length(file: Any) -> int:
    """Numbers in the first vector of a column of lists."""
    for batch in file.iter_batches(1, columns=["vector"]):
        first = batch.column(0)[0].as_py()
        return len(first) if isinstance(first, list) else 0
    return 0


def sampled_rows(shards: Sequence[Shard], count: int, seed: int) -> Vectors:
    """Return vectors of all files, drawn without replacement, in the order of the files.

    Args:
        shards: the files.
        count: how many; all if there are fewer.
        seed: of the draw.
    """
    total = sum(shard.rows for shard in shards)
    chosen = np.sort(np.random.default_rng(seed).choice(total, min(count, total), replace=False))
    found, first = [], 0
    for shard in shards:
        for piece in shard.pieces():
            own = chosen[np.searchsorted(chosen, first) : np.searchsorted(chosen, first + len(piece))]
            if len(own):
                found.append(piece[own - first])
            first += len(piece)
    return np.concatenate(found)
