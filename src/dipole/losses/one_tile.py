"""NT-Xent of a small batch, from the rows to the values of the anchors in one function.

Where all similarities fit into the cache, most of a loss's time goes into the operations around the two products of
matrices. Here they are as few as there can be: positives are read off the similarities, a length that is usual proves
that its row is finite, and the gradients of positives and denominators share a product.
"""

import math
from typing import Any

import torch
from torch import Tensor

from dipole.losses.common import plain_unit_rows, usual
from dipole.ops import world_size
from dipole.ops.derivatives import second_derivatives
from dipole.ops.door import looking
from dipole.ops.plain import logits_of, logsumexp
from dipole.ops.tiles import LOG2_E, exact_products

LARGEST = 768  # anchors; above it the tiles of a triangle are faster
SMALLEST_TEMPERATURE = {torch.float32: 0.02, torch.float64: 0.003}  # no sum of exponentials overflows or vanishes


def small_nt_xent(z1: Tensor, z2: Tensor, temperature: float | Tensor, gather: bool) -> Tensor | None:
    """Compute NT-Xent's value of each anchor of a small batch on the processor; None where this way is not open.

    It is open for two finite matrices of one shape and type without rows of unusual length. Others are for the general
    way, which also says what is wrong with them.

    Args:
        z1: (N, D) embeddings of the first view, of any length.
        z2: (N, D) of the second view.
        temperature: τ > 0; a number or a learnable scalar.
        gather: whether embeddings of all processes are contrasted with.

    Returns:
        (2N,), or None.
    """
    limit = SMALLEST_TEMPERATURE.get(z1.dtype)
    if limit is None or z2.dtype != z1.dtype or z1.ndim != 2 or z1.shape != z2.shape:
        return None
    if not 2 <= z1.shape[0] <= LARGEST // 2 or z1.device.type != "cpu" or not looking():
        return None
    learned = isinstance(temperature, Tensor)
    value = float(temperature.detach()) if isinstance(temperature, Tensor) and temperature.ndim == 0 else temperature
    if not isinstance(value, float | int) or not limit < value < math.inf or (gather and world_size() > 1):
        return None
    rows = torch.cat([z1.detach(), z2.detach()])
    length = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    if not usual(length):
        return None
    result: Tensor = _OneTile.apply(z1, z2, temperature if learned else None, rows, length, 1 / value)
    return result


def _plain(z1: Tensor, z2: Tensor, temperature: Tensor | float) -> Tensor:
    """The same by operations that can be differentiated again and again."""
    unit = plain_unit_rows(torch.cat([z1, z2]))
    scale = 1 / torch.as_tensor(temperature, dtype=unit.dtype)
    logits = logits_of(unit, unit, scale, "own")
    return logsumexp(logits, dim=1) - torch.cat([logits.diagonal(len(z1)), logits.diagonal(-len(z1))])


class _OneTile(torch.autograd.Function):
    """Values of the anchors; their exponentials, all of them, are kept for the gradient."""

    @staticmethod
    def forward(
        ctx: Any, z1: Tensor, z2: Tensor, temperature: Tensor | None, rows: Tensor, length: Tensor, scale: float
    ) -> Tensor:
        unit = rows.div_(length)
        logits = unit.new_empty(len(unit), len(unit))
        with exact_products("cpu"):  # to base 2, since the exponential to base e is up to three times slower
            torch.addmm(logits, unit, unit.T, beta=0, alpha=scale * LOG2_E, out=logits)
        positive = logits.diagonal(len(z1)) / LOG2_E
        exponentials = logits.exp2_()
        exponentials.diagonal().zero_()
        total = exponentials.sum(dim=1)
        ctx.save_for_backward(z1, z2, temperature, unit, length, exponentials, total)
        ctx.scale = scale
        return total.log().sub_(positive.repeat(2))

    @staticmethod
    @second_derivatives(lambda ctx, x, y, t: _plain(x, y, 1 / ctx.scale if t is None else t))
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        z1, _, temperature, unit, length, exponentials, total = ctx.saved_tensors
        share, rows = gradient / total, len(z1)
        weight = (share[:, None] + share).mul_(exponentials)
        both = gradient[:rows] + gradient[rows:]
        weight.diagonal(rows).sub_(both)
        weight.diagonal(-rows).sub_(both)
        with exact_products("cpu"):
            of_unit = torch.mm(weight, unit)
        of_temperature = None
        if temperature is not None and ctx.needs_input_grad[2]:
            of_temperature = (of_unit * unit).sum().mul_(-(ctx.scale**2) / 2).to(temperature.dtype)
        along = (of_unit * unit).sum(dim=1, keepdim=True)
        of_rows = torch.addcmul(of_unit, unit, along, value=-1).div_(length / ctx.scale)
        return of_rows[:rows], of_rows[rows:], of_temperature, None, None, None
