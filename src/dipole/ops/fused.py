"""The fused kernels behind the statistics of rows: when they are used, and what they save for the gradient."""

import importlib.util
import os
from functools import cache
from typing import Any

import torch
from torch import Tensor

from dipole.errors import InputError
from dipole.ops.derivatives import second_derivatives
from dipole.ops.plain import logits_of, logsumexp, softmax_mean
from dipole.ops.rows import Exclusion
from dipole.ops.statistics import Choice, Statistic

WIDEST = 1024  # columns of queries and keys
WIDEST_CHUNK = 256  # of a gradient that is held in registers
# Rows of a block, rows of the other side, columns read at once, warps, stages; the first is the default.
CONFIGURATIONS = (
    (64, 64, 64, 4, 2),
    (128, 64, 64, 8, 2),
    (64, 128, 64, 4, 3),
    (128, 128, 32, 8, 3),
    (32, 64, 64, 4, 2),
)

_fused = False
_tuned = False


class use_fused:  # noqa: N801 - used as torch.set_grad_enabled is
    """Switch on or off, from here on or within a `with` block, that statistics of rows run in fused Triton kernels.

    They are off until switched on. On, they serve `pairwise_logsumexp`, `pairwise_logsumexp_both`, and
    `pairwise_softmax_mean` of the similarities themselves, for float32, bfloat16 and float16 of at most 1,024 columns
    on an accelerator, and with them every loss that is made of these. Sums are taken in float32; products of float32
    are exact unless `torch.set_float32_matmul_precision` allows less. Gradients are the same in every run. Elsewhere
    the tiled functions do the work as ever.

    Args:
        enabled: whether the kernels are used.
        tune: whether sizes of blocks are measured at the first call for a width, in place of the fixed ones.

    Raises:
        InputError: Triton is not installed.

    Example:
        >>> from dipole.ops import pairwise_logsumexp
        >>> with use_fused(False):
        ...     pairwise_logsumexp(torch.zeros(2, 1), torch.zeros(3, 1))  # log 3
        tensor([1.0986, 1.0986])
    """

    def __init__(self, enabled: bool, *, tune: bool = False) -> None:
        global _fused, _tuned
        if enabled and importlib.util.find_spec("triton") is None:
            raise InputError("the fused kernels need Triton, which is not installed: pip install triton (Linux only).")
        self._before = _fused, _tuned
        _fused, _tuned = bool(enabled), bool(tune)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: Any) -> None:
        global _fused, _tuned
        _fused, _tuned = self._before


def fusable(queries: Tensor, keys: Tensor) -> bool:
    """Whether the kernels are switched on and can take these matrices; Triton's interpreter takes them anywhere."""
    if not _fused or queries.dtype != keys.dtype or queries.shape[1] > WIDEST or queries.dtype == torch.float64:
        return False
    return queries.is_cuda or os.environ.get("TRITON_INTERPRET") == "1"


def fused_logsumexp(
    queries: Tensor, keys: Tensor, scale: Tensor, exclude: Exclusion, log_weight: Tensor | None, to_scale: bool
) -> Choice:
    """The way to compute `pairwise_logsumexp` of checked arguments, and what to apply it to.

    Where queries are the keys and a pair is excluded together with its reverse without a look at values, the gradient
    takes both parts of a row at once.
    """
    one_way = isinstance(exclude, Tensor) or (log_weight is not None and log_weight.ndim == 2)
    symmetric = queries is keys and not one_way
    return _LogSumExp, (queries, keys, scale, exclude, log_weight, symmetric, to_scale)


def fused_softmax_mean(
    queries: Tensor, keys: Tensor, weight_scale: Tensor, exclude: Exclusion, detach_weights: bool
) -> Choice:
    """The same for `pairwise_softmax_mean` of the similarities themselves."""
    return _SoftmaxMean, (queries, keys, weight_scale, exclude, detach_weights)


class _LogSumExp(Statistic):
    """The slope of a row by its scale is its mean similarity, which is found with it."""

    @staticmethod
    def forward(
        queries: Tensor,
        keys: Tensor,
        scale: Tensor,
        exclude: Exclusion,
        log_weight: Tensor | None,
        symmetric: bool,
        to_scale: bool,
    ) -> tuple[Tensor, ...]:
        kernels = _Kernels(queries, keys, scale, exclude, log_weight)
        lse, mean, _ = kernels.statistics(moments=to_scale)
        return (lse,) if mean is None else (lse, mean)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        queries, keys, scale, ctx.exclude, log_weight, ctx.symmetric, _ = inputs
        ctx.save_for_backward(queries, keys, scale, log_weight, *output[:2])
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)

    @staticmethod
    @second_derivatives(lambda ctx, q, k, s: logsumexp(logits_of(q, k, s, ctx.exclude, ctx.saved_tensors[3]), 1))
    def backward(ctx: Any, gradient: Tensor, *_: None) -> tuple[Tensor | None, ...]:
        queries, keys, scale, log_weight, lse, *mean = ctx.saved_tensors
        to_queries, to_keys, to_scale = ctx.needs_input_grad[:3]
        kernels = _Kernels(queries, keys, scale, ctx.exclude, log_weight)
        of_queries: Tensor | None = None
        of_keys: Tensor | None = None
        if ctx.symmetric:
            of_queries = kernels.gradient("both", gradient, lse)
        else:
            of_queries = kernels.gradient("queries", gradient, lse) if to_queries else None
            of_keys = kernels.gradient("keys", gradient, lse) if to_keys else None
        return of_queries, of_keys, (gradient * mean[0]).sum() if to_scale else None, *[None] * 4


