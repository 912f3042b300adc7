"""Losses of classifiers whose classes differ in size."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from dipole.errors import InputError
from dipole.ops.checks import check_at_least
from dipole.ops.door import looking, public


def _check_counts(class_counts: Tensor) -> None:
    """Require samples of every class."""
    if not class_counts.numel() or (looking() and float(class_counts.min()) < 1):
        raise InputError(
            f"class_counts are {class_counts.tolist()}: expected one sample or more of every class; a class without "
            "labelled samples cannot be learned."
        )


@public
def effective_number_weights(class_counts: Int[Tensor, "c"], *, beta: float = 0.9999) -> Float[Tensor, "c"]:
    """Compute `w_c ∝ (1 − β) / (1 − β^n_c)`, scaled to a sum of C.

    Cui, Jia, Lin, Song, Belongie: *Class-Balanced Loss Based on Effective Number of Samples* (CVPR 2019).

    Args:
        class_counts: (C,) samples of each class.
        beta: β from 0 (equal weights) to below 1 (towards the inverse number of samples).

    Raises:
        InputError: a class without samples, or β out of range.

    Example:
        >>> import torch
        >>> effective_number_weights(torch.tensor([1, 3]), beta=0.5).float()
        tensor([1.2727, 0.7273])
    """
    _check_counts(class_counts)
    if not 0 <= beta < 1:
        raise InputError(f"beta is {beta}: expected a number from 0 to below 1.")
    weights = (1 - beta) / (1 - beta ** class_counts.double())
    return weights / weights.sum() * len(weights)


@public
def ldam_margins(class_counts: Int[Tensor, "c"], *, max_margin: float = 0.5) -> Float[Tensor, "c"]:
    """Compute `Δ_c = Δ_max · n_c^(−1/4) / max_c n_c^(−1/4)`: the rarest class has the widest margin.

    Cao, Wei, Gaidon, Arechiga, Ma: *Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss* (NeurIPS
    2019), eq. 13.

    Args:
        class_counts: (C,) samples of each class.
        max_margin: Δ_max.

    Raises:
        InputError: a class without samples, or a negative margin.

    Example:
        >>> import torch
        >>> ldam_margins(torch.tensor([16, 1])).float()
        tensor([0.2500, 0.5000])
    """
    _check_counts(class_counts)
    check_at_least(max_margin, 0, "max_margin")
    margins = class_counts.double() ** -0.25
    return margins * (max_margin / margins.max())


@public
def cosine_logits(features: Float[Tensor, "n d"], weight: Float[Tensor, "d c"]) -> Float[Tensor, "n c"]:
    """Compute the cosine of each row with each column of a classifier's weight.

    Args:
        features: (N, D).
        weight: (D, C).

    Example:
        >>> import torch
        >>> cosine_logits(torch.tensor([[3.0, 0.0]]), torch.tensor([[2.0, 0.0], [0.0, 2.0]]))
        tensor([[1., 0.]])
    """
    return F.normalize(features, dim=1) @ F.normalize(weight, dim=0)


@public
def ldam_loss(
    cosines: Float[Tensor, "n c"],
    labels: Int[Tensor, "n"],
    margins: Float[Tensor, "c"],
    *,
    scale: float = 30.0,
    class_weights: Float[Tensor, "c"] | None = None,
) -> Float[Tensor, ""]:
    """Compute the cross entropy of `s · (cos_ic − Δ_c [c = y_i])`, weighted by class.

    Conventions: the weighted mean of PyTorch's cross entropy, which divides by the sum of the samples' weights.

    Cao et al.: *Label-Distribution-Aware Margin Loss* (NeurIPS 2019), eq. 14.

    Args:
        cosines: (N, C), see `cosine_logits`.
        labels: (N,).
        margins: Δ (C,), see `ldam_margins`.
        scale: s.
        class_weights: (C,), e.g. of `effective_number_weights`.

    Raises:
        InputError: shapes do not fit, or s is not above 0.

    Example:
        >>> import torch
        >>> ldam_loss(torch.eye(2), torch.arange(2), torch.zeros(2), scale=1.0)
        tensor(0.3133)
    """
    if len(margins) != cosines.shape[1] or (class_weights is not None and len(class_weights) != cosines.shape[1]):
        raise InputError(f"{len(margins)} margins came for {cosines.shape[1]} classes: expected one each.")
    check_at_least(scale, 1e-12, "scale")
    target = (labels[:, None] == torch.arange(cosines.shape[1], device=labels.device)).to(cosines.dtype)
    logits = scale * (cosines - target * margins.to(cosines))
    return F.cross_entropy(logits, labels, weight=None if class_weights is None else class_weights.to(cosines))
