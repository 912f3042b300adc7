"""Statistics of the rows and of the columns of one similarity matrix, from one pass over its tiles."""

from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dipole.ops.derivatives import second_derivatives
from dipole.ops.door import public
from dipole.ops.fused import fusable
from dipole.ops.operators import Arguments, Operator, Shape, dense
from dipole.ops.pairwise import LOGSUMEXP
from dipole.ops.plain import logits_of, logsumexp
from dipole.ops.rows import Exclusion, RowSums, as_columns, normaliser_of, prepare
from dipole.ops.statistics import Choice, Statistic
from dipole.ops.tiles import Tiles, bounded, kept_entries


@public
def pairwise_logsumexp_both(
    queries: Float[Tensor, "n d"],
    keys: Float[Tensor, "m d"],
    scale: float | Float[Tensor, ""] = 1.0,
    *,
    exclude: Int[Tensor, "n"] | Int[Tensor, "n e"] | Bool[Tensor, "n m"] | Literal["own"] | None = None,
) -> tuple[Float[Tensor, "n"], Float[Tensor, "m"]]:
    """Compute the log-sum-exp of every row and of every column of `scale · queries @ keys.T`.

        rows_i = log Σ_j exp(scale · ⟨queries_i, keys_j⟩),    columns_j = log Σ_i exp(scale · ⟨queries_i, keys_j⟩)

    over the pairs that are not excluded. The result and the gradients are those of two calls of `pairwise_logsumexp`,
    for half of the work: each tile serves both directions. Gradients reach `queries`, `keys` and `scale`.

    Args:
        queries: (N, D), used as they are.
        keys: (M, D).
        scale: factor of the similarities, 1 / temperature; a number or a learnable scalar.
        exclude: pairs left out, as for `pairwise_logsumexp`: columns of each row, a mask (N, M), or `"own"`.

    Returns:
        (N,) of the rows and (M,) of the columns; −inf where nothing is left.

    Raises:
        InputError: queries or keys are no matrices of one width, or `exclude` does not fit them.

    Example:
        >>> rows, columns = pairwise_logsumexp_both(torch.eye(2), torch.eye(3)[:, :2])
        >>> rows  # log(e + 2)
        tensor([1.5514, 1.5514])
        >>> columns  # log(e + 1), log(e + 1), log 2
        tensor([1.3133, 1.3133, 0.6931])
    """
    given = queries, keys
    queries, keys, scale_tensor = prepare(queries, keys, scale)
    exclude = as_columns(exclude, queries, keys)
    if dense(queries, keys):
        return _plain(queries, keys, scale_tensor, exclude)
    if fusable(*given) and not isinstance(exclude, Tensor):
        queries, keys = given
        rows = LOGSUMEXP(queries, keys, scale_tensor, exclude=exclude)
        columns = LOGSUMEXP(keys, queries, scale_tensor, exclude=exclude)
        return rows[0], columns[0]
    of_rows, of_columns = LOGSUMEXP_BOTH(queries, keys, scale_tensor, exclude=exclude)
    return of_rows, of_columns


def _plain(queries: Tensor, keys: Tensor, scale: Tensor, exclude: Exclusion) -> tuple[Tensor, Tensor]:
    """Both statistics of the whole matrix."""
    logits = logits_of(queries, keys, scale, exclude)
    return logsumexp(logits, dim=1), logsumexp(logits, dim=0)


