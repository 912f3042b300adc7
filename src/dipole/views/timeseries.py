"""Views of time series that are made by hand: noise, scaling, cut-outs, hidden steps."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dipole.errors import InputError
from dipole.ops.checks import check_at_least, check_choice

Hiding = Literal["none", "binomial", "continuous"]
_STRETCHES, _STRETCH = 5, 0.1  # of "continuous"


class SeriesViews(nn.Module):
    """Augment series that are scaled to unit deviation.

        v = cut_out(a ⊙ x + noise),   noise ~ N(0, jitter²),   a ~ N(1, scaling²) for each channel

    Cut-outs set a stretch of each series, at a random place, to 0. What is missing stays missing.

    Luo et al.: *Time Series Contrastive Learning with Information-Aware Augmentations* (AAAI 2023); Yue et al.:
    *TS2Vec* (AAAI 2022) for hidden steps.

    Args:
        jitter: deviation of the noise.
        scaling: deviation of the factor.
        cut_out: share of the steps that are set to 0, from 0 to 1.
        hide: steps that the encoder does not see, see `hide_steps`.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> views = SeriesViews(jitter=0.0, cut_out=0.5)
        >>> (views(torch.ones(1, 8, 1), generator=torch.Generator().manual_seed(0)) == 0).sum()
        tensor(4)
    """

    def __init__(self, jitter: float = 0.3, scaling: float = 0.0, cut_out: float = 0.0, hide: Hiding = "none") -> None:
        super().__init__()
        check_at_least(jitter, 0, "jitter")
        check_at_least(scaling, 0, "scaling")
        if not 0 <= cut_out <= 1:
            raise InputError(f"cut_out is {cut_out}: expected a share of the steps from 0 to 1.")
        check_choice(hide, ("none", "binomial", "continuous"), "hide")
        self.jitter, self.scaling, self.cut_out = jitter, scaling, cut_out
        self.hide: Hiding = hide

    def forward(
        self, series: Float[Tensor, "n t c"], *, generator: torch.Generator | None = None
    ) -> Float[Tensor, "n t c"]:
        """Return one view of each series.

        Args:
            series: (N, T, C), scaled.
            generator: of the random numbers, on the device of the series; torch's global one if None.
        """
        count, steps, channels = series.shape
        noise = torch.randn(series.shape, generator=generator, device=series.device, dtype=series.dtype)
        factor = torch.randn((count, 1, channels), generator=generator, device=series.device, dtype=series.dtype)
        view = series * (1 + self.scaling * factor) + self.jitter * noise
        length = round(self.cut_out * steps)
        start = torch.randint(steps - length + 1, (count, 1), generator=generator, device=series.device)
        step = torch.arange(steps, device=series.device)
        cut = (step >= start) & (step < start + length)
        view = torch.where(cut[:, :, None] & ~series.isnan(), 0, view)
        return hide_steps(view, self.hide, generator=generator)


def hide_steps(
    series: Float[Tensor, "n t c"], hiding: Hiding, *, generator: torch.Generator | None = None
) -> Float[Tensor, "n t c"]:
    """Make steps missing, so that an encoder does not see them.

    `"binomial"` hides each step with a probability of ½, `"continuous"` five stretches of a tenth of the steps.

    Yue et al.: *TS2Vec* (AAAI 2022), timestamp masking.

    Args:
        series: (N, T, C).
        hiding: `"none"`, `"binomial"` or `"continuous"`.
        generator: of the random numbers; torch's global one if None.

    Example:
        >>> hidden = hide_steps(torch.ones(1, 100, 2), "binomial", generator=torch.Generator().manual_seed(0))
        >>> 30 < hidden.isnan().all(dim=2).sum() < 70
        tensor(True)
    """
    check_choice(hiding, ("none", "binomial", "continuous"), "hiding")
    count, steps, _ = series.shape
    if hiding == "none":
        return series
    if hiding == "binomial":
        hidden = torch.rand((count, steps), generator=generator, device=series.device) < 0.5
    else:
        length = max(1, int(_STRETCH * steps))
        start = torch.randint(steps - length + 1, (count, _STRETCHES, 1), generator=generator, device=series.device)
        step = torch.arange(steps, device=series.device)
        hidden = ((step >= start) & (step < start + length)).any(dim=1)
    return series.masked_fill(hidden[:, :, None], torch.nan)
