"""The losses of AutoTCL: contrast of whole series, contrast inside a series, and the objective of the augmentation.

Zheng, Wang, Cheng, Ma, Chen, Sha, Luo: *Parametric Augmentation for Time Series Contrastive Learning* (ICLR 2024).
"""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import accumulate, unit_rows
from dipole.losses.info_nce import info_nce_loss
from dipole.ops.checks import check_at_least, check_choice, check_embeddings, check_same_rows, check_temperature
from dipole.ops.door import looking, public

TimePooling = Literal["max", "mean"]
FEWEST_SEGMENTS = 4  # with three, the end ones would have no negative


@public
def pool_time(z: Float[Tensor, "n t d"], pooling: TimePooling = "max") -> Float[Tensor, "n d"]:
    """Pool representations of steps into one of the series.

    Raises:
        InputError: another rank, no step, or an unknown pooling.

    Example:
        >>> pool_time(torch.tensor([[[1.0, 4.0], [3.0, 2.0]]]))
        tensor([[3., 4.]])
    """
    check_choice(pooling, ("max", "mean"), "pooling")
    _check_steps(z)
    return z.amax(dim=1) if pooling == "max" else z.mean(dim=1)


@public
def global_info_nce_loss(
    z: Float[Tensor, "n t d"],
    z_view: Float[Tensor, "n t d"],
    *,
    pooling: TimePooling = "max",
    temperature: float = 1.0,
) -> Float[Tensor, ""]:
    """Compute InfoNCE between whole series and their views:

        ℓ_i = −s_ii / τ + log Σ_j exp(s_ij / τ),    s_ij = cos(pool_t z_i, pool_t z'_j)

    Conventions: pooled, then normalised; **one** direction, from series to views; mean over the N series. One series
    alone has no negatives: its loss is 0.

    Zheng et al. (ICLR 2024), global contrast.

    Args:
        z: (N, T, D) representations of the series.
        z_view: (N, T, D) of their views.
        pooling: over time, `"max"` or `"mean"`.
        temperature: τ > 0.

    Returns:
        The loss.

    Raises:
        InputError: shapes differ, a value is not finite, or an argument is out of range.

    Example:
        >>> z = torch.eye(4)[:, None]
        >>> global_info_nce_loss(z, z)  # log(e + 3) − 1
        tensor(0.7437)
    """
    pooled, pooled_view = pool_time(z, pooling), pool_time(z_view, pooling)
    if len(z) == 1:
        check_same_rows(z=pooled, z_view=pooled_view)
        check_temperature(temperature)
        return (pooled.sum() + pooled_view.sum()) * 0
    return info_nce_loss(pooled, pooled_view, temperature=temperature)


@public
def local_info_nce_loss(
    z: Float[Tensor, "n t d"],
    *,
    segments: int = 16,
    start: int | None = None,
    temperature: float = 1.0,
    series: Literal["all", "first"] = "all",
) -> Float[Tensor, ""]:
    """Compute InfoNCE between neighbouring segments of each series.

        u_i = max over segment i of z_t / ‖z_t‖,   k segments of ⌊T / k⌋ steps
        ℓ_i = −log exp(⟨u_i, u_p⟩ / τ) / (exp(⟨u_i, u_p⟩ / τ) + Σ_{j∈negatives} exp(⟨u_i, u_j⟩ / τ))

    The positive p of segment i is i + 1, of the last one i − 1. Segments next to i are no negatives; neither is the
    third one of the first, nor the third last of the last, so that all have k − 3 negatives.

    Conventions: every step is normalised here; mean over the segments and the series. Series shorter than k steps have
    no segments: the loss is 0. The authors' code looks at the first series of the batch only (`series="first"`).

    Luo et al.: *Time Series Contrastive Learning with Information-Aware Augmentations* (AAAI 2023); Zheng et al.
    (ICLR 2024), local contrast.

    Args:
        z: (N, T, D) representations of the steps.
        segments: k, 4 or more.
        start: step at which the first segment begins, from 0 to T − k ⌊T / k⌋; drawn from torch's global generator if
            None.
        temperature: τ > 0.
        series: `"all"`, or `"first"` of the batch.

    Returns:
        The loss.

    Raises:
        InputError: a value is not finite, or an argument is out of range.

    Example:
        >>> z = torch.eye(4)[None]
        >>> local_info_nce_loss(z, segments=4)  # orthogonal: log 2
        tensor(0.6931)
    """
    _check_steps(z)
    check_embeddings(z=z.flatten(0, 1))
    check_temperature(temperature)
    check_at_least(segments, FEWEST_SEGMENTS, "segments")
    check_choice(series, ("all", "first"), "series")
    z = accumulate(z if series == "all" else z[:1])
    steps = z.shape[1] // segments
    if steps == 0:
        return z.sum() * 0
    last_start = z.shape[1] - segments * steps
    if start is not None and not 0 <= start <= last_start:
        raise InputError(f"start is {start}: expected a step from 0 to {last_start}.")
    every = torch.arange(segments * steps, device=z.device)
    first = torch.randint(last_start + 1, (), device=z.device) if start is None else start
    used = unit_rows(z[:, first + every])
    pooled = used.unflatten(1, (segments, steps)).amax(dim=2)
    with torch.autocast(z.device.type, enabled=False):
        logits = pooled @ pooled.transpose(1, 2) / temperature
    index = torch.arange(segments, device=z.device)
    positive = torch.cat([index[1:], index[-2:-1]])
    excluded = (index[:, None] - index).abs() <= 1
    excluded[0, 2].fill_(True)
    excluded[-1, -3].fill_(True)
    excluded[index, positive] = False
    logits = logits.masked_fill(excluded, -torch.inf)
    return (logits.logsumexp(dim=2) - logits[:, index, positive]).mean()


