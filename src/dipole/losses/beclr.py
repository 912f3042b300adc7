"""BECLR: predictions of a student close to a teacher's embeddings, and all of them spread."""

import math
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import unit_rows
from dipole.ops import pairwise_logsumexp
from dipole.ops.checks import check_at_least, check_choice, check_same_rows, check_temperature
from dipole.ops.door import public

Uniformity = Literal["SS", "ST", "TT"]


class BECLRTerms(NamedTuple):
    """Attributes:

    loss: positives + λ · negatives.
    positives: minus the mean cosine of predictions and teacher's embeddings of the other view.
    negatives: the logarithm of the mean potential.
    deviation: of the teacher's unit rows, mean over features; 0 tells of collapse.
    """

    loss: Tensor
    positives: Tensor
    negatives: Tensor
    deviation: Tensor


@public
def beclr_loss(
    student_p: Float[Tensor, "n d"],
    student_z: Float[Tensor, "n d"],
    teacher_z: Float[Tensor, "n d"],
    *,
    temperature: float = 2.0,
    lambda_neg: float = 0.1,
    uniformity: Uniformity = "SS",
) -> BECLRTerms:
    """Compute `−½ [cos(p¹, t²) + cos(p², t¹)] + λ · log mean_i mean_{j ∉ {i, twin(i)}} exp(u_i·u_j / τ)`.

    u are the student's rows of both views (`"SS"`), the student's of the first and the teacher's of the second
    (`"ST"`), or the teacher's of both (`"TT"`, which has no gradient). The teacher has none anywhere.

    Conventions: rows are normalised here; the first half of them is view 1.

    Poulakakis-Daktylidis, Jamali-Rad: *BECLR* (ICLR 2024), eq. 3 to 5.

    Args:
        student_p: (2H, D) the student's predictions, enhanced or not.
        student_z: (2H, D) the student's embeddings.
        teacher_z: (2H, D) the teacher's.
        temperature: τ of the spread.
        lambda_neg: λ.
        uniformity: which rows spread.

    Raises:
        InputError: shapes differ, an odd number of rows, one sample alone, or a setting out of range.

    Example:
        >>> z = torch.eye(2).repeat(2, 1)
        >>> beclr_loss(z, z, z).loss  # −1 + 0.1 · log(1)
        tensor(-1.)
    """
    check_same_rows(student_p=student_p, student_z=student_z, teacher_z=teacher_z)
    check_temperature(temperature)
    check_at_least(lambda_neg, 0, "lambda_neg")
    check_choice(uniformity, ("SS", "ST", "TT"), "uniformity")
    rows = len(student_p)
    if rows % 2 or rows < 4:
        raise InputError(f"{rows} rows came: expected two views of 2 samples or more.")
    p, z, t = unit_rows(student_p), unit_rows(student_z), unit_rows(teacher_z.detach())
    half = rows // 2
    positives = -(p * t.roll(half, dims=0)).sum(dim=1).mean()
    first, second = {"SS": (z[:half], z[half:]), "ST": (z[:half], t[half:]), "TT": (t[:half], t[half:])}[uniformity]
    points = torch.cat([first, second])
    own = torch.arange(rows, device=p.device)
    potential = pairwise_logsumexp(points, points, 1 / temperature, exclude=torch.stack([own, own.roll(half)], dim=1))
    negatives = potential.logsumexp(dim=0) - math.log(rows * (rows - 2))
    deviation = t.std(dim=0).mean() if rows > 1 else t.new_zeros(())
    return BECLRTerms(positives + lambda_neg * negatives, positives, negatives, deviation)


@public
def patch_mask(
    images: Float[Tensor, "n c h w"], mask: Bool[Tensor, "n p q"], *, patch: int = 16
) -> Float[Tensor, "n c h w"]:
    """Set masked patches of images to zero.

    Args:
        images: (N, C, H, W).
        mask: (N, H/patch, W/patch), True where an image is hidden.
        patch: side of a patch, in pixels.

    Raises:
        InputError: patches do not fill the images.

    Example:
        >>> patch_mask(torch.ones(1, 1, 2, 2), torch.tensor([[[True, False]] * 2]), patch=1).flatten()
        tensor([0., 1., 0., 1.])
    """
    if (mask.shape[0], mask.shape[1] * patch, mask.shape[2] * patch) != (len(images), *images.shape[2:]):
        raise InputError(
            f"a mask of shape {tuple(mask.shape)} with patches of {patch} does not fit {tuple(images.shape)} images."
        )
    hidden = mask.repeat_interleave(patch, dim=1).repeat_interleave(patch, dim=2)
    return images.masked_fill(hidden[:, None], 0)
