"""Batches of embeddings of a source, and the table that they make."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from dipole.errors import InputError
from dipole.files import readable
from dipole.ops.checks import check_at_least, check_choice
from dipole.runs.directory import Run
from dipole.runs.domains import get_domain
from dipole.runs.domains.base import Embeddings
from dipole.runs.fingerprint import MARK
from dipole.runs.loading import load
from dipole.runs.model import model_config
from dipole.runs.text_encoders import is_foreign, open_text_encoder

Precision = Literal["32-true", "bf16"]


def open_source(
    run: str | Path,
    source: str,
    *,
    data_root: str | Path | None = None,
    batch_size: int = 256,
    loading: Mapping[str, Any] | None = None,
    device: torch.device | str | None = None,
    progress: bool = False,
) -> Embeddings:
    """Open a model and a source; nothing is embedded before the batches are asked for.

    Args:
        run: a run directory, a model folder, or a folder of sentence-transformers or transformers that embeds texts.
        source: what the domain of the run embeds.
        data_root: folder of named data sets.
        batch_size: how many are embedded at once.
        loading: how the source is read, where it differs from the run.
        device: where to compute; a GPU if there is one and it is None.
        progress: show a progress bar.

    Raises:
        InputError: there is no model, or the source cannot be read.
    """
    check_at_least(batch_size, 1, "batch_size")
    foreign = is_foreign(run)
    method: Any = open_text_encoder(run) if foreign else load(run)
    moved = method.encoder if foreign else method
    moved.to(torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu")))
    config: dict[str, Any] = {} if foreign else model_config(run)
    if (Path(run) / "config.yaml").is_file():  # a run says more than the model in it
        config = config | {"loading": {**config.get("loading", {}), **Run.open(run).settings().loading}}
    config = config | {"loading": {**config.get("loading", {}), **(loading or {})}}
    return get_domain("text" if foreign else method.domain).embeddings(
        method, config, source, data_root=data_root, batch_size=batch_size, progress=progress
    )


def computing(precision: Precision) -> AbstractContextManager[Any]:
    """Return the context in which embeddings are computed.

    Args:
        precision: `"bf16"` multiplies matrices in bfloat16, for processors that are fast at it.

    Raises:
        InputError: there is no such precision.
    """
    check_choice(precision, ("32-true", "bf16"), "precision")
    if precision == "32-true":
        return nullcontext()
    return torch.autocast("cuda" if torch.cuda.is_available() else "cpu", torch.bfloat16)


def table_of(columns: Mapping[str, Sequence[Any]], vectors: Tensor, model: str | None = None) -> Any:
    """Return a batch as a table of Arrow: `id`, `vector` (fixed-size lists of float32) and the other columns.

    Args:
        columns: N values each, among them `id`.
        vectors: (N, D).
        model: fingerprint of the model that made them, by which they are known again.

    Raises:
        InputError: a vector is not finite.

    Example:
        >>> table_of({"id": ["a"], "text": ["few words"]}, torch.zeros(1, 2)).column_names
        ['id', 'vector', 'text']
    """
    import pyarrow as pa

    vectors = vectors.float().cpu()
    check_vectors(vectors, columns["id"])
    flat = pa.array(vectors.flatten().numpy())
    named = {
        "id": pa.array([readable(name) for name in columns["id"]], pa.string()),
        "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
    }
    others = {name: _column(values) for name, values in columns.items() if name != "id"}
    return pa.table(named | others, metadata=None if model is None else {MARK: model})


def check_vectors(vectors: Tensor, names: Sequence[Any] | None = None) -> None:
    """Refuse embeddings that hold NaN or infinity.

    Raises:
        InputError: one does; the message says of what, where names are given.
    """
    wrong = (~vectors.isfinite()).any(dim=1).nonzero().flatten().tolist()
    if wrong:
        first = f"row {wrong[0]}" if names is None else repr(names[wrong[0]])
        raise InputError(
            f"{len(wrong)} of {len(vectors)} embeddings of a batch are not finite (first: {first}). If it is all of "
            "them, the weights are not, either: train anew with a lower learning rate. Else look at what is embedded."
        )


def _column(values: Sequence[Any]) -> Any:
    """A column of numbers, or of texts."""
    import pyarrow as pa

    numbers = any(isinstance(value, float) for value in values)
    return pa.array(values, pa.float64() if numbers else pa.string())