@public
def multi_kernel_mmd(
    x: Float[Tensor, "n d"], y: Float[Tensor, "n d"], *, kernels: int = 5, ratio: float = 2.0
) -> Float[Tensor, ""]:
    """Compute the maximum mean discrepancy of two samples with a sum of Gaussian kernels:

        mean(K_xx + K_yy − K_xy − K_yx),   K_ab = Σ_i exp(−‖a − b‖² / (h rⁱ)),  i = 0 … k − 1

    h is the mean squared distance of two different points of x and y, divided by `r^⌊k/2⌋`, a constant for the
    gradient. This is the biased estimate, which is 0 for equal samples and never negative.

    Conventions: rows are **not** normalised; scalar. Memory grows with N².

    Gretton et al.: *A Kernel Two-Sample Test* (JMLR 2012), eq. 5; as in Zheng et al. (ICLR 2024).

    Args:
        x: (N, D).
        y: (N, D).
        kernels: k.
        ratio: r > 0.

    Raises:
        InputError: shapes differ, a value is not finite, or an argument is out of range.

    Example:
        >>> x = torch.tensor([[0.0], [1.0]])
        >>> multi_kernel_mmd(x, x).item(), multi_kernel_mmd(x, x + 1).item() > 0
        (0.0, True)
    """
    check_same_rows(x=x, y=y)
    check_at_least(kernels, 1, "kernels")
    check_temperature(ratio, "ratio")
    points = accumulate(torch.cat([x, y]))
    distances = (points[:, None] - points).square().sum(dim=2)
    count = len(points)
    bandwidth = distances.detach().sum() / (count * (count - 1)) / ratio ** (kernels // 2)
    # Equal points have no distance to scale by.
    bandwidth = bandwidth.clamp_min(torch.finfo(points.dtype).tiny)
    kernel = torch.stack([(-distances / (bandwidth * ratio**i)).exp() for i in range(kernels)]).sum(dim=0)
    sign = torch.ones(count, dtype=points.dtype, device=points.device)
    sign[len(x) :] = -1
    # No matrix product, which autocast would round.
    return (kernel * sign * sign[:, None]).sum() / len(x) ** 2


@public
def linear_mmd(x: Float[Tensor, "n d"], y: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Compute the discrepancy of two samples with a linear kernel, `‖mean x − mean y‖²`.

    Raises:
        InputError: shapes differ, or a value is not finite.

    Example:
        >>> linear_mmd(torch.tensor([[0.0], [2.0]]), torch.tensor([[2.0], [4.0]]))
        tensor(4.)
    """
    check_same_rows(x=x, y=y)
    return (accumulate(x).mean(dim=0) - accumulate(y).mean(dim=0)).square().sum()


@public
def mask_size_penalty(kept: Float[Tensor, "n t c"], *, threshold: float = 0.4) -> Float[Tensor, ""]:
    """Compute `max(0, mean_{n,t} Σ_c w_{ntc} − threshold)`: how much more is kept than is free.

    Zheng et al. (ICLR 2024): the surrogate of the entropy of the view.

    Args:
        kept: (N, T, C) w, from 0 to 1.
        threshold: what is free.

    Example:
        >>> mask_size_penalty(torch.full((1, 2, 2), 0.5))
        tensor(0.6000)
    """
    return (accumulate(kept).sum(dim=2).mean() - threshold).relu()


@public
def temporal_consistency(
    kept: Float[Tensor, "n t c"],
    anchors: Int[Tensor, "pairs"],
    others: Int[Tensor, "pairs"],
    *,
    form: Literal["intended", "official"] = "intended",
) -> Float[Tensor, ""]:
    """Compute how far the kept shares of neighbouring steps differ, and of distant ones agree:

        mean over n, (a, o), c of |w_a − w_{a−1}| + |w_a − w_{a+1}| + (|a − o| ≤ 1 ? |w_a − w_o| : 1 − |w_a − w_o|)

    In the authors' code (`"official"`) the two cases are exchanged, and a step is distant if o − a > 1, so that those
    before the anchor never are.

    Zheng et al. (ICLR 2024), regularisation by temporal consistency.

    Args:
        kept: (N, T, C) w.
        anchors: a, steps from 1 to T − 2, shared by all series.
        others: o, steps from 0 to T − 1.
        form: `"intended"` or `"official"`.

    Raises:
        InputError: a step is out of range.

    Example:
        >>> kept = torch.tensor([0.0, 0.0, 0.0, 1.0])[None, :, None]
        >>> temporal_consistency(kept, torch.tensor([1]), torch.tensor([3]))
        tensor(0.)
    """
    check_choice(form, ("intended", "official"), "form")
    steps = kept.shape[1]
    for name, index, first, last in (("anchors", anchors, 1, steps - 2), ("others", others, 0, steps - 1)):
        if len(index) == 0 or (looking() and (int(index.min()) < first or int(index.max()) > last)):
            raise InputError(f"{name} are {index.tolist()}: expected steps from {first} to {last}.")
    kept = accumulate(kept)
    anchor = kept[:, anchors]
    neighbours = (anchor - kept[:, anchors - 1]).abs() + (anchor - kept[:, anchors + 1]).abs()
    difference = (anchor - kept[:, others]).abs()
    attracted = (anchors - others).abs() <= 1 if form == "intended" else others - anchors > 1
    return (neighbours + torch.where(attracted[:, None], difference, 1 - difference)).mean()


def _check_steps(z: Tensor) -> None:
    """Require representations of steps."""
    if z.ndim != 3 or z.shape[1] == 0:
        raise InputError(f"z has shape {tuple(z.shape)}: expected (N, T, D), T steps of N series.")
