"""The learnable scale of logits, the inverse of a temperature."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dipole.errors import InputError
from dipole.losses.common import accumulate


class LogitScale(nn.Module):
    """A positive scalar s = 1 / τ, learned as log s.

    In log space a step changes the scale by a factor, and it stays positive. Losses take `temperature`, the inverse.
    As a scalar it gets no weight decay from `dipole.methods.optimization.build_optimizer`.

    Radford et al.: *Learning Transferable Visual Models From Natural Language Supervision* (ICML 2021), sec. 2.5.

    Args:
        initial: s at the start; CLIP's 1 / 0.07.
        minimum: to which `clamp_` raises the scale; None for no bound.
        maximum: to which `clamp_` lowers the scale; None for no bound.
        learnable: False to keep the initial value.

    Raises:
        InputError: a number is not positive, or the initial value is out of bounds.

    Example:
        >>> scale = LogitScale(10.0)
        >>> scale(), scale.temperature
        (tensor(10., grad_fn=<ExpBackward0>), tensor(0.1000, grad_fn=<ExpBackward0>))
    """

    def __init__(
        self,
        initial: float = 1 / 0.07,
        *,
        minimum: float | None = 1.0,
        maximum: float | None = 100.0,
        learnable: bool = True,
    ) -> None:
        super().__init__()
        for name, value in (("initial", initial), ("minimum", minimum), ("maximum", maximum)):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise InputError(f"{name} is {value}: expected a number above 0; a scale is 1 / temperature.")
        lowest, highest = minimum or 0.0, maximum or math.inf
        if not lowest <= initial <= highest:
            raise InputError(f"initial is {initial}: expected a scale from {lowest} to {highest}, the bounds given.")
        self.minimum, self.maximum = minimum, maximum
        self.log_scale = nn.Parameter(torch.tensor(math.log(initial)), requires_grad=learnable)

    def forward(self) -> Float[Tensor, ""]:
        """Return s."""
        return accumulate(self.log_scale).exp()

    @property
    def temperature(self) -> Float[Tensor, ""]:
        """τ = 1 / s."""
        return (-accumulate(self.log_scale)).exp()

    @torch.no_grad()
    def clamp_(self) -> None:
        """Bring the scale back within its bounds; call it after every step of the optimiser."""
        if self.minimum is not None or self.maximum is not None:
            bounds = [None if bound is None else math.log(bound) for bound in (self.minimum, self.maximum)]
            self.log_scale.clamp_(*bounds)

    def extra_repr(self) -> str:
        """Show the settings."""
        learnable = self.log_scale.requires_grad
        return f"scale={float(self()):.4g}, minimum={self.minimum}, maximum={self.maximum}, learnable={learnable}"