class _SoftmaxMean(Statistic):
    """The slope of a mean by the scale of its weights is a variance."""

    @staticmethod
    def forward(
        queries: Tensor, keys: Tensor, weight_scale: Tensor, exclude: Exclusion, detach_weights: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        lse, mean, square = _Kernels(queries, keys, weight_scale, exclude, None).statistics(moments=True)
        assert mean is not None
        assert square is not None
        return mean, lse, square

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
        queries, keys, weight_scale, ctx.exclude, ctx.detach_weights = inputs
        mean, lse, square = output
        ctx.save_for_backward(queries, keys, weight_scale, lse, mean, square)
        ctx.mark_non_differentiable(lse, square)
        ctx.set_materialize_grads(False)

    @staticmethod
    @second_derivatives(lambda ctx, q, k, s: softmax_mean(q, k, s, None, ctx.exclude, ctx.detach_weights))
    def backward(ctx: Any, gradient: Tensor, *_: None) -> tuple[Tensor | None, ...]:
        queries, keys, weight_scale, lse, mean, square = ctx.saved_tensors
        to_queries, to_keys, to_scale = ctx.needs_input_grad[:3]
        kernels = _Kernels(queries, keys, weight_scale, ctx.exclude, None)
        of_queries = kernels.gradient("queries", gradient, lse, mean, ctx.detach_weights) if to_queries else None
        of_keys = kernels.gradient("keys", gradient, lse, mean, ctx.detach_weights) if to_keys else None
        of_scale = (gradient * (square - mean.square())).sum() if to_scale else None
        if of_scale is not None and ctx.detach_weights:
            of_scale = torch.zeros_like(of_scale)
        return of_queries, of_keys, of_scale, None, None


class _Kernels:
    """The two kernels on one matrix of similarities."""

    def __init__(
        self, queries: Tensor, keys: Tensor, scale: Tensor, exclude: Exclusion, log_weight: Tensor | None
    ) -> None:
        self.queries, self.keys = queries.detach().contiguous(), keys.detach().contiguous()
        self.scale = scale.detach()
        self.weight: Tensor = self.scale if log_weight is None else log_weight.contiguous()
        self.weight_stride = len(keys) if self.weight.ndim == 2 else 0
        self.excluded, kind, slots = self.scale, "", 1
        if isinstance(exclude, str):
            kind = exclude
        elif exclude is not None:
            self.excluded = exclude.to(torch.uint8 if exclude.dtype == torch.bool else torch.int64).contiguous()
            kind, slots = ("mask", 1) if exclude.dtype == torch.bool else ("index", exclude.shape[1])
        self.constants = {
            "slots": slots,
            "WEIGHTED": log_weight is not None,
            "EXCLUDE": kind,
            "TF32": torch.get_float32_matmul_precision() != "highest",
        }

    def statistics(self, moments: bool) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Log-sum-exp of every row; its mean similarity and mean square, too, if they are asked for."""
        rows = len(self.queries)
        lse, mean, square = self.queries.new_empty((3, rows), dtype=torch.float32).unbind()
        _launch(
            "forward",
            rows,
            1,
            (self.queries, self.keys, self.scale, self.weight, self.excluded, lse, mean, square),
            (rows, len(self.keys), self.queries.shape[1], self.weight_stride),
            {**self.constants, "MEAN": moments},
        )
        return (lse, mean, square) if moments else (lse, None, None)

    def gradient(
        self, of: str, gradient: Tensor, lse: Tensor, mean: Tensor | None = None, detached: bool = False
    ) -> Tensor:
        """The gradient of queries, of keys, or of both where they are the same."""
        own, other = (self.keys, self.queries) if of == "keys" else (self.queries, self.keys)
        dim = own.shape[1]
        result = own.new_empty(own.shape, dtype=torch.float32)
        chunk = min(max(16, 1 << (dim - 1).bit_length()), WIDEST_CHUNK)  # a power of two
        sides = {"AS_QUERY": of != "keys", "AS_KEY": of != "queries"}
        _launch(
            "backward",
            len(own),
            -(-dim // chunk),
            (own, other, self.scale, self.weight, self.excluded, lse, lse if mean is None else mean),
            (gradient.to(torch.float32).contiguous(), result, len(own), len(other), dim, self.weight_stride),
            {**self.constants, **sides, "MEAN": mean is not None, "DETACHED": detached, "CHUNK": chunk},
        )
        return result.to(own.dtype)


def _launch(
    kernel: str, rows: int, chunks: int, first: tuple[Any, ...], rest: tuple[Any, ...], constants: dict[str, Any]
) -> None:
    """Start one program for each block of rows and chunk of columns."""
    if _tuned:
        _tuned_kernel(kernel)[lambda meta: (-(-rows // meta["OWN"]), chunks)](*first, *rest, **constants)
        return
    own, other, step, warps, stages = CONFIGURATIONS[0]
    warps = max(warps, constants.get("CHUNK", 0) // 32)  # so that each thread can hold its part of a wide gradient
    blocks = {"OWN": own, "OTHER": other, "STEP": step, "num_warps": warps, "num_stages": stages}
    _kernels()[kernel][(-(-rows // own), chunks)](*first, *rest, **constants, **blocks)


def _kernels() -> dict[str, Any]:
    """The kernels by name; imported late, since not every platform has Triton."""
    from dipole.ops import fused_kernels

    return {"forward": fused_kernels.forward, "backward": fused_kernels.backward}


@cache
def _tuned_kernel(kernel: str) -> Any:
    """A kernel whose sizes of blocks are measured once for each width."""
    import triton

    configurations = [
        triton.Config({"OWN": own, "OTHER": other, "STEP": step}, num_warps=warps, num_stages=stages)
        for own, other, step, warps, stages in CONFIGURATIONS
    ]
    return triton.autotune(configurations, key=["dim", "CHUNK"] if kernel == "backward" else ["dim"])(
        _kernels()[kernel]
    )
