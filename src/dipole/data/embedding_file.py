"""Embeddings that `dipole embed` has written, for the images of a set."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dipole.errors import InputError


def read_embeddings(path: str | Path, ids: Sequence[str], split: str = "train") -> Float[Tensor, "n d"]:
    """Read the embeddings of some samples from a Parquet file with the columns `id` and `vector`.

    Args:
        path: of the file.
        ids: whose embeddings are read, in this order.
        split: of the rows, if the file has a column `split`.

    Returns:
        (N, D).

    Raises:
        InputError: the file cannot be read, lacks a column, or has no row, or several, for a sample.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(Path(path).expanduser())
    except (OSError, pa.ArrowInvalid) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"cannot read the embeddings {path} ({reason}): give a file that `dipole embed` wrote."
        ) from error
    missing = [name for name in ("id", "vector") if name not in table.column_names]
    if missing:
        raise InputError(f"{path} has no column {missing[0]!r}: give a file that `dipole embed` wrote.")
    if "split" in table.column_names:
        table = table.filter(pa.compute.equal(table["split"], split))
    place: dict[str, int] = {}
    for row, name in enumerate(table["id"].to_pylist()):
        if place.setdefault(name, row) != row:
            raise InputError(f"{path} has two rows with the id {name!r}: embed the training images alone.")
    absent = [name for name in ids if name not in place]
    if absent:
        raise InputError(
            f"{path} has no embedding of {len(absent)} of the {len(ids)} training images, such as {absent[0]!r}: embed "
            "the same data with `dipole embed`."
        )
    vectors = table["vector"].combine_chunks()
    rows = np.asarray(vectors.flatten(), dtype=np.float32).reshape(len(table), -1)
    return torch.from_numpy(rows[[place[name] for name in ids]])
