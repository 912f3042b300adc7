"""Row statistics of a similarity matrix that is never stored whole.

A similarity matrix `s = queries @ keys.T` is only ever reduced along its rows. The two primitives here compute the
reductions in tiles and recompute the tiles for the gradient, so that memory grows with N + M, not with N·M. Where rows
and columns are symmetric, tiles are kept for the gradient up to a limit, which saves a quarter of the products.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dipole.errors import InputError
from dipole.ops.derivatives import second_derivatives
from dipole.ops.door import looking, public, traced
from dipole.ops.fused import fusable, fused_logsumexp, fused_softmax_mean
from dipole.ops.operators import Arguments, Operator, Shape, dense
from dipole.ops.plain import logits_of, logsumexp, softmax_mean
from dipole.ops.rows import Exclusion, RowSums, as_columns, normaliser_of, prepare
from dipole.ops.statistics import Choice, Statistic, apply
from dipole.ops.tiles import Tiles, bounded, kept_entries

__all__ = ["pairwise_logsumexp", "pairwise_softmax_mean"]


@public
def pairwise_logsumexp(
    queries: Float[Tensor, "n d"],
    keys: Float[Tensor, "m d"],
    scale: float | Float[Tensor, ""] = 1.0,
    *,
    exclude: Int[Tensor, "n"] | Int[Tensor, "n e"] | Bool[Tensor, "n m"] | Literal["own"] | None = None,
    log_weight: Float[Tensor, "m"] | Float[Tensor, "n m"] | None = None,
) -> Float[Tensor, "n"]:
    """Compute `log Σ_j exp(scale · ⟨queries_i, keys_j⟩ + log_weight_ij)` for every row i, over the j not excluded.

    Gradients reach `queries`, `keys` and `scale`. When `queries is keys` the symmetric half of the matrix is computed
    once, provided that `exclude` is symmetric too (j is excluded from row i whenever i is from row j) and that
    `log_weight` is given per key. Inputs in half precision are accumulated in float32; float64 stays float64.

    Args:
        queries: (N, D), used as they are: normalise them first for cosine similarities.
        keys: (M, D).
        scale: factor of the similarities, 1 / temperature; a number or a learnable scalar.
        exclude: columns left out of each row: indices (N,) or (N, E), where a negative index stands for none,
            a mask (N, M) that is True where the pair is left out, or `"own"`: key i of query i, where N = M.
        log_weight: constant added to the logits, per key (M,) or per pair (N, M); −inf leaves a key out.

    Returns:
        (N,); −inf for a row in which nothing is left.

    Raises:
        InputError: queries or keys are no matrices of one width, or `exclude` or `log_weight` does not fit them.

    Example:
        >>> z = torch.eye(3)
        >>> pairwise_logsumexp(z, z, 2.0, exclude=torch.arange(3))  # log(e⁰ + e⁰)
        tensor([0.6931, 0.6931, 0.6931])
    """
    given = queries, keys
    queries, keys, scale_tensor = prepare(queries, keys, scale)
    exclude = as_columns(exclude, queries, keys)
    if log_weight is not None:
        if log_weight.shape not in {keys.shape[:1], (len(queries), len(keys))}:
            raise InputError(f"log_weight has shape {tuple(log_weight.shape)}: expected one per key or one per pair.")
        log_weight = log_weight.detach().to(queries.dtype)
    if dense(queries, keys):
        return logsumexp(logits_of(queries, keys, scale_tensor, exclude, log_weight), dim=1)
    operands = given if fusable(*given) else (queries, keys)
    return LOGSUMEXP(*operands, scale_tensor, exclude=exclude, log_weight=log_weight)[0]


@public
def pairwise_softmax_mean(
    queries: Float[Tensor, "n d"],
    keys: Float[Tensor, "m d"],
    weight_scale: float | Float[Tensor, ""],
    value: Callable[[Tensor], Tensor] | None = None,
    *,
    exclude: Int[Tensor, "n"] | Int[Tensor, "n e"] | Bool[Tensor, "n m"] | Literal["own"] | None = None,
    detach_weights: bool = False,
) -> Float[Tensor, "n"]:
    """Compute `Σ_j softmax_j(weight_scale · s_ij) · value(s_ij)` with `s_ij = ⟨queries_i, keys_j⟩` for every row i.

    Args:
        queries: (N, D), used as they are.
        keys: (M, D).
        weight_scale: factor of the similarities inside the softmax; 0 gives the plain mean.
        value: elementwise differentiable function of the similarities; the identity if it is None. It must not
            hold parameters of its own: no gradient reaches them.
        exclude: columns left out of each row, as for `pairwise_logsumexp`.
        detach_weights: treat the softmax weights as constants in the gradient.

    Returns:
        (N,); 0 for a row in which nothing is left.

    Raises:
        InputError: queries or keys are no matrices of one width, or `exclude` does not fit them.

    Example:
        >>> z = torch.eye(3)
        >>> pairwise_softmax_mean(z, z, 0.0)  # the plain mean of each row
        tensor([0.3333, 0.3333, 0.3333])
    """
    given = queries, keys
    queries, keys, scale_tensor = prepare(queries, keys, weight_scale)
    exclude = as_columns(exclude, queries, keys)
    if dense(queries, keys) or (value is not None and traced()):
        return softmax_mean(queries, keys, scale_tensor, value, exclude, detach_weights)
    if value is not None:
        return apply(_SoftmaxMean, queries, keys, scale_tensor, value, exclude, detach_weights)[0]
    operands = given if fusable(*given) else (queries, keys)
    return SOFTMAX_MEAN(*operands, scale_tensor, exclude=exclude, constant_weights=detach_weights)[0]


def constant_weights_mean(
    queries: Tensor, keys: Tensor, weight_scale: float | Tensor, exclude: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Compute `pairwise_softmax_mean` with constant weights of constant keys, and `pairwise_logsumexp`, a constant too.

    One pass over the similarities serves both, and their gradient needs none.

    Returns:
        (N,) the means and (N,) the logarithms of the sums of the weights.
    """
    keys = keys.detach()
    queries, keys, scale_tensor = prepare(queries, keys, weight_scale)
    columns = as_columns(exclude, queries, keys)
    if dense(queries, keys):
        fixed = logits_of(queries.detach(), keys, scale_tensor, columns)
        return softmax_mean(queries, keys, scale_tensor, None, columns, True), logsumexp(fixed, dim=1)
    mean, mass = CONSTANT_WEIGHTS_MEAN(queries, keys, scale_tensor, exclude=columns, constant_weights=True)
    return mean, mass


