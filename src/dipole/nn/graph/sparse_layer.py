"""Products with attributes most of which are 0."""

import warnings
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

SPARSE = 0.05  # share of values that are not 0
SMALLEST = 1 << 18  # values below which it does not matter


def is_sparse_enough(x: Float[Tensor, "n f"]) -> bool:
    """Return whether a sparse product with attributes is worth its while: they are many, few are not 0, none learned.

    Example:
        >>> is_sparse_enough(torch.eye(1000)), is_sparse_enough(torch.ones(1000, 1000))
        (True, False)
    """
    if x.requires_grad or x.numel() < SMALLEST or x.device.type != "cpu":
        return False
    return int(x.count_nonzero()) < SPARSE * x.numel()


def sparse_product(x: Float[Tensor, "n f"], weight: Float[Tensor, "f d"]) -> Float[Tensor, "n d"]:
    """Compute `x @ weight` from the values that are not 0, in both directions; gradients reach the weight alone.

    Example:
        >>> sparse_product(torch.eye(2), torch.tensor([[1.0], [2.0]])).tolist()
        [[1.0], [2.0]]
    """
    found: Tensor = _SparseProduct.apply(x, weight)
    return found


class _SparseProduct(torch.autograd.Function):
    """Rows are compressed once; of the gradient, the columns."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        rows = _csr(x)
        ctx.columns = _csr(x.T) if weight.requires_grad else None
        return rows @ weight

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        return None, ctx.columns @ gradients[0].contiguous()


def _csr(x: Tensor) -> Tensor:
    """Compressed rows."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*Sparse CSR tensor support is in beta.*")
        return x.to_sparse_csr()
