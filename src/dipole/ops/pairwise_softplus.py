"""The sum of a softplus over all entries of a similarity matrix, whose gradient is found in the same pass."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from dipole.ops.derivatives import second_derivatives
from dipole.ops.door import public
from dipole.ops.operators import Arguments, Operator, Shape, dense
from dipole.ops.rows import as_scalar, prepare
from dipole.ops.statistics import Choice, Statistic
from dipole.ops.tiles import LOG2_E, Tiles, bounded


@public
def pairwise_softplus_sum(
    queries: Float[Tensor, "n d"],
    keys: Float[Tensor, "m d"],
    scale: float | Float[Tensor, ""] = 1.0,
    bias: float | Float[Tensor, ""] = 0.0,
) -> Float[Tensor, ""]:
    """Compute `Σ_i Σ_j log(1 + exp(scale · ⟨queries_i, keys_j⟩ + bias))`.

    Gradients reach all four arguments. A sum has one upstream gradient, a number: so the weights σ(logit) of a tile
    serve the gradient while the tile is there, and no similarity is computed twice. Memory grows with N + M.

    Args:
        queries: (N, D), used as they are.
        keys: (M, D).
        scale: factor of the similarities; a number or a learnable scalar.
        bias: added to each; a number or a learnable scalar.

    Raises:
        InputError: queries or keys are no matrices of one width.

    Example:
        >>> pairwise_softplus_sum(torch.zeros(2, 1), torch.zeros(3, 1))  # 6 log 2
        tensor(4.1589)
    """
    queries, keys, scale_tensor = prepare(queries, keys, scale)
    bias_tensor = as_scalar(bias, queries).reshape(())
    if dense(queries, keys):
        return _plain(queries, keys, scale_tensor, bias_tensor)
    return SOFTPLUS_SUM(queries, keys, scale_tensor, bias=bias_tensor)[0]


def _plain(queries: Tensor, keys: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """The same of the whole matrix."""
    logits = scale * (queries @ keys.T) + bias
    return torch.logaddexp(logits, torch.zeros_like(logits)).sum()


class _SoftplusSum(Statistic):
    """The sum, and its gradients of the similarities multiplied into queries and keys."""

    @staticmethod
    def forward(
        queries: Tensor, keys: Tensor, scale: Tensor, bias: Tensor, needs: tuple[bool, ...]
    ) -> tuple[Tensor | None, ...]:
        to_queries, to_keys, to_scale, to_bias = needs
        of_queries = torch.zeros_like(queries) if to_queries or to_scale else None
        of_keys = torch.zeros_like(keys) if to_keys else None
        weight, safe = bias.detach().expand(len(keys)), bounded(queries, keys, scale, bias.detach()[None])
        factor = LOG2_E if safe else 1.0  # the exponential to base 2 is the faster one
        tiles = Tiles(queries, keys, scale * factor, None, weight * factor)
        buffers = torch.empty_like(tiles.buffer), torch.empty_like(tiles.buffer)
        sums, shares = [], []
        for rows, columns, logits in tiles:
            first, second = (buffer[: logits.numel()].view_as(logits) for buffer in buffers)
            sums.append(_softplus_to_sigmoid(logits, first, second, safe))
            if of_queries is not None:
                of_queries[rows].addmm_(logits, keys[columns])
            if of_keys is not None:
                of_keys[columns].addmm_(logits.T, queries[rows])
            if to_bias:
                shares.append(logits.sum())
        of_bias = torch.stack(shares).sum() if to_bias else None
        of_scale = (queries * of_queries).sum() if to_scale and of_queries is not None else None
        found = [part.mul_(scale) if part is not None else None for part in (of_queries, of_keys)]
        return torch.stack(sums).sum(), found[0] if to_queries else None, found[1], of_scale, of_bias

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor | None, ...]) -> None:
        *tensors, ctx.needs = inputs
        ctx.save_for_backward(*tensors, *output[1:])
        ctx.mark_non_differentiable(*(part for part in output[1:] if part is not None))
        ctx.set_materialize_grads(False)

    @staticmethod
    @second_derivatives(lambda ctx, q, k, s, b: _plain(q, k, s, b))
    def backward(ctx: Any, gradient: Tensor, *_: None) -> tuple[Tensor | None, ...]:
        found = ctx.saved_tensors[4:]
        return *(part * gradient if need else None for part, need in zip(found, ctx.needs, strict=True)), None


def _softplus_to_sigmoid(tile: Tensor, first: Tensor, second: Tensor, safe: bool) -> Tensor:
    """Return the sum of a tile's softplus, and turn the tile into σ. Where nothing can overflow, it comes to base 2."""
    if not safe:
        magnitude = torch.abs(tile, out=first)
        total = magnitude.neg_().exp_().log1p_().sum() + torch.clamp_min(tile, 0, out=second).sum()
        tile.sigmoid_()
        return total
    # log1p(e) = log u + (e − (u − 1)) / u with the rounded u = 1 + e: as exact as torch.log1p, which takes longer than
    # a product of matrices.
    exponential = tile.exp2_()
    rounded = torch.add(exponential, 1, out=first)
    lost = torch.sub(exponential, torch.sub(rounded, 1, out=second), out=second).div_(rounded).sum()
    exponential.div_(rounded)
    return rounded.log_().sum() + lost


def _choose(given: Arguments) -> Choice:
    return _SoftplusSum, (given.queries, given.keys, given.scale, given.bias, given.needs)


def _shapes(given: Arguments) -> list[Shape]:
    of_queries, of_keys, of_scale, of_bias = given.needs
    size_of = (
        (tuple(given.queries.shape), of_queries),
        (tuple(given.keys.shape), of_keys),
        ((), of_scale),
        ((), of_bias),
    )
    return [(), *(size if wanted else (0,) for size, wanted in size_of)]


SOFTPLUS_SUM = Operator("pairwise_softplus_sum", _choose, _shapes, outputs=5)
