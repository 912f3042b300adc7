"""What every loss does first and last: normalise, gather, reduce."""

import math
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from dipole.errors import InputError
from dipole.ops import gather as gather_rows
from dipole.ops import pairwise_logsumexp_both, rank, world_size
from dipole.ops.derivatives import second_derivatives
from dipole.ops.door import looking, traced
from dipole.ops.rows import Exclusion

SHORTEST = 1e-12  # below this the norm of gated keys has no gradient
Reduction = Literal["mean", "sum", "none"]


def accumulate(x: Tensor) -> Tensor:
    """Raise half precision to float32, in which losses are computed; float64 stays."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def entropy_terms(share: Tensor) -> Tensor:
    """`−p log p`, with the limit 0 at p = 0, whose gradient is 0 as well: there it has no bound."""
    safe = torch.where(share > 0, share, 1)
    return -safe * safe.log()


def unit_rows(x: Tensor, normalize: bool = True) -> Tensor:
    """Scale the last axis to length 1, or leave it if the caller has done so; rows of any length keep their direction.

    A row of zeros stays, and its gradient is 0.
    """
    x = accumulate(x)
    if not normalize:
        return x
    if traced():
        return plain_unit_rows(x)
    unit: Tensor = _UnitRows.apply(x)
    return unit


def plain_unit_rows(x: Tensor) -> Tensor:
    """`unit_rows` by operations that any transform of PyTorch knows."""
    peak = x.detach().abs().amax(dim=-1, keepdim=True)
    zero = peak == 0
    # Squares of the largest floats overflow, those of the smallest vanish: the largest entry becomes 1 before.
    scaled = x / torch.where(zero, 1, peak)
    square = scaled.square().sum(dim=-1, keepdim=True)
    return torch.where(zero, 0, scaled / torch.where(zero, 1, square).sqrt())


class _UnitRows(torch.autograd.Function):
    """`plain_unit_rows`, whose gradient makes one tensor of the size of its input in place of seven."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        # Where a look costs little, rows of usual lengths save a second pass.
        ctx.usual = x.device.type == "cpu" and looking() and usual(length)
        if ctx.usual:
            unit = x / length
        else:
            peak = torch.linalg.vector_norm(x, math.inf, dim=-1, keepdim=True)
            unit = x / peak.clamp_min(_smallest(x))
            length = torch.linalg.vector_norm(unit, dim=-1, keepdim=True)
            unit /= length.clamp_min(1)  # of a row that is not zero it is 1 or more
            length *= peak
        ctx.save_for_backward(x, unit, length)
        return unit

    @staticmethod
    @second_derivatives(lambda ctx, x: plain_unit_rows(x))
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        _, unit, length = ctx.saved_tensors
        along = (gradient * unit).sum(dim=-1, keepdim=True)
        if ctx.usual:
            return torch.addcmul(gradient, unit, along, value=-1).div_(length)
        # Bounded, so that sums of gradients of the shortest rows do not overflow.
        divisor = torch.where(length == 0, math.inf, length.clamp_min(torch.finfo(unit.dtype).tiny * 1e4))
        return torch.addcmul(gradient, unit, along, value=-1).div_(divisor)


def usual(length: Tensor) -> bool:
    """Whether no square of an entry overflows or vanishes, and no row is zero."""
    limit = torch.finfo(length.dtype).max ** 0.4
    if not length.numel():
        return True
    lowest, highest = length.aminmax()
    return float(lowest) > 1 / limit and float(highest) < limit


def _smallest(x: Tensor) -> float:
    """The smallest number above 0 of a type."""
    return torch.finfo(x.dtype).smallest_normal * torch.finfo(x.dtype).eps


def inner_products(queries: Tensor, keys: Tensor) -> Tensor:
    """Compute all inner products (N, M); autocast would round them to half precision."""
    with torch.autocast(queries.device.type, enabled=False):
        return queries @ keys.T


