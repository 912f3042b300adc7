"""Losses without negatives: SimSiam and BYOL predict the other view, Barlow Twins decorrelates features."""

import torch
from jaxtyping import Float
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import Reduction, accumulate, gathered_keys, reduce, unit_rows
from dipole.ops.checks import check_at_least, check_same_rows
from dipole.ops.door import public
from dipole.ops.tiles import exact_products

SMALLEST_VARIANCE = 1e-5  # below it a feature counts as constant, as in batch normalisation


@public
def prediction_loss(
    predictions: Float[Tensor, "n d"], targets: Float[Tensor, "n d"], *, reduction: Reduction = "mean"
) -> Float[Tensor, ""] | Float[Tensor, "n"]:
    """Compute `1 − cos(p_i, stop_gradient(z_i))`, half the squared distance of unit vectors.

    Conventions: rows are normalised here; one direction; mean over samples. SimSiam's loss is the mean of both
    directions, which is its negative cosine plus 1; BYOL's is four times that mean.

    Chen and He: *Exploring Simple Siamese Representation Learning* (CVPR 2021), eq. 1 to 4; Grill et al.: *Bootstrap
    Your Own Latent* (NeurIPS 2020), eq. 2.

    Args:
        predictions: (N, D) of one view.
        targets: (N, D) of the other view; no gradient reaches them.
        reduction: `"mean"`, `"sum"` or `"none"`.

    Returns:
        The loss, or one value for each sample.

    Raises:
        InputError: shapes differ or a value is not finite.

    Example:
        >>> prediction_loss(torch.eye(2), torch.eye(2))
        tensor(0.)
    """
    check_same_rows(predictions=predictions, targets=targets)
    return reduce(1 - (unit_rows(predictions) * unit_rows(targets.detach())).sum(dim=1), reduction)


@public
def cross_correlation(
    z1: Float[Tensor, "*heads n d"], z2: Float[Tensor, "*heads n d"], *, unbiased: bool = False
) -> Float[Tensor, "*heads d d"]:
    """Compute `C_lm = 1/N Σ_n ẑ¹_nl ẑ²_nm` of features that are standardised over the batch.

    Args:
        z1: (N, D) of the first view, or (C, N, D) of several heads.
        z2: the same of the second view.
        unbiased: divide by the deviation with N − 1, not N. Constant features give 0.

    Returns:
        (D, D), or (C, D, D).

    Raises:
        InputError: shapes differ, or there are fewer than two samples.

    Example:
        >>> z = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
        >>> cross_correlation(z, z)
        tensor([[1., 0.],
                [0., 0.]])
    """
    if z1.shape != z2.shape or z1.ndim < 2 or z1.shape[-2] < 2:
        raise InputError(
            f"views of shapes {tuple(z1.shape)} and {tuple(z2.shape)} cannot be correlated: expected the same (N, D) "
            "with N of 2 or more."
        )
    count = z1.shape[-2]

    def standardised(z: Tensor) -> Tensor:
        z = accumulate(z)
        centred = z - z.mean(dim=-2, keepdim=True)
        variance = centred.square().mean(dim=-2, keepdim=True) * (count / (count - 1) if unbiased else 1)
        known = variance > SMALLEST_VARIANCE**2
        return centred * torch.where(known, variance.where(known, 1).rsqrt(), 0)

    with exact_products(z1.device.type):
        return standardised(z1).mT @ standardised(z2) / count


@public
def barlow_twins_loss(
    z1: Float[Tensor, "n d"],
    z2: Float[Tensor, "n d"],
    *,
    off_diagonal_weight: float = 5e-3,
    unbiased: bool = False,
    gather: bool = False,
) -> Float[Tensor, ""]:
    """Compute `Σ_l (1 − C_ll)² + λ Σ_{l≠m} C_lm²` of the cross-correlation C of two views.

    Conventions: features are standardised over the batch here; a sum over features, no mean.

    Zbontar et al.: *Barlow Twins: Self-Supervised Learning via Redundancy Reduction* (ICML 2021), eq. 1 and 2.

    Args:
        z1: (N, D) embeddings of the first view.
        z2: (N, D) embeddings of the second view.
        off_diagonal_weight: λ.
        unbiased: see `cross_correlation`.
        gather: correlate over the batches of all processes.

    Returns:
        The loss.

    Raises:
        InputError: shapes differ, a value is not finite, fewer than two samples, or λ is negative.

    Example:
        >>> z = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        >>> barlow_twins_loss(z, z)
        tensor(0.)
    """
    check_same_rows(z1=z1, z2=z2)
    check_at_least(off_diagonal_weight, 0, "off_diagonal_weight")
    every1, every2 = gathered_keys(z1, gather)[0], gathered_keys(z2, gather)[0]
    correlation = cross_correlation(every1, every2, unbiased=unbiased)
    diagonal = correlation.diagonal()
    return (1 - diagonal).square().sum() + off_diagonal_weight * (correlation.square().sum() - diagonal.square().sum())
