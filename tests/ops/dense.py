"""The pairwise statistics as anyone would write them, with the whole matrix in memory."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from dipole.ops import tiles


def excluded_pairs(exclude: Tensor | None, rows: int, columns: int) -> Tensor:
    """Indices (N,), (N, E) or a mask (N, M), as a mask."""
    if exclude is None:
        return torch.zeros(rows, columns, dtype=torch.bool)
    if exclude.dtype == torch.bool:
        return exclude
    mask = torch.zeros(rows, columns, dtype=torch.bool)
    for row, indices in enumerate(exclude.view(rows, -1).tolist()):
        for column in indices:
            if column >= 0:
                mask[row, column] = True
    return mask


def logits_of(queries: Tensor, keys: Tensor, scale: Any, exclude: Tensor | None, log_weight: Any = 0.0) -> Tensor:
    logits = scale * (queries @ keys.T) + log_weight
    return logits.masked_fill(excluded_pairs(exclude, *logits.shape), -math.inf)


def dense_logsumexp(
    queries: Tensor, keys: Tensor, scale: Any, *, exclude: Tensor | None = None, log_weight: Tensor | None = None
) -> Tensor:
    return logits_of(queries, keys, scale, exclude, 0.0 if log_weight is None else log_weight).logsumexp(dim=1)


def dense_softmax_mean(
    queries: Tensor,
    keys: Tensor,
    weight_scale: Any,
    value: Callable[[Tensor], Tensor] | None = None,
    *,
    exclude: Tensor | None = None,
    detach_weights: bool = False,
) -> Tensor:
    logits = logits_of(queries, keys, weight_scale, exclude)
    empty = (logits == -math.inf).all(dim=1, keepdim=True)
    weights = torch.softmax(logits.masked_fill(empty, 0.0), dim=1).masked_fill(empty, 0.0)
    similarities = queries @ keys.T
    values = similarities if value is None else value(similarities)
    return ((weights.detach() if detach_weights else weights) * values).sum(dim=1)


@contextmanager
def tiles_of(entries: int, columns: int) -> Iterator[None]:
    """Cut matrices into tiles of about so many entries and at least so many columns; keep those of three full ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "TILE_ENTRIES", {"cpu": entries})
        patch.setattr(tiles, "TILE_COLUMNS", columns)
        patch.setattr(tiles, "KEPT_ENTRIES", {"cpu": 3 * entries})
        yield
