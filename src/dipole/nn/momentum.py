"""Momentum encoder: a copy that follows slowly."""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from dipole.errors import InputError


class MomentumEncoder(nn.Module):
    """A copy of a module whose parameters are an exponential moving average of the module's.

    `update` sets `θ_k ← m θ_k + (1 − m) θ_q`. Buffers (batch statistics) are the copy's own. No gradient reaches it.

    He et al.: *Momentum Contrast for Unsupervised Visual Representation Learning* (CVPR 2020), eq. 2.

    Args:
        module: the module to follow.
        momentum: m, from 0 (always equal) to 1 (never changes).

    Raises:
        InputError: `momentum` is outside [0, 1].

    Example:
        >>> online = nn.Linear(1, 1, bias=False)
        >>> slow = MomentumEncoder(online, momentum=0.9)
        >>> _ = online.weight.data.fill_(1.0), slow.module.weight.data.fill_(0.0)
        >>> slow.update(online)
        >>> slow.module.weight.item()  # 0.9 · 0 + 0.1 · 1
        0.10000000149011612
    """

    def __init__(self, module: nn.Module, momentum: float = 0.999) -> None:
        super().__init__()
        if not 0 <= momentum <= 1:
            raise InputError(f"momentum is {momentum}: expected a number from 0 to 1, e.g. 0.999.")
        self.momentum = momentum
        self.module = copy.deepcopy(module).requires_grad_(False)

    @torch.no_grad()
    def update(self, module: nn.Module, momentum: float | None = None) -> None:
        """Move the parameters towards those of `module`, by 1 − momentum."""
        momentum = self.momentum if momentum is None else momentum
        slow: list[Tensor] = list(self.module.parameters())
        fast: list[Tensor] = list(module.parameters())
        torch._foreach_lerp_(slow, fast, 1 - momentum)

    @torch.no_grad()
    def forward(self, *inputs: Any) -> Any:
        """Call the copy without recording gradients."""
        return self.module(*inputs)


def cosine_momentum(progress: float, start: float) -> float:
    """Compute `m(t) = 1 − ½ (1 + cos(π t/T)) (1 − m₀)`, which rises from m₀ to 1 over training.

    Args:
        progress: t/T, from 0 to 1.
        start: m₀.

    Example:
        >>> cosine_momentum(0.0, 0.99), cosine_momentum(1.0, 0.99)
        (0.99, 1.0)
    """
    return 1 - (1 + math.cos(math.pi * progress)) / 2 * (1 - start)
