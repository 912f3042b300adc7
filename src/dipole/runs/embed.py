"""Write embeddings to a Parquet file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dipole.data.tables import table_suffix
from dipole.errors import InputError
from dipole.files import atomic_write
from dipole.runs.embedding import Precision, computing, open_source, table_of
from dipole.runs.fingerprint import model_fingerprint

OTHERS = (".csv", ".tsv", ".json", ".jsonl", ".npy", ".npz")  # a reader of such a file could not open Parquet


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
    precision: Precision = "32-true",
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
        precision: `"bf16"` multiplies matrices in bfloat16, for processors that are fast at it.
        progress: show a progress bar.

    Returns:
        What was written.

    Raises:
        InputError: the run has no model, the source holds nothing to embed, `out` is a folder or of another kind than
            Parquet, or an embedding is not finite.
    """
    import pyarrow.parquet as pq

    out = Path(out)
    if out.is_dir():
        raise InputError(f"--out {out} is a folder: name a file, e.g. {out / 'embeddings.parquet'}.")
    if table_suffix(out) in OTHERS:
        raise InputError(f"--out {out}: embeddings are written as Parquet: name it {out.stem}.parquet.")
    found = open_source(run, source, data_root=data_root, batch_size=batch_size, loading=loading, progress=progress)
    model = model_fingerprint(run)
    rows = dimensions = 0
    with atomic_write(out) as temporary, torch.inference_mode(), computing(precision):
        writer = None
        for columns, vectors in found.batches:
            table = table_of(columns, vectors, model)
            writer = writer or pq.ParquetWriter(temporary, table.schema)
            writer.write_table(table)
            rows, dimensions = rows + len(vectors), vectors.shape[1]
        if writer is None:
            raise InputError(found.empty)
        writer.close()
    return Embedded(out, rows, dimensions, tuple(found.skipped))