def _is_symmetric(exclude: Exclusion, rows: int) -> bool:
    """Whether j is excluded from row i exactly when i is excluded from row j."""
    if exclude is None or isinstance(exclude, str):
        return True
    if not looking():
        return False  # it is not known
    if exclude.dtype == torch.bool:
        return bool(torch.equal(exclude, exclude.T))
    if exclude.shape[1] == 1:
        other = exclude[:, 0]
        back = other[other.clamp_min(0)]
        return bool(((other < 0) | (back == torch.arange(rows, device=other.device))).all())
    row = torch.arange(rows, device=exclude.device)[:, None].expand_as(exclude)[exclude >= 0]
    column = exclude[exclude >= 0]
    return torch.equal(torch.unique(row * rows + column), torch.unique(column * rows + row))


class _LogSumExp(Statistic):
    """Rectangular case: rows and columns are different vectors."""

    @staticmethod
    def forward(
        queries: Tensor, keys: Tensor, scale: Tensor, exclude: Exclusion, log_weight: Tensor | None
    ) -> tuple[Tensor]:
        sums = RowSums(queries, shifted=not bounded(queries, keys, scale, log_weight))
        for rows, _, logits in Tiles(queries, keys, scale, exclude, log_weight):
            sums.add(rows, logits)
        return (sums.logsumexp(),)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        queries, keys, scale, ctx.exclude, log_weight = inputs
        ctx.save_for_backward(queries, keys, scale, log_weight, output[0])

    @staticmethod
    @second_derivatives(lambda ctx, q, k, s: logsumexp(logits_of(q, k, s, ctx.exclude, ctx.saved_tensors[3]), 1))
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        queries, keys, scale, log_weight, result = ctx.saved_tensors
        to_queries, to_keys, to_scale = ctx.needs_input_grad[:3]
        tiles = Tiles(queries, keys, scale, ctx.exclude, log_weight)
        normaliser = normaliser_of(result)[:, None]
        grad_queries = torch.zeros_like(queries)
        grad_keys = torch.zeros_like(keys) if to_keys else None
        for rows, columns, logits in tiles:
            weight = logits.sub_(normaliser[rows]).exp_().mul_(gradient[rows, None])
            if to_queries or to_scale:
                grad_queries[rows].addmm_(weight, keys[columns])
            if grad_keys is not None:
                grad_keys[columns].addmm_(weight.T, queries[rows])
        grad_scale = (queries * grad_queries).sum() if to_scale else None
        return grad_queries * scale, None if grad_keys is None else grad_keys * scale, grad_scale, None, None


