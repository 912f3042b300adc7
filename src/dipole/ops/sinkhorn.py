"""Sinkhorn's iterations: balanced assignment, and optimal transport in the logarithm."""

from typing import NamedTuple

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor

from dipole.errors import InputError
from dipole.ops.checks import check_at_least, check_temperature
from dipole.ops.distributed import world_size
from dipole.ops.door import looking, public

RELAXATION = 0.1  # added to an ε whose exponentials overflow


class Assignment(NamedTuple):
    """Attributes:

    weights: (N, P), rows of sum 1.
    epsilon: with which they were found.
    """

    weights: Tensor
    epsilon: float


class Plan(NamedTuple):
    """Attributes:

    plan: π (N, M), what goes where.
    cost: Σ π C.
    """

    plan: Tensor
    cost: Tensor


@public
def sinkhorn_assign(
    scores: Float[Tensor, "n p"], *, epsilon: float = 0.05, iterations: int = 10, gather: bool = False
) -> Assignment:
    """Assign rows to prototypes, to each about as many: rows and columns of `exp(scores/ε)` are scaled in turn.

    Where an exponential overflows, or a whole column vanishes, ε grows by 0.1 until none does, as in the authors' code.

    Cuturi: *Sinkhorn Distances* (NeurIPS 2013); Caron et al.: *SwAV* (NeurIPS 2020); used by BECLR (ICLR 2024).

    Args:
        scores: (N, P), large where a prototype is near.
        epsilon: ε.
        iterations: of rows and columns.
        gather: balance over the rows of all processes.

    Raises:
        InputError: ε is not above 0, or no iteration.

    Example:
        >>> sinkhorn_assign(torch.tensor([[1.0, 0.9], [1.0, 0.0]]), epsilon=0.1).weights.argmax(dim=1)
        tensor([1, 0])
    """
    check_temperature(epsilon, "epsilon")
    check_at_least(iterations, 1, "iterations")
    everywhere = gather and world_size() > 1
    while True:
        found = _balanced(scores.detach() / epsilon, iterations, everywhere)
        wrong = (~found.isfinite()).any().to(torch.float32)
        if everywhere:
            dist.all_reduce(wrong)
        # Where values are not looked at, the ε that was asked for has to do.
        if not looking() or not bool(wrong):
            return Assignment(found, epsilon)
        if not bool(scores.isfinite().all()):
            raise InputError("scores contain NaN or infinite values: look at the encoder's output.")
        epsilon += RELAXATION


def _balanced(logits: Tensor, iterations: int, everywhere: bool) -> Tensor:
    """Scale columns and rows of the exponentials in turn."""

    def joined(value: Tensor) -> Tensor:
        if everywhere:
            dist.all_reduce(value)
        return value

    count = len(logits) * (world_size() if everywhere else 1)
    q = logits.exp().T
    q = q / joined(q.sum())
    for _ in range(iterations):
        q = q / joined(q.sum(dim=1, keepdim=True)) / len(q)
        q = q / q.sum(dim=0, keepdim=True) / count
    return (q * count).T


@public
def sinkhorn_log(
    cost: Float[Tensor, "n m"], *, epsilon: float = 0.05, max_iterations: int = 1000, threshold: float = 1e-4
) -> Plan:
    """Transport uniform masses at the least cost, with entropy of weight ε, computed in the logarithm:

        u ← ε (log μ − LSE_j((−C + u + v)/ε)) + u,   v likewise,   π = exp((−C + u + v)/ε)

    Args:
        cost: C (N, M).
        epsilon: ε.
        max_iterations: at most.
        threshold: ends where Σ|Δu| is below it.

    Raises:
        InputError: a setting is out of range.

    Example:
        >>> plan, _ = sinkhorn_log(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
        >>> plan.round(decimals=3)
        tensor([[0.5000, 0.0000],
                [0.0000, 0.5000]])
    """
    check_temperature(epsilon, "epsilon")
    check_at_least(max_iterations, 1, "max_iterations")
    rows, columns = cost.shape
    # As in the authors' code, which guards the logarithm of an empty marginal.
    log_rows = torch.log(cost.new_tensor(1.0 / rows) + 1e-8)
    log_columns = torch.log(cost.new_tensor(1.0 / columns) + 1e-8)
    u, v = cost.new_zeros(rows), cost.new_zeros(columns)
    for _ in range(max_iterations):
        before = u
        u = epsilon * (log_rows - ((u[:, None] + v - cost) / epsilon).logsumexp(dim=1)) + u
        v = epsilon * (log_columns - ((u[:, None] + v - cost) / epsilon).logsumexp(dim=0)) + v
        if float((u - before).detach().abs().sum()) < threshold:
            break
    plan = ((u[:, None] + v - cost) / epsilon).exp()
    return Plan(plan, (plan * cost).sum())
