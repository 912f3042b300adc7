"""Write embeddings to a Parquet file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dipole.errors import InputError
from dipole.files import atomic_write, readable
from dipole.runs.directory import Run
from dipole.runs.domains import get_domain
from dipole.runs.loading import load
from dipole.runs.model import model_config
from dipole.runs.text_encoders import is_foreign, open_text_encoder


@dataclass(frozen=True)
class Embedded:
    """What `embed_to_parquet` wrote.

    Args:
        path: of the file.
        rows: number of embeddings.
        dimensions: of each.
        skipped: `(path, reason)` of what has no row.
    """

    path: Path
    rows: int
    dimensions: int
    skipped: tuple[tuple[str, str], ...]


def embed_to_parquet(
    run: str | Path,
    source: str,
    out: str | Path,
    *,
    data_root: str | Path | None = None,
    batch_size: int = 256,
    loading: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> Embedded:
    """Embed a source and write a table with the columns `id` and `vector`, a batch at a time.

    Memory does not grow with the size of the source. What cannot be read is left out and listed.

    Args:
        run: a run directory, a model folder, or a folder of sentence-transformers or transformers that embeds texts.
        source: for images: an image file, a folder (searched through), or the name of a data set, which also gives the
            columns `split` and `label`; for text: a file or the name of a set, which also gives the column `text`; of
            other domains: what they train on, with columns of their own.
        out: the Parquet file to write.
        data_root: folder of named data sets.
        batch_size: how many are embedded at once.
        loading: how the source is read, where it differs from the run.
        progress: show a progress bar.

    Returns:
        What was written.

    Raises:
        InputError: the run has no model, the source holds nothing to embed, or `out` is a folder.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = Path(out)
    if out.is_dir():
        raise InputError(f"--out {out} is a folder: name a file, e.g. {out / 'embeddings.parquet'}.")
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}: expected 1 or more at a time.")
    foreign = is_foreign(run)
    method: Any = open_text_encoder(run) if foreign else load(run)
    moved = method.encoder if foreign else method
    moved.to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    config: dict[str, Any] = {} if foreign else model_config(run)
    if (Path(run) / "config.yaml").is_file():  # a run says more than the model in it
        config = config | {"loading": {**config.get("loading", {}), **Run.open(run).settings().loading}}
    config = config | {"loading": {**config.get("loading", {}), **(loading or {})}}
    found = get_domain("text" if foreign else method.domain).embeddings(
        method, config, source, data_root=data_root, batch_size=batch_size, progress=progress
    )
    rows = dimensions = 0
    with atomic_write(out) as temporary, torch.inference_mode():
        writer = None
        for columns, vectors in found.batches:
            names = [readable(name) for name in columns["id"]]
            named = {"id": pa.array(names, pa.string()), "vector": _vectors(vectors.float().cpu())}
            others = {name: _column(values) for name, values in columns.items() if name != "id"}
            table = pa.table(named | others)
            writer = writer or pq.ParquetWriter(temporary, table.schema)
            writer.write_table(table)
            rows, dimensions = rows + len(vectors), vectors.shape[1]
        if writer is None:
            raise InputError(found.empty)
        writer.close()
    return Embedded(out, rows, dimensions, tuple(found.skipped))


def _column(values: Sequence[Any]) -> Any:
    """A column of numbers, or of texts."""
    import pyarrow as pa

    numbers = any(isinstance(value, float) for value in values)
    return pa.array(values, pa.float64() if numbers else pa.string())


def _vectors(vectors: Tensor) -> Any:
    """A column of fixed-size lists of float32."""
    import pyarrow as pa

    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.flatten().numpy()), vectors.shape[1])
