"""How many subclasses a class has, and how concentrated it is (SBCL)."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dipole.errors import InputError
from dipole.ops.checks import check_at_least, check_choice, check_temperature
from dipole.ops.door import looking, public
from dipole.ops.groups import counts_of_labels

EPSILON = 1e-6  # added to every coordinate of a difference, as by torch.nn.functional.pairwise_distance


@public
def num_subclasses(class_counts: Int[Tensor, "c"], delta: int = 10) -> Int[Tensor, "c"]:
    """Compute `K_c = max(1, ⌊n_c / max(min_c n_c, δ)⌋)`, so that subclasses are as large as the smallest class.

    Hou et al.: *Subclass-balancing Contrastive Learning* (ICCV 2023).

    Args:
        class_counts: (C,) samples of each class.
        delta: δ, the least number of samples in a subclass.

    Raises:
        InputError: a class without samples, or δ below 1.

    Example:
        >>> num_subclasses(torch.tensor([500, 100, 20]))
        tensor([25,  5,  1])
    """
    check_at_least(delta, 1, "delta")
    if not class_counts.numel() or (looking() and int(class_counts.min()) < 1):
        raise InputError(
            f"class_counts are {class_counts.tolist()}: expected a sample of every class. Leave out empty classes."
        )
    return (class_counts // class_counts.min().clamp_min(delta)).clamp_min(1)


@public
def class_concentration(
    features: Float[Tensor, "n d"], labels: Int[Tensor, "n"], *, smoothing: float = 10.0, num_classes: int | None = None
) -> Float[Tensor, "c"]:
    """Compute `φ_c = mean_r ‖f_r − μ_c‖ / log(n_c + α)` of the rows of each class; μ_c is their mean.

    Args:
        features: (N, D), of length 1.
        labels: (N,) classes 0 … C − 1, each with a row.
        smoothing: α.
        num_classes: C; without it the largest label is looked for, which waits for an accelerator.

    Raises:
        InputError: shapes do not fit, a class has no rows, or α is below 1.

    Example:
        >>> class_concentration(torch.eye(2), torch.tensor([0, 0]))  # √½ / log 12
        tensor([0.2846])
        >>> class_concentration(torch.eye(2), torch.tensor([1, 0]), num_classes=2) < 1e-5
        tensor([True, True])
    """
    check_at_least(smoothing, 1, "smoothing")
    counts = torch.bincount(labels) if num_classes is None else counts_of_labels(labels, num_classes)
    if labels.shape != features.shape[:1] or (looking() and int(counts.min()) < 1):
        raise InputError(f"{len(labels)} labels came for {len(features)} rows: expected a row of every class.")
    centres = features.new_zeros(len(counts), features.shape[1]).index_add(0, labels, features) / counts[:, None]
    distances = (features - centres[labels] + EPSILON).norm(dim=1)
    return features.new_zeros(len(counts)).index_add(0, labels, distances) / counts / (counts + smoothing).log()


@public
def class_concentration_temperature(
    concentration: Float[Tensor, "c"],
    subclasses: Int[Tensor, "c"],
    *,
    temperature: float = 0.1,
    mode: Literal["ratio", "exp"] = "ratio",
    clip: tuple[float, float] = (20.0, 80.0),
) -> Float[Tensor, "c"]:
    """Compute the coarse temperature of each class: `τ · φ_c / mean φ`, or `τ · exp(φ_c / mean φ)`.

    φ is clipped to two of its percentiles first. A class with one subclass keeps τ. The first form is what the authors'
    released code runs, the second stands in the paper.

    Args:
        concentration: φ (C,), see `class_concentration`.
        subclasses: (C,) subclasses of each class.
        temperature: τ.
        mode: `"ratio"` or `"exp"`.
        clip: lower and upper percentile.

    Raises:
        InputError: shapes do not fit, or a setting is out of range.

    Example:
        >>> class_concentration_temperature(torch.tensor([0.1, 0.3]), torch.tensor([2, 1]), clip=(0.0, 100.0))
        tensor([0.0500, 0.1000])
    """
    check_temperature(temperature)
    check_choice(mode, ("ratio", "exp"), "mode")
    if concentration.shape != subclasses.shape or not 0 <= clip[0] <= clip[1] <= 100:
        raise InputError(
            f"{len(concentration)} concentrations came with {len(subclasses)} numbers of subclasses and percentiles "
            f"{clip}: expected one number each, and percentiles from 0 to 100."
        )
    low, high = (concentration.quantile(percentile / 100) for percentile in clip)
    clipped = concentration.clamp(low, high)
    mean = clipped.mean()
    # All rows of all classes are one point, up to the ε of their distances.
    if looking() and float(mean) <= EPSILON * 10:
        return torch.full_like(concentration, temperature)
    ratio = clipped / mean
    values = temperature * (ratio if mode == "ratio" else ratio.exp())
    return torch.where(subclasses > 1, values, torch.full_like(values, temperature))