class _SymmetricLogSumExp(Statistic):
    """Queries are the keys, and no exponential can overflow: one triangle of the matrix serves rows and columns."""

    @staticmethod
    def forward(
        points: Tensor, scale: Tensor, exclude: Exclusion, log_weight: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        total = points.new_zeros(len(points))
        weight = None if log_weight is None else log_weight.exp()
        tiles = Tiles(points, points, scale, exclude, None)
        for rows, columns, exponentials in tiles.exponentials(triangle=True):
            total[rows].add_(exponentials.sum(dim=1) if weight is None else exponentials @ weight[columns])
            if columns.start != rows.start:
                total[columns].add_(exponentials.sum(dim=0) if weight is None else weight[rows] @ exponentials)
        return total.log(), total, tiles.kept

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
        points, scale, ctx.exclude, log_weight = inputs
        _, total, kept = output
        ctx.save_for_backward(points, scale, log_weight, total, kept)
        ctx.mark_non_differentiable(total, kept)
        ctx.set_materialize_grads(False)

    @staticmethod
    @second_derivatives(lambda ctx, x, s: logsumexp(logits_of(x, x, s, ctx.exclude, ctx.saved_tensors[2]), 1))
    def backward(ctx: Any, gradient: Tensor, *_: None) -> tuple[Tensor | None, ...]:
        points, scale, log_weight, total, kept = ctx.saved_tensors
        key_weight = None if log_weight is None else log_weight.exp()
        # p_ij g_i + p_ji g_j = exp(s_ij) (w_j g_i / Z_i + w_i g_j / Z_j): one exponential for both roles of a pair.
        share = torch.where(total > 0, gradient / total, 0.0)
        to_scale = ctx.needs_input_grad[1]
        if not to_scale:  # N products in place of N·D
            share.mul_(scale)
        grad_points = torch.zeros_like(points)
        tiles = Tiles(points, points, scale, ctx.exclude, None)
        buffer = torch.empty_like(tiles.buffer)
        for rows, columns, exponentials in tiles.exponentials(triangle=True, kept=kept):
            weight = buffer[: exponentials.numel()].view_as(exponentials)
            if key_weight is None:
                torch.add(share[rows, None], share[None, columns], out=weight)
            else:
                torch.outer(share[rows], key_weight[columns], out=weight).addr_(key_weight[rows], share[columns])
            weight.mul_(exponentials)
            grad_points[rows].addmm_(weight, points[columns])
            if columns.start != rows.start:
                grad_points[columns].addmm_(weight.T, points[rows])
        grad_scale = (points * grad_points).sum() / 2 if to_scale else None
        return grad_points.mul_(scale) if to_scale else grad_points, grad_scale, None, None


class _SoftmaxMean(Statistic):
    """Softmax-weighted mean of a function of the similarities."""

    @staticmethod
    def forward(
        queries: Tensor,
        keys: Tensor,
        weight_scale: Tensor,
        value: Callable[[Tensor], Tensor] | None,
        exclude: Exclusion,
        detach_weights: bool,
    ) -> tuple[Tensor, Tensor]:
        sums = RowSums(queries, shifted=not bounded(queries, keys, weight_scale, None))
        weighted = queries.new_zeros(len(queries))
        for rows, columns, similarities in Tiles(queries, keys, torch.ones_like(weight_scale), None, None):
            weights, decay = sums.add(rows, _weight_logits(similarities, weight_scale, exclude, rows, columns))
            values = similarities if value is None else value(similarities)
            weighted[rows] = weighted[rows] * decay + weights.mul_(values).sum(dim=1)
        mean = torch.where(sums.total > 0, weighted / sums.total, 0.0)
        return mean, normaliser_of(sums.logsumexp())

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        queries, keys, weight_scale, ctx.value, ctx.exclude, ctx.detach_weights = inputs
        mean, normaliser, *_ = output
        ctx.save_for_backward(queries, keys, weight_scale, mean, normaliser)
        ctx.mark_non_differentiable(normaliser)
        ctx.set_materialize_grads(False)

    @staticmethod
    @second_derivatives(lambda ctx, q, k, s: softmax_mean(q, k, s, ctx.value, ctx.exclude, ctx.detach_weights))
    def backward(ctx: Any, gradient: Tensor, *_: None) -> tuple[Tensor | None, ...]:
        queries, keys, weight_scale, mean, normaliser = ctx.saved_tensors
        to_queries, to_keys, to_scale = ctx.needs_input_grad[:3]
        grad_queries = torch.zeros_like(queries) if to_queries else None
        grad_keys = torch.zeros_like(keys) if to_keys else None
        grad_scale = torch.zeros_like(weight_scale)
        for rows, columns, similarities in Tiles(queries, keys, torch.ones_like(weight_scale), None, None):
            weights = _weight_logits(similarities, weight_scale, ctx.exclude, rows, columns)
            weights.sub_(normaliser[rows, None]).exp_().mul_(gradient[rows, None])
            values, slopes = _value_and_slope(ctx.value, similarities)
            if ctx.detach_weights:
                slope = weights * slopes
            else:
                deviation = values - mean[rows, None]
                slope = weights * (slopes + weight_scale * deviation)
                if to_scale:
                    grad_scale += (weights * similarities * deviation).sum()
            if grad_queries is not None:
                grad_queries[rows].addmm_(slope, keys[columns])
            if grad_keys is not None:
                grad_keys[columns].addmm_(slope.T, queries[rows])
        return grad_queries, grad_keys, grad_scale if to_scale else None, None, None, None


class _RetrievedMean(Statistic):
    """With constant weights and keys the slope of the mean is the mean key, which is retrieved with it."""

    @staticmethod
    def forward(
        queries: Tensor, keys: Tensor, weight_scale: Tensor, exclude: Exclusion
    ) -> tuple[Tensor, Tensor, Tensor]:
        tiles, retrieved = Tiles(queries, keys, weight_scale, exclude, None), torch.zeros_like(queries)
        if bounded(queries, keys, weight_scale, None):
            total = queries.new_zeros(len(queries))
            for rows, columns, weights in tiles.exponentials(kept=queries.new_empty(0)):
                total[rows].add_(weights.sum(dim=1))
                retrieved[rows].addmm_(weights, keys[columns])
            mass = total.log()
        else:
            sums = RowSums(queries, shifted=True)
            for rows, columns, logits in tiles:
                weights, decay = sums.add(rows, logits)
                retrieved[rows] *= decay[:, None] if isinstance(decay, Tensor) else decay
                retrieved[rows].addmm_(weights, keys[columns])
            total, mass = sums.total, sums.logsumexp()
        retrieved = torch.where(total > 0, 1 / total, 0.0)[:, None].mul(retrieved)
        return (queries * retrieved).sum(dim=1), mass, retrieved

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
        queries, keys, weight_scale, ctx.exclude = inputs
        _, mass, retrieved = output
        ctx.save_for_backward(queries, keys, weight_scale, retrieved)
        ctx.mark_non_differentiable(mass, retrieved)
        ctx.set_materialize_grads(False)

    @staticmethod
    @second_derivatives(lambda ctx, q, k, s: (softmax_mean(q, k, s, None, ctx.exclude, True),))
    def backward(ctx: Any, gradient: Tensor, *_: None) -> tuple[Tensor | None, ...]:
        of_scale = torch.zeros_like(ctx.saved_tensors[2]) if ctx.needs_input_grad[2] else None
        return gradient[:, None] * ctx.saved_tensors[3], None, of_scale, None


def _weight_logits(
    similarities: Tensor, weight_scale: Tensor, exclude: Exclusion, rows: slice, columns: slice
) -> Tensor:
    """The logits of the softmax for one tile, −inf where a pair is excluded."""
    return Tiles.mask(similarities * weight_scale, exclude, rows, columns)


def _value_and_slope(value: Callable[[Tensor], Tensor] | None, similarities: Tensor) -> tuple[Tensor, Tensor | float]:
    """The value of every similarity and its derivative."""
    if value is None:
        return similarities, 1.0
    with torch.enable_grad():
        # A copy: the tile's buffer is written again while the graph of the values still refers to it.
        point = similarities.clone().requires_grad_()
        values = value(point)
    (slope,) = torch.autograd.grad(values, point, torch.ones_like(values))
    return values.detach(), slope


def _choose_logsumexp(given: Arguments) -> Choice:
    """The symmetric half of the matrix is enough where exclusions and weights are symmetric and nothing overflows."""
    queries, keys, scale, exclude, log_weight = given.queries, given.keys, given.scale, given.exclude, given.log_weight
    if given.fused:
        return fused_logsumexp(queries, keys, scale, exclude, log_weight, given.needs[2])
    of_keys = log_weight is None or log_weight.ndim == 1
    symmetric = queries is keys and of_keys and _is_symmetric(exclude, len(queries))
    if symmetric and bounded(queries, queries, scale, log_weight):
        return _SymmetricLogSumExp, (queries, scale, exclude, log_weight)
    return _LogSumExp, (queries, keys, scale, exclude, log_weight)


def _choose_softmax_mean(given: Arguments) -> Choice:
    """With constant weights of constant keys one pass is enough."""
    queries, keys, scale, exclude, constant = (
        given.queries,
        given.keys,
        given.scale,
        given.exclude,
        given.constant_weights,
    )
    if given.fused:
        return fused_softmax_mean(queries, keys, scale, exclude, constant)
    if constant and not given.needs[1]:
        return _RetrievedMean, (queries, keys, scale, exclude)
    return _SoftmaxMean, (queries, keys, scale, None, exclude, constant)


def _logsumexp_shapes(given: Arguments) -> list[Shape]:
    rows, columns = len(given.queries), len(given.keys)
    kept = 0
    if given.queries is given.keys and not given.fused:
        kept = kept_entries(rows, columns, given.queries.device.type, triangle=True)
    return [(rows,), (rows,), (kept,)]


def _mean_shapes(given: Arguments) -> list[Shape]:
    rows = len(given.queries)
    retrieved = given.constant_weights and not given.needs[1] and not given.fused
    return [(rows,), (rows,), tuple(given.queries.shape) if retrieved else (rows,)]


LOGSUMEXP = Operator("pairwise_logsumexp", _choose_logsumexp, _logsumexp_shapes, outputs=3)
SOFTMAX_MEAN = Operator("pairwise_softmax_mean", _choose_softmax_mean, _mean_shapes, outputs=3)
CONSTANT_WEIGHTS_MEAN = Operator("constant_weights_mean", _choose_softmax_mean, _mean_shapes, outputs=3, results=2)