class _LogSumExpBoth(Statistic):
    """No exponential can overflow: one of it serves the row and the column."""

    @staticmethod
    def forward(queries: Tensor, keys: Tensor, scale: Tensor, exclude: Exclusion) -> tuple[Tensor, ...]:
        of_rows, of_columns = queries.new_zeros(len(queries)), keys.new_zeros(len(keys))
        tiles = Tiles(queries, keys, scale, exclude, None)
        for rows, columns, exponentials in tiles.exponentials():
            of_rows[rows] += exponentials.sum(dim=1)
            of_columns[columns] += exponentials.sum(dim=0)
        return of_rows.log(), of_columns.log(), of_rows, of_columns, tiles.kept

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        queries, keys, scale, ctx.exclude = inputs
        ctx.save_for_backward(queries, keys, scale, *output[2:])
        ctx.mark_non_differentiable(*output[2:])
        ctx.set_materialize_grads(False)

    @staticmethod
    @second_derivatives(lambda ctx, q, k, s: _plain(q, k, s, ctx.exclude))
    def backward(ctx: Any, to_rows: Tensor | None, to_columns: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        queries, keys, scale, of_rows, of_columns, kept = ctx.saved_tensors
        # e / Z_row · g_row + e / Z_column · g_column = e · (share_row + share_column)
        of_row, of_column = (
            torch.zeros_like(total) if gradient is None else torch.where(total > 0, gradient / total, 0.0)
            for gradient, total in ((to_rows, of_rows), (to_columns, of_columns))
        )
        gradients = _Gradients(ctx, queries, keys, scale)
        tiles = Tiles(queries, keys, scale, ctx.exclude, None)
        buffer = torch.empty_like(tiles.buffer)
        for rows, columns, exponentials in tiles.exponentials(kept=kept):
            weight = buffer[: exponentials.numel()].view_as(exponentials)
            torch.add(of_row[rows, None], of_column[None, columns], out=weight)
            gradients.add(rows, columns, weight.mul_(exponentials))
        return *gradients.result(), None


class _ShiftedLogSumExpBoth(Statistic):
    """Exponentials are relative to the largest logit of their row, and to that of their column."""

    @staticmethod
    def forward(queries: Tensor, keys: Tensor, scale: Tensor, exclude: Exclusion) -> tuple[Tensor, Tensor]:
        row_sums, column_sums = RowSums(queries, shifted=True), RowSums(keys, shifted=True)
        tiles = Tiles(queries, keys, scale, exclude, None)
        copy = torch.empty_like(tiles.buffer)
        for rows, columns, logits in tiles:
            column_sums.add(columns, copy[: logits.numel()].view_as(logits).copy_(logits).T)
            row_sums.add(rows, logits)
        return row_sums.logsumexp(), column_sums.logsumexp()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        queries, keys, scale, ctx.exclude = inputs
        ctx.save_for_backward(queries, keys, scale, *output[:2])

    @staticmethod
    @second_derivatives(lambda ctx, q, k, s: _plain(q, k, s, ctx.exclude))
    def backward(ctx: Any, to_rows: Tensor | None, to_columns: Tensor | None, *_: None) -> tuple[Tensor | None, ...]:
        queries, keys, scale, of_rows, of_columns = ctx.saved_tensors
        to_rows = torch.zeros_like(of_rows) if to_rows is None else to_rows
        to_columns = torch.zeros_like(of_columns) if to_columns is None else to_columns
        of_rows, of_columns = normaliser_of(of_rows), normaliser_of(of_columns)
        gradients = _Gradients(ctx, queries, keys, scale)
        tiles = Tiles(queries, keys, scale, ctx.exclude, None)
        other = torch.empty_like(tiles.buffer)
        for rows, columns, logits in tiles:
            of_column = other[: logits.numel()].view_as(logits)
            torch.sub(logits, of_columns[None, columns], out=of_column)
            of_column.exp_().mul_(to_columns[None, columns])
            weight = logits.sub_(of_rows[rows, None]).exp_().mul_(to_rows[rows, None]).add_(of_column)
            gradients.add(rows, columns, weight)
        return *gradients.result(), None


class _Gradients:
    """What the gradients of the similarities, tile by tile, add up to for queries, keys and scale."""

    def __init__(self, ctx: Any, queries: Tensor, keys: Tensor, scale: Tensor) -> None:
        self.queries, self.keys, self.scale = queries, keys, scale
        _, to_keys, self.to_scale = ctx.needs_input_grad[:3]
        self.of_queries = torch.zeros_like(queries) if any(ctx.needs_input_grad[::2]) else None
        self.of_keys = torch.zeros_like(keys) if to_keys else None

    def add(self, rows: slice, columns: slice, weight: Tensor) -> None:
        """Add one tile of gradients (n, m) of the logits."""
        if self.of_queries is not None:
            self.of_queries[rows].addmm_(weight, self.keys[columns])
        if self.of_keys is not None:
            self.of_keys[columns].addmm_(weight.T, self.queries[rows])

    def result(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """The three gradients; None where none is needed."""
        of_scale = (self.queries * self.of_queries).sum() if self.to_scale and self.of_queries is not None else None
        return (
            self.of_queries.mul_(self.scale) if self.of_queries is not None else None,
            self.of_keys.mul_(self.scale) if self.of_keys is not None else None,
            of_scale,
        )


def _choose(given: Arguments) -> Choice:
    """Exponentials that cannot overflow serve rows and columns alike."""
    safe = bounded(given.queries, given.keys, given.scale, None)
    return _LogSumExpBoth if safe else _ShiftedLogSumExpBoth, (given.queries, given.keys, given.scale, given.exclude)


def _shapes(given: Arguments) -> list[Shape]:
    rows, columns = len(given.queries), len(given.keys)
    kept = kept_entries(rows, columns, given.queries.device.type, triangle=False)
    return [(rows,), (columns,), (rows,), (columns,), (kept,)]


LOGSUMEXP_BOTH = Operator("pairwise_logsumexp_both", _choose, _shapes, outputs=5, results=2)
