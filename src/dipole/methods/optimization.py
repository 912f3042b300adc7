"""Optimisers and learning-rate schedules by name."""

import math
from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import nn

from dipole.errors import InputError
from dipole.ops.checks import check_at_least

OptimizerName = Literal["sgd", "adam", "adamw", "lars"]


def build_optimizer(
    parameters: Iterable[tuple[str, nn.Parameter]],
    name: OptimizerName = "sgd",
    *,
    learning_rate: float,
    weight_decay: float = 0.0,
    momentum: float = 0.9,
) -> torch.optim.Optimizer:
    """Build an optimiser; vectors and scalars (biases, norms, temperatures) get no weight decay.

    Args:
        parameters: named parameters; those that need no gradient are left out.
        name: `"sgd"`, `"adam"`, `"adamw"` or `"lars"` (from timm).
        learning_rate: of the first step after warm-up.
        weight_decay: of the matrices and filters.
        momentum: of `"sgd"` and `"lars"`.

    Raises:
        InputError: an unknown name or an impossible number.

    Example:
        >>> build_optimizer(nn.Linear(2, 2).named_parameters(), "adam", learning_rate=1e-3).defaults["lr"]
        0.001
    """
    check_optimization(learning_rate, weight_decay, momentum)
    trained = [parameter for _, parameter in parameters if parameter.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if name == "sgd":
        return torch.optim.SGD(groups, lr=learning_rate, momentum=momentum)
    if name == "adam":
        return torch.optim.Adam(groups, lr=learning_rate)
    if name == "adamw":
        return torch.optim.AdamW(groups, lr=learning_rate)
    if name == "lars":
        from timm.optim import Lars

        return Lars(groups, lr=learning_rate, momentum=momentum, trust_coeff=0.001)
    raise InputError(f"optimizer is {name!r}: expected 'sgd', 'adam', 'adamw' or 'lars'.")


def check_optimization(learning_rate: float, weight_decay: float, momentum: float) -> None:
    """Require numbers that an optimiser can work with.

    Raises:
        InputError: the learning rate is not above 0, or one of the others is negative.
    """
    if not (math.isfinite(learning_rate) and learning_rate > 0):
        raise InputError(f"learning_rate is {learning_rate}: expected a number above 0.")
    check_at_least(weight_decay, 0, "weight_decay")
    check_at_least(momentum, 0, "momentum")


def learning_rate_factor(
    step: int, total: int, *, warmup: int = 0, schedule: Literal["cosine", "constant"] = "cosine"
) -> float:
    """Return the factor of the learning rate at a step: linear warm-up, then half a cosine or a constant.

    Args:
        step: from 0.
        total: number of steps in the run.
        warmup: number of steps in which the factor rises to 1.
        schedule: what follows the warm-up.

    Example:
        >>> [round(learning_rate_factor(step, 5, warmup=1), 2) for step in range(5)]
        [1.0, 1.0, 0.85, 0.5, 0.15]
    """
    if step < warmup:
        return (step + 1) / warmup
    if schedule == "constant":
        return 1.0
    progress = (step - warmup) / max(1, total - warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
