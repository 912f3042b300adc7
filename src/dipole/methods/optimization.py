"""Optimisers and learning-rate schedules by name."""

import math
from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import nn

from dipole.errors import InputError
from dipole.ops.checks import check_at_least

OptimizerName = Literal["sgd", "adam", "adamw", "lars"]
ScheduleName = Literal["cosine", "cosine_restarts", "constant", "linear", "linear_contriever"]


def build_optimizer(
    parameters: Iterable[tuple[str, nn.Parameter]],
    name: OptimizerName = "sgd",
    *,
    learning_rate: float,
    weight_decay: float = 0.0,
    momentum: float = 0.9,
    adam_beta2: float = 0.999,
    adam_epsilon: float = 1e-8,
    decay_all: bool = False,
) -> torch.optim.Optimizer:
    """Build an optimiser; vectors and scalars (biases, norms, temperatures) get no weight decay by default.

    Args:
        parameters: named parameters; those that need no gradient are left out.
        name: `"sgd"`, `"adam"`, `"adamw"` or `"lars"` (from timm).
        learning_rate: of the first step after warm-up.
        weight_decay: of the matrices and filters.
        momentum: of `"sgd"` and `"lars"`.
        adam_beta2: β₂ of `"adam"` and `"adamw"`; β₁ is 0.9.
        adam_epsilon: ε of `"adam"` and `"adamw"`.
        decay_all: vectors and scalars decay too.

    Raises:
        InputError: an unknown name or an impossible number.

    Example:
        >>> build_optimizer(nn.Linear(2, 2).named_parameters(), "adam", learning_rate=1e-3).defaults["lr"]
        0.001
    """
    check_optimization(learning_rate, weight_decay, momentum, adam_beta2, adam_epsilon)
    trained = [parameter for _, parameter in parameters if parameter.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trained if decay_all or p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if not decay_all and p.ndim <= 1], "weight_decay": 0.0},
    ]
    adam: dict[str, Any] = {"lr": learning_rate, "betas": (0.9, adam_beta2), "eps": adam_epsilon}
    groups = [group for group in groups if group["params"]]
    if name == "sgd":
        return torch.optim.SGD(groups, lr=learning_rate, momentum=momentum)
    if name == "adam":
        return torch.optim.Adam(groups, **adam)
    if name == "adamw":
        return torch.optim.AdamW(groups, **adam)
    if name == "lars":
        from timm.optim import Lars

        return Lars(groups, lr=learning_rate, momentum=momentum, trust_coeff=0.001)
    raise InputError(f"optimizer is {name!r}: expected 'sgd', 'adam', 'adamw' or 'lars'.")


def check_optimization(
    learning_rate: float,
    weight_decay: float,
    momentum: float,
    adam_beta2: float = 0.999,
    adam_epsilon: float = 1e-8,
) -> None:
    """Require numbers that an optimiser can work with.

    Raises:
        InputError: the learning rate or ε is not above 0, β₂ is not in [0, 1), or one of the others is negative.
    """
    if not (math.isfinite(learning_rate) and learning_rate > 0):
        raise InputError(f"learning_rate is {learning_rate}: expected a number above 0.")
    check_at_least(weight_decay, 0, "weight_decay")
    check_at_least(momentum, 0, "momentum")
    if not 0 <= adam_beta2 < 1:
        raise InputError(f"adam_beta2 is {adam_beta2}: expected a number from 0 to below 1, e.g. 0.999.")
    if not (math.isfinite(adam_epsilon) and adam_epsilon > 0):
        raise InputError(f"adam_epsilon is {adam_epsilon}: expected a number above 0, e.g. 1e-8.")


def learning_rate_factor(
    step: int,
    total: int,
    *,
    warmup: int = 0,
    schedule: ScheduleName = "cosine",
    min_ratio: float = 0.0,
    warmup_start: float | None = None,
    cycles: int = 1,
) -> float:
    """Return the factor of the learning rate at a step: linear warm-up, then half a cosine, a line or a constant.

    With `"linear"`, as in transformers, and with `"cosine_restarts"`, as in CLOOB, the first step of the warm-up has
    the factor 0. `"linear_contriever"` is the factor of Contriever's authors: its warm-up rises to 1 − r only, and
    jumps to 1.

    Args:
        step: from 0.
        total: number of steps in the run.
        warmup: number of steps in which the factor rises to 1.
        schedule: what follows the warm-up.
        min_ratio: r, the factor at the end.
        warmup_start: factor of the first step of the warm-up of `"cosine"` and `"constant"`; 1 / warmup if None.
        cycles: half cosines of `"cosine_restarts"`.

    Example:
        >>> [round(learning_rate_factor(step, 5, warmup=1), 2) for step in range(5)]
        [1.0, 1.0, 0.85, 0.5, 0.15]
        >>> [learning_rate_factor(step, 4, warmup=2, schedule="linear") for step in range(5)]
        [0.0, 0.5, 1.0, 0.5, 0.0]
        >>> [round(learning_rate_factor(step, 6, schedule="cosine_restarts", cycles=2), 2) for step in range(7)]
        [1.0, 0.75, 0.25, 1.0, 0.75, 0.25, 0.0]
    """
    if step < warmup:
        if schedule in ("linear", "cosine_restarts"):
            return step / warmup
        if schedule == "linear_contriever":
            return (1 - min_ratio) * step / warmup
        if warmup_start is None:
            return (step + 1) / warmup
        return warmup_start + (1 - warmup_start) * step / max(1, warmup - 1)
    if schedule == "constant":
        return 1.0
    progress = (step - warmup) / max(1, total - warmup)
    if schedule in ("linear", "linear_contriever"):
        return max(0.0, 1 - (1 - min_ratio) * progress)
    if schedule == "cosine_restarts" and progress < 1:
        progress = cycles * progress % 1
    return min_ratio + (1 - min_ratio) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