def reduce(values: Tensor, reduction: Reduction) -> Tensor:
    """Reduce the values of the anchors.

    Raises:
        InputError: an unknown reduction.
    """
    if reduction == "mean":
        return values.mean()
    if reduction == "sum":
        return values.sum()
    if reduction == "none":
        return values
    raise InputError(f"reduction is {reduction!r}: expected 'mean', 'sum' or 'none'.")


class TwoViews(NamedTuple):
    """Anchors of both views and the candidates they are contrasted with."""

    anchors: Tensor  # (2N, D): view 1, then view 2
    candidates: Tensor  # (2M, D): view 1 of all processes, then view 2; the anchors themselves in one process
    positives: Tensor  # (2N,): similarity of each anchor with its other view
    first: int  # column of the first anchor
    total: int  # columns of one view

    @property
    def own(self) -> Tensor:
        """(2N,): column of the anchor itself."""
        return torch.cat([self._columns(), self._columns() + self.total])

    @property
    def partner(self) -> Tensor:
        """(2N,): column of the anchor's other view."""
        return torch.cat([self._columns() + self.total, self._columns()])

    @property
    def excluded(self) -> Exclusion:
        """The anchor itself, as statistics of rows take it."""
        return "own" if self.anchors is self.candidates else self.own

    def _columns(self) -> Tensor:
        rows = len(self.anchors) // 2
        return torch.arange(self.first, self.first + rows, device=self.anchors.device)


def two_views(z1: Tensor, z2: Tensor, gather: bool, normalize: bool) -> TwoViews:
    """Arrange two views of a batch for in-batch contrast.

    Raises:
        InputError: one sample in all, so that there is nothing to contrast with.
    """
    anchors = unit_rows(torch.cat([z1, z2]), normalize)
    z1, z2 = anchors.chunk(2)
    rows = len(z1)
    candidates, total, first = anchors, rows, 0
    if gather:
        everywhere = gather_rows(torch.stack([z1, z2], dim=1))  # one communication for both views
        total, first = len(everywhere), rank() * rows
        if total > rows:
            candidates = torch.cat([everywhere[:, 0], everywhere[:, 1]])
    if total < 2:
        raise InputError("a batch of 1 sample has no negatives: use a batch of 2 or more, or a queue of negatives.")
    similarity = (z1 * z2).sum(dim=1)
    return TwoViews(
        anchors,
        candidates,
        positives=torch.cat([similarity, similarity]),
        first=first,
        total=total,
    )


def gathered_keys(keys: Tensor, gather: bool) -> tuple[Tensor, Tensor]:
    """Return the keys of all processes and the column of each local row among them."""
    own = torch.arange(len(keys), device=keys.device)
    if not gather:
        return keys, own
    return gather_rows(keys), own + rank() * len(keys)


def contrasted_rows(rows: Tensor, gather: bool) -> int:
    """Number of rows that `gathered_keys` would return."""
    return len(rows) * (world_size() if gather else 1)


class BothDirections(NamedTuple):
    """The denominators of N pairs, in the two directions of contrast."""

    queries: Tensor  # (N,): log Σ_j exp(s_ij / τ), of each query over all keys
    keys: Tensor  # (N,): log Σ_j exp(s_ji / τ), of each key over all queries


def both_directions(
    queries: Tensor, keys: Tensor, temperature: float | Tensor, gather: bool, exclude_own: bool = False
) -> BothDirections:
    """Compute the denominators of both directions between paired rows, from one similarity matrix.

    A process computes its queries' rows of the matrix. What they add to the columns is exchanged, M numbers a process,
    so that only the keys are gathered and no similarity is computed twice.
    """
    every_key, own = gathered_keys(keys, gather)
    excluded: Exclusion = "own" if every_key is keys else own
    rows, columns = pairwise_logsumexp_both(
        queries, every_key, 1 / temperature, exclude=excluded if exclude_own else None
    )
    if len(every_key) > len(keys):
        columns = gather_rows(columns[None]).logsumexp(dim=0)[own]
    return BothDirections(rows, columns)
