"""Statistics of the rows and of the columns of one similarity matrix, from one pass over its tiles."""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from dipole.ops.rows import RowSums, as_columns, normaliser_of, prepare
from dipole.ops.tiles import Tiles, bounded


def pairwise_logsumexp_both(
    queries: Float[Tensor, "n d"],
    keys: Float[Tensor, "m d"],
    scale: float | Float[Tensor, ""] = 1.0,
    *,
    exclude: Int[Tensor, "n"] | Int[Tensor, "n e"] | Bool[Tensor, "n m"] | None = None,
) -> tuple[Float[Tensor, "n"], Float[Tensor, "m"]]:
    """Compute the log-sum-exp of every row and of every column of `scale · queries @ keys.T`.

        rows_i = log Σ_j exp(scale · ⟨queries_i, keys_j⟩),    columns_j = log Σ_i exp(scale · ⟨queries_i, keys_j⟩)

    over the pairs that are not excluded. The result and the gradients are those of two calls of `pairwise_logsumexp`,
    for half of the work: each tile serves both directions. Gradients reach `queries`, `keys` and `scale`.

    Args:
        queries: (N, D), used as they are.
        keys: (M, D).
        scale: factor of the similarities, 1 / temperature; a number or a learnable scalar.
        exclude: pairs left out, as for `pairwise_logsumexp`: columns of each row, or a mask (N, M).

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
    queries, keys, scale_tensor = prepare(queries, keys, scale)
    exclude = as_columns(exclude, queries, keys)
    rows, columns = _LogSumExpBoth.apply(queries, keys, scale_tensor, exclude)
    return rows, columns


class _LogSumExpBoth(torch.autograd.Function):
    """Where no exponential can overflow, one of it serves the row and the column."""

    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, keys: Tensor, scale: Tensor, exclude: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        ctx.shifted = not bounded(queries, keys, scale, None)
        rows_sums, column_sums = RowSums(queries, ctx.shifted), RowSums(keys, ctx.shifted)
        tiles = Tiles(queries, keys, scale, exclude, None)
        copy = torch.empty_like(tiles.buffer) if ctx.shifted else None
        for rows, columns, logits in tiles:
            if copy is not None:
                column_sums.add(columns, copy[: logits.numel()].view_as(logits).copy_(logits).T)
            exponentials, _ = rows_sums.add(rows, logits)
            if copy is None:
                column_sums.total[columns] += exponentials.sum(dim=0)
        of_rows, of_columns = rows_sums.logsumexp(), column_sums.logsumexp()
        ctx.save_for_backward(queries, keys, scale, exclude, of_rows, of_columns)
        return of_rows, of_columns

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_rows: Tensor, to_columns: Tensor) -> tuple[Tensor | None, ...]:
        queries, keys, scale, exclude, of_rows, of_columns = ctx.saved_tensors
        row_normaliser, column_normaliser = normaliser_of(of_rows), normaliser_of(of_columns)
        if not ctx.shifted:
            # e / Z_row · g_row + e / Z_column · g_column = e · (share_row + share_column)
            to_rows, to_columns = to_rows * torch.exp(-row_normaliser), to_columns * torch.exp(-column_normaliser)
        grad_queries = torch.zeros_like(queries) if any(ctx.needs_input_grad[::2]) else None
        grad_keys = torch.zeros_like(keys) if ctx.needs_input_grad[1] else None
        tiles = Tiles(queries, keys, scale, exclude, None)
        other = torch.empty_like(tiles.buffer)
        for rows, columns, logits in tiles:
            of_column = other[: logits.numel()].view_as(logits)
            if ctx.shifted:
                torch.sub(logits, column_normaliser[None, columns], out=of_column)
                of_column.exp_().mul_(to_columns[None, columns])
                weight = logits.sub_(row_normaliser[rows, None]).exp_().mul_(to_rows[rows, None]).add_(of_column)
            else:
                torch.add(to_rows[rows, None], to_columns[None, columns], out=of_column)
                weight = logits.exp_().mul_(of_column)
            if grad_queries is not None:
                grad_queries[rows].addmm_(weight, keys[columns])
            if grad_keys is not None:
                grad_keys[columns].addmm_(weight.T, queries[rows])
        grad_scale = None
        if grad_queries is not None and ctx.needs_input_grad[2]:
            grad_scale = (queries * grad_queries).sum()
        return (
            grad_queries.mul_(scale) if grad_queries is not None else None,
            grad_keys.mul_(scale) if grad_keys is not None else None,
            grad_scale,
            None,
        )
