"""Embeddings of all processes, with gradients."""

import atexit
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float, Shaped
from torch import Tensor

from dipole.errors import InputError
from dipole.ops.derivatives import first_derivative_only
from dipole.ops.door import public


def world_size() -> int:
    """Number of processes that train together; 1 outside a distributed run."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Index of this process among `world_size()`; 0 outside a distributed run."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


@public
def gather(x: Shaped[Tensor, "n *d"]) -> Shaped[Tensor, "m *d"]:
    """Concatenate the rows of all processes, those of process 0 first; gradients flow back to where rows came from.

    The gradient of a row is the **sum** over the processes' losses. With a loss that is a mean over the local rows and
    data-parallel training that averages parameter gradients, the result equals one process with the joined batch.

    Args:
        x: this process's rows; every process must hold as many.

    Returns:
        (world_size · N, …); `x` itself outside a distributed run. This process's rows start at `rank() · N`.

    Raises:
        InputError: the processes hold different numbers of rows.

    Example:
        >>> gather(torch.ones(2, 3)).shape
        torch.Size([2, 3])
    """
    if world_size() == 1:
        return x
    rows = torch.tensor([len(x), -len(x)], device=x.device)
    dist.all_reduce(rows, op=dist.ReduceOp.MAX)
    if int(rows[0]) != -int(rows[1]):
        raise InputError(
            f"process {rank()} holds {len(x)} rows, others between {-int(rows[1])} and {int(rows[0])}: "
            "gather=True needs equal batches; drop the last incomplete batch."
        )
    result: Tensor = _Gather.apply(x)
    return result


@public
def gather_mean(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Average a tensor over all processes, with gradients; for losses that are not themselves a mean over rows.

    Example:
        >>> gather_mean(torch.tensor(2.0))
        tensor(2.)
    """
    return x if world_size() == 1 else gather(x[None]).mean(dim=0)


class _Gather(torch.autograd.Function):
    """All-gather, whose adjoint gives each process the sum of the gradients of its own rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        rows = x.new_empty(world_size() * len(x), *x.shape[1:])
        dist.all_gather(list(rows.chunk(world_size())), x.contiguous())
        return rows

    @staticmethod
    @first_derivative_only
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous()
        own = torch.empty_like(gradient.chunk(world_size())[rank()])
        dist.reduce_scatter(own, list(gradient.chunk(world_size())))
        return own


def _leave() -> None:
    """End the group of processes before the interpreter ends, whose libraries must not find its threads at work."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


atexit.register(_leave)
