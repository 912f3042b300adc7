"""What the statistics of rows share: operands of one type, exclusions of one form, sums of exponentials."""

import math
from typing import Literal

import torch
from torch import Tensor

from dipole.errors import InputError
from dipole.ops.door import looking

# Columns left out of each row: indices (N, E), a mask (N, M), or of row i the column i; None for none.
Exclusion = Tensor | Literal["own"] | None


def prepare(queries: Tensor, keys: Tensor, scale: float | Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Check the shapes and bring all three to the type in which sums are accumulated."""
    if queries.ndim != 2 or keys.ndim != 2 or queries.shape[1] != keys.shape[1] or 0 in (*queries.shape, *keys.shape):
        raise InputError(
            f"queries {tuple(queries.shape)} and keys {tuple(keys.shape)}: expected (N, D) and (M, D), not empty."
        )
    dtype = torch.float32
    if not queries.dtype == keys.dtype == torch.float32:
        dtype = torch.promote_types(torch.promote_types(queries.dtype, keys.dtype), torch.float32)
    raised = queries.to(dtype)  # one tensor stays one
    return (
        raised,
        raised if keys is queries else keys.to(dtype),
        as_scalar(scale, raised),
    )


def as_scalar(value: float | Tensor, like: Tensor) -> Tensor:
    """A number as a tensor of the type and device of another one; copied to an accelerator, it would be waited for."""
    if isinstance(value, Tensor):
        return value.to(like)
    return torch.full((), value, dtype=like.dtype, device=like.device)


def as_columns(exclude: Exclusion, queries: Tensor, keys: Tensor) -> Exclusion:
    """Check the exclusions and give single columns a second axis."""
    if exclude is None:
        return None
    if isinstance(exclude, str):
        if exclude != "own" or len(queries) != len(keys):
            raise InputError(
                f"exclude is {exclude!r} of {len(queries)} queries and {len(keys)} keys: expected columns, a mask, or "
                "'own' where key i is that of query i."
            )
        return exclude
    if len(exclude) != len(queries) or exclude.ndim > 2:
        raise InputError(
            f"exclude has shape {tuple(exclude.shape)}: expected one row for each of {len(queries)} queries."
        )
    if exclude.dtype == torch.bool:
        if exclude.shape != (len(queries), len(keys)):
            raise InputError(f"the mask exclude has shape {tuple(exclude.shape)}: expected (queries, keys).")
        return exclude
    if exclude.is_floating_point():
        raise InputError(f"exclude has type {exclude.dtype}: expected whole numbers or a mask of booleans.")
    if looking() and exclude.numel() and int(exclude.max()) >= len(keys):
        raise InputError(f"exclude names column {int(exclude.max())}: there are {len(keys)} keys, counted from 0.")
    return exclude[:, None] if exclude.ndim == 1 else exclude


def as_mask(exclude: Tensor | Literal["own"], columns: int, device: torch.device) -> Tensor:
    """Exclusions as a mask (N, M)."""
    if isinstance(exclude, str):
        return torch.eye(columns, dtype=torch.bool, device=device)
    if exclude.dtype == torch.bool:
        return exclude
    return (exclude[:, :, None] == torch.arange(columns, device=exclude.device)).any(dim=1)


class RowSums:
    """Sums of exponentials along rows that arrive tile by tile, relative to the largest logit of the row so far."""

    def __init__(self, queries: Tensor, shifted: bool) -> None:
        self.total = queries.new_zeros(len(queries))
        # Without a shift (no overflow is possible) two passes over every tile are saved.
        self.shift = queries.new_full((len(queries),), -math.inf) if shifted else None

    def add(self, rows: slice, logits: Tensor) -> tuple[Tensor, Tensor | float]:
        """Turn logits into exponentials in place; also return the factor that brings earlier ones to their scale."""
        decay: Tensor | float = 1.0
        if self.shift is not None:
            higher = torch.maximum(self.shift[rows], logits.amax(dim=1))
            # A row without any key so far has the shift −inf: subtracting 0 instead keeps exp(−inf) = 0.
            finite = torch.where(higher == -math.inf, 0.0, higher)
            decay = torch.exp(self.shift[rows] - finite)
            self.shift[rows] = higher
            logits -= finite[:, None]
        exponentials = logits.exp_()
        self.total[rows] = self.total[rows] * decay + exponentials.sum(dim=1)
        return exponentials, decay

    def logsumexp(self) -> Tensor:
        """The result of each row, −inf where nothing was added."""
        return self.total.log() if self.shift is None else self.total.log() + self.shift.clamp_min(-1e30)


def normaliser_of(logsumexp: Tensor) -> Tensor:
    """The log-sum-exp, but +inf for an empty row: all of its probabilities become 0 instead of NaN."""
    return torch.where(logsumexp == -math.inf, math.inf, logsumexp)
