"""Softmax-weighted means of vectors, as attention and modern Hopfield networks take them."""

from collections.abc import Iterator, Sequence
from itertools import accumulate, combinations_with_replacement
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from dipole.errors import InputError
from dipole.ops import plain
from dipole.ops.derivatives import second_derivatives
from dipole.ops.door import public
from dipole.ops.operators import Arguments, Operator, Shape, dense
from dipole.ops.room import large_room
from dipole.ops.rows import RowSums, prepare
from dipole.ops.statistics import Choice, Statistic
from dipole.ops.tiles import Tiles, bounded, kept_entries


@public
def softmax_retrieval(
    queries: Float[Tensor, "n d"],
    stored: Float[Tensor, "m d"],
    scale: float | Float[Tensor, ""] = 1.0,
    *,
    groups: Sequence[int] | None = None,
) -> Float[Tensor, "g n d"]:
    """Compute the mean of the stored patterns, weighted by a softmax of their similarity to each query.

        result_gi = Σ_{j∈g} p_gij stored_j,    p_gij = softmax_{j∈g}(scale · ⟨queries_i, stored_j⟩)

    for every query i and every group g of patterns. This is one update of a modern Hopfield network. The matrix of
    similarities is cut into tiles and never whole. Gradients reach `queries`, `stored` (as keys and as values) and
    `scale`. When `queries is stored` one half of the symmetric matrix serves all groups, as those of images and texts
    that retrieve from both.

    Args:
        queries: (N, D), used as they are.
        stored: (M, D) patterns, those of one group side by side.
        scale: inverse temperature β; a number or a learnable scalar.
        groups: number of patterns in each group, which add up to M; one group of all if None.

    Returns:
        (G, N, D), in float32 or float64.

    Raises:
        InputError: queries or stored are no matrices of one width, or the groups do not add up to M.

    Example:
        >>> stored = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]])
        >>> softmax_retrieval(torch.zeros(1, 2), stored, groups=[2, 1])  # equal weights
        tensor([[[0.5000, 0.5000]],
        <BLANKLINE>
                [[2.0000, 2.0000]]])
    """
    queries, stored, scale_tensor = prepare(queries, stored, scale)
    sizes = [len(stored)] if groups is None else list(groups)
    if sum(sizes) != len(stored) or min(sizes, default=0) < 1:
        raise InputError(f"groups are {sizes}: expected numbers of at least 1 that add up to {len(stored)} patterns.")
    if dense(queries, stored):
        return plain.retrieval(queries, stored, scale_tensor, sizes)
    return RETRIEVAL(queries, stored, scale_tensor, groups=sizes)[0]


def _slices(sizes: Sequence[int]) -> list[slice]:
    """The rows of each group."""
    ends = accumulate(sizes)
    return [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]


class _Retrieval(Statistic):
    """Rectangular case: the patterns of each group for all queries."""

    @staticmethod
    def forward(queries: Tensor, stored: Tensor, scale: Tensor, sizes: Sequence[int]) -> tuple[Tensor, Tensor]:
        shifted = not bounded(queries, stored, scale, None)
        result = queries.new_zeros(len(sizes), *queries.shape)
        normaliser = queries.new_empty(len(sizes), len(queries))
        for mean, logsumexp, part in zip(result, normaliser, _slices(sizes), strict=True):
            sums, patterns = RowSums(queries, shifted), stored[part]
            for rows, columns, logits in Tiles(queries, patterns, scale, None, None):
                exponentials, decay = sums.add(rows, logits)
                if isinstance(decay, Tensor):
                    mean[rows] *= decay[:, None]
                mean[rows].addmm_(exponentials, patterns[columns])
            mean /= sums.total[:, None]
            logsumexp.copy_(sums.logsumexp())
        return result, normaliser

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        queries, stored, scale, ctx.sizes = inputs
        result, normaliser, *_ = output
        ctx.save_for_backward(queries, stored, scale, result, normaliser)
        ctx.mark_non_differentiable(normaliser)
        ctx.set_materialize_grads(False)

    @staticmethod
    @second_derivatives(lambda ctx, q, x, s: plain.retrieval(q, x, s, ctx.sizes))
    def backward(ctx: Any, gradient: Tensor, *_: None) -> tuple[Tensor | None, ...]:
        queries, stored, scale, result, normaliser = ctx.saved_tensors
        # ∂/∂s_ij = p_ij (⟨g_i, stored_j⟩ − ⟨g_i, result_i⟩)
        grad_queries, grad_stored = torch.zeros_like(queries), torch.zeros_like(stored)
        for group, part in enumerate(_slices(ctx.sizes)):
            own, patterns, grad_patterns = gradient[group], stored[part], grad_stored[part]
            mean = (own * result[group]).sum(dim=1)
            for rows, columns, logits in Tiles(queries, patterns, scale, None, None):
                weight = logits.sub_(normaliser[group, rows, None]).exp_()
                slope = torch.mm(own[rows], patterns[columns].T).sub_(mean[rows, None]).mul_(weight)
                grad_patterns[columns].addmm_(weight.T, own[rows])
                grad_patterns[columns].addmm_(slope.T, queries[rows] * scale)
                grad_queries[rows].addmm_(slope, patterns[columns])
        grad_scale = (queries * grad_queries).sum() if ctx.needs_input_grad[2] else None
        return grad_queries.mul_(scale), grad_stored, grad_scale, None


