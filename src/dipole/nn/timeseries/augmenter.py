"""AutoTCL's learned augmentation: what of a series is kept, and how it is changed."""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dipole.nn.timeseries.dilated import DilatedConvEncoder
from dipole.nn.timeseries.gate import hard_concrete
from dipole.ops.checks import check_choice

GateLogit = Literal["sigmoid", "raw"]


class LearnedView(NamedTuple):
    """A view of series and how much of each value the network wants to keep."""

    view: Tensor  # (N, T, C)
    kept: Tensor  # (N, T, C): w, from 0 to 1


class LearnedAugmenter(nn.Module):
    """Factorise a series into what is informative and the rest, and transform the informative part.

        w = σ(Linear_h(e(x))),  q = σ(Linear_g(e(x)))      both (N, T, C)
        v = q ⊙ m ⊙ x,          m ~ hard_concrete(w)

    In the authors' code w, which is between 0 and 1, is itself the logit of the gate, so that a gate is open with a
    probability between about .5 and .73. `gate_logit="raw"` takes the logit of w, as in the paper.

    Zheng et al.: *Parametric Augmentation for Time Series Contrastive Learning* (ICLR 2024): factorised augmentation.

    Args:
        trunk: e.
        bias: of the gate's noise.
        gamma: stretch of the gate.
        temperature: of the gate.
        hard: gates of 0 and 1.
        gate_logit: `"sigmoid"` or `"raw"`.

    Raises:
        InputError: an unknown `gate_logit`.

    Example:
        >>> augmenter = LearnedAugmenter(DilatedConvEncoder(2, hidden=4, depth=1, features=3, kernels=(1,)))
        >>> augmenter(torch.randn(5, 24, 2)).view.shape
        torch.Size([5, 24, 2])
    """

    def __init__(
        self,
        trunk: DilatedConvEncoder,
        *,
        bias: float = 0.4,
        gamma: float = 0.005,
        temperature: float = 1.0,
        hard: bool = True,
        gate_logit: GateLogit = "sigmoid",
    ) -> None:
        super().__init__()
        check_choice(gate_logit, ("sigmoid", "raw"), "gate_logit")
        self.trunk = trunk
        self.keep = nn.Linear(trunk.features, trunk.channels)
        self.transform = nn.Linear(trunk.features, trunk.channels)
        self.bias, self.gamma, self.temperature, self.hard = bias, gamma, temperature, hard
        self.gate_logit: GateLogit = gate_logit

    def forward(self, x: Float[Tensor, "n t c"], uniform: Float[Tensor, "n t c"] | None = None) -> LearnedView:
        """Return a view and w; values that are missing in x are missing in the view.

        Args:
            x: (N, T, C).
            uniform: noise of the gates; drawn from torch's global generator if None.
        """
        uniform = torch.rand_like(x) if uniform is None else uniform
        shared = self.trunk(x)
        logit = self.keep(shared)
        kept = logit.sigmoid()
        gate = hard_concrete(
            kept if self.gate_logit == "sigmoid" else logit,
            uniform,
            bias=self.bias,
            gamma=self.gamma,
            temperature=self.temperature,
            hard=self.hard,
        )
        # The gradient of a product with NaN would be NaN.
        view = self.transform(shared).sigmoid() * gate * x.nan_to_num()
        return LearnedView(view.masked_fill(x.isnan(), torch.nan), kept)
