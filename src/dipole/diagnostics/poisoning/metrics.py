"""Which images an audit changes, and how far the change gets."""

from typing import NamedTuple

from jaxtyping import Int64
from torch import Tensor

from dipole.errors import InputError


def poison_indices(
    labels: Int64[Tensor, "n"], target: int, rate: float, order: Int64[Tensor, "c"] | None = None
) -> Int64[Tensor, "p"]:
    """Choose `int(rate · N)` images of a class, at most all of it; in ascending order.

    Args:
        labels: (N,) classes of all images.
        target: the class.
        rate: share of **all** images.
        order: (c,) permutation of the c images of the class, of which the first are taken; as they stand if None.

    Raises:
        InputError: the class has no image or the rate is no share.

    Example:
        >>> import torch
        >>> poison_indices(torch.tensor([1, 0, 1, 1]), 1, 0.5, torch.tensor([2, 0, 1]))
        tensor([0, 3])
    """
    if not 0 <= rate <= 1:
        raise InputError(f"the rate is {rate}: expected a share of the training images from 0 to 1.")
    candidates = (labels == target).nonzero().flatten()
    if not len(candidates):
        raise InputError(f"no training image is of class {target}: choose one of {sorted(set(labels.tolist()))}.")
    count = min(int(rate * len(labels)), len(candidates))
    permuted = candidates if order is None else candidates[order]
    return permuted[:count].sort().values


class AttackRates(NamedTuple):
    """Shares of test images.

    Attributes:
        clean_accuracy: of the clean encoder on clean images (CA).
        audited_accuracy: of the encoder that was trained with changed images, on clean images (BA).
        success: of triggered images of **other** classes that the audited encoder puts into the target class (ASR).
        success_all: the same of all triggered images (CTRL's convention), which the target's own share makes larger.
        reference: success of the clean encoder on the same triggered images.
        uplift: success − reference.
    """

    clean_accuracy: float
    audited_accuracy: float
    success: float
    success_all: float
    reference: float
    uplift: float


def attack_rates(
    labels: Int64[Tensor, "n"],
    target: int,
    *,
    clean: Int64[Tensor, "n"],
    audited: Int64[Tensor, "n"],
    audited_triggered: Int64[Tensor, "n"],
    clean_triggered: Int64[Tensor, "n"],
) -> AttackRates:
    """Compute how often triggered images end up in the target class, beside what an encoder without them does.

    Args:
        labels: (N,) of the test images.
        target: the class.
        clean: predictions of the clean encoder for clean images.
        audited: of the audited encoder for clean images.
        audited_triggered: of the audited encoder for triggered images.
        clean_triggered: of the clean encoder for triggered images.

    Raises:
        InputError: every test image is of the target class.

    Example:
        >>> import torch
        >>> labels, ones = torch.tensor([0, 0, 1]), torch.ones(3, dtype=torch.int64)
        >>> rates = attack_rates(
        ...     labels, 1, clean=labels, audited=labels, audited_triggered=ones, clean_triggered=labels
        ... )
        >>> rates.success, rates.reference, rates.uplift
        (1.0, 0.0, 1.0)
    """
    others = labels != target
    if not bool(others.any()):
        raise InputError(f"every test image is of class {target}: there is none that a trigger could move there.")
    success, reference = (
        float((found[others] == target).double().mean()) for found in (audited_triggered, clean_triggered)
    )
    return AttackRates(
        float((clean == labels).double().mean()),
        float((audited == labels).double().mean()),
        success,
        float((audited_triggered == target).double().mean()),
        reference,
        success - reference,
    )


def wilson_interval(share: float, count: int, z: float = 1.96) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share of `count` samples.

    Example:
        >>> low, high = wilson_interval(0.0, 100)
        >>> round(low, 3), round(high, 3)
        (0.0, 0.037)
    """
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * (share * (1 - share) / count + z * z / (4 * count * count)) ** 0.5
    return max(0.0, centre - half), min(1.0, centre + half)