class _SymmetricRetrieval(Statistic):
    """Queries are the patterns, and no exponential can overflow: a tile serves its rows and its columns."""

    @staticmethod
    def forward(points: Tensor, scale: Tensor, sizes: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        result = points.new_zeros(len(sizes), *points.shape)
        total = points.new_zeros(len(sizes), len(points))
        kept = large_room(points, sum(_kept(sizes, points.device.type)))
        for (row_group, rows), (column_group, columns), exponentials in _triangle(points, scale, sizes, kept, True):
            total[column_group, rows] += exponentials.sum(dim=1)
            result[column_group, rows].addmm_(exponentials, points[columns])
            if rows != columns:
                total[row_group, columns] += exponentials.sum(dim=0)
                result[row_group, columns].addmm_(exponentials.T, points[rows])
        result /= total[..., None]
        return result, total, kept

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
        points, scale, ctx.sizes = inputs
        ctx.save_for_backward(points, scale, *output)
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)

    @staticmethod
    @second_derivatives(lambda ctx, x, s: plain.retrieval(x, x, s, ctx.sizes))
    def backward(ctx: Any, gradient: Tensor, *_: None) -> tuple[Tensor | None, ...]:
        points, scale, result, total, kept = ctx.saved_tensors
        # With shares g / Z the exponentials themselves serve as weights of both roles of a pair.
        share = gradient / total[..., None]
        offset = -torch.stack([(rows * means).sum(dim=1) for rows, means in zip(share, result, strict=True)])
        grad_points, grad_scale, factor = torch.zeros_like(points), torch.zeros_like(scale), float(scale)
        for (row_group, rows), (column_group, columns), exponentials in _triangle(
            points, scale, ctx.sizes, kept, False
        ):
            of_rows, of_columns = share[column_group, rows], share[row_group, columns]
            slope = torch.empty_like(exponentials)
            if rows == columns:
                slope.copy_(offset[column_group, rows, None].expand_as(slope))
            else:
                torch.add(offset[column_group, rows, None], offset[row_group, None, columns], out=slope)
                slope.addmm_(points[rows], of_columns.T)
                grad_points[rows].addmm_(exponentials, of_columns)
            slope.addmm_(of_rows, points[columns].T)
            grad_points[columns].addmm_(exponentials.T, of_rows)
            slope *= exponentials
            if ctx.needs_input_grad[1]:
                grad_scale += (points[rows] * (slope @ points[columns])).sum()
            grad_points[rows].addmm_(slope, points[columns], alpha=factor)
            grad_points[columns].addmm_(slope.T, points[rows], alpha=factor)
        return grad_points, grad_scale if ctx.needs_input_grad[1] else None, None


def _pairs(sizes: Sequence[int]) -> list[tuple[tuple[int, slice], tuple[int, slice]]]:
    """The number and the rows of both groups of a pair, for all pairs on and above the diagonal."""
    return list(combinations_with_replacement(enumerate(_slices(sizes)), 2))


def _kept(sizes: Sequence[int], device_type: str) -> list[int]:
    """How many exponentials of each pair of groups are kept for the gradient; the pairs share what is affordable."""
    pairs = _pairs(sizes)
    return [
        kept_entries(sizes[row], sizes[column], device_type, triangle=row == column, matrices=len(pairs))
        for (row, _), (column, _) in pairs
    ]


def _triangle(
    points: Tensor, scale: Tensor, sizes: Sequence[int], kept: Tensor, first_pass: bool
) -> Iterator[tuple[tuple[int, slice], tuple[int, slice], Tensor]]:
    """Exponentials on and above the diagonal, each tile within one pair of groups: (group, rows), (group, columns), e.

    A first pass leaves in `kept` what the second one takes from there.
    """
    rooms = kept.split(_kept(sizes, points.device.type))
    for ((row_group, above), (column_group, left)), room in zip(_pairs(sizes), rooms, strict=True):
        tiles = Tiles(points[above], points[left], scale, None, None)
        passed = {"room" if first_pass else "kept": room}
        for rows, columns, exponentials in tiles.exponentials(above == left, **passed):
            yield (
                (row_group, slice(above.start + rows.start, above.start + rows.stop)),
                (column_group, slice(left.start + columns.start, left.start + columns.stop)),
                exponentials,
            )


def _choose(given: Arguments) -> Choice:
    """Patterns that retrieve from themselves need half of the matrix if nothing overflows."""
    queries, stored, scale, sizes = given.queries, given.keys, given.scale, given.groups
    if queries is stored and bounded(stored, stored, scale, None):
        return _SymmetricRetrieval, (stored, scale, sizes)
    return _Retrieval, (queries, stored, scale, sizes)


def _shapes(given: Arguments) -> list[Shape]:
    queries, groups = given.queries, given.groups
    kept = sum(_kept(groups, queries.device.type)) if queries is given.keys else 0
    return [(len(groups), *queries.shape), (len(groups), len(queries)), (kept,)]


RETRIEVAL = Operator("softmax_retrieval", _choose, _shapes, outputs=3)
