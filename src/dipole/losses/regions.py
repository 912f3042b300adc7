"""Losses of regions and of boxes: DITO's pretraining, and what a detector is trained by.

Kim, Angelova, Kuo: *Region-centric Image-Language Pretraining for Open-Vocabulary Detection* (ECCV 2024). The losses of
detection are those of the authors' code, which has no pretraining.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.clip import clip_loss
from dipole.losses.common import accumulate
from dipole.ops.boxes import check_boxes
from dipole.ops.checks import check_at_least, check_choice, check_embeddings
from dipole.ops.door import public

SAMPLES = 256  # anchors of an image by which sums of the proposal losses are divided, whatever their number


@public
def pool_regions(regions: Float[Tensor, "l b k d"], pool: Literal["max", "mean"] = "max") -> Float[Tensor, "l b d"]:
    """Pool the embeddings of the K boxes of an image, element by element.

    Args:
        regions: (L, B, K, D).
        pool: `"max"`, or the weaker `"mean"`.

    Raises:
        InputError: another rank, or an unknown pooling.

    Example:
        >>> pool_regions(torch.tensor([[[[1.0, 0.0], [0.0, 2.0]]]]))
        tensor([[[1., 2.]]])
    """
    check_choice(pool, ("max", "mean"), "pool")
    if regions.ndim != 4 or not regions.numel():
        raise InputError(f"regions has shape {tuple(regions.shape)}: expected (L, B, K, D), boxes of every level.")
    regions = accumulate(regions)
    return regions.amax(dim=2) if pool == "max" else regions.mean(dim=2)


@public
def region_contrastive_loss(
    regions: Float[Tensor, "l b k d"],
    text: Float[Tensor, "b d"],
    *,
    temperature: float | Float[Tensor, ""] = 0.07,
    pool: Literal["max", "mean"] = "max",
    levels: Literal["mean", "sum", "none"] = "mean",
    gather: bool = False,
) -> Float[Tensor, ""] | Float[Tensor, "l"]:
    """Compute DITO's loss of pretraining: CLIP's loss of the pooled regions of every level with the text.

        z_lb = max_k e_lbk,   L = mean_l ½ [ CE(cos(z_l, t) / τ) + CE(cos(t, z_l) / τ) ]

    One caption supervises all levels and all boxes, whose places are drawn at random.

    Conventions: pooled embeddings and texts are normalised here, embeddings of boxes are not; mean of the
    directions, of the images and of the levels, which the paper does not say.

    Args:
        regions: (L, B, K, D), of K boxes on each of L levels.
        text: (B, D).
        temperature: τ > 0, a number or a learnable scalar.
        pool: see `pool_regions`.
        levels: `"mean"`, `"sum"`, or `"none"` for (L,) values.
        gather: contrast against the pairs of all processes.

    Raises:
        InputError: shapes do not fit, a value is not finite, the temperature is not positive, or B = 1.

    Example:
        >>> text = torch.eye(4)
        >>> region_contrastive_loss(text[None, :, None], text, temperature=1.0)  # log(e + 3) − 1
        tensor(0.7437)
    """
    check_choice(levels, ("mean", "sum", "none"), "levels")
    images = pool_regions(regions, pool)
    losses = torch.stack([clip_loss(image, text, temperature=temperature, gather=gather) for image in images])
    return losses if levels == "none" else losses.sum() if levels == "sum" else losses.mean()


@public
def box_iou_loss(
    boxes: Float[Tensor, "b n 4"], targets: Float[Tensor, "b n 4"], *, weight: float = 8.0
) -> Float[Tensor, ""]:
    """Compute `weight · Σ (1 − IoU) / (256 B)` of proposals; targets without an area are left out.

    Args:
        boxes: (B, N, 4).
        targets: (B, N, 4); all zeros where there is none.
        weight: of the loss.

    Raises:
        InputError: shapes differ, or a value is not finite.

    Example:
        >>> box = torch.tensor([[[0.0, 0.0, 2.0, 2.0]]])
        >>> box_iou_loss(box, box)
        tensor(0.)
    """
    check_boxes(boxes=boxes, targets=targets)
    check_at_least(weight, 0, "weight")
    if boxes.shape != targets.shape or boxes.ndim != 3:
        raise InputError(f"boxes {tuple(boxes.shape)} and targets {tuple(targets.shape)}: expected the same (B, N, 4).")
    low, high = torch.maximum(boxes[..., :2], targets[..., :2]), torch.minimum(boxes[..., 2:], targets[..., 2:])
    overlap = (high - low).clamp_min(0).prod(dim=-1)
    areas = [(corners[..., 2:] - corners[..., :2]).clamp_min(0).prod(dim=-1) for corners in (boxes, targets)]
    union = areas[0] + areas[1] - overlap
    iou = torch.where(union > 0, overlap / union.where(union > 0, 1), 0)
    return weight * (1 - iou).where(areas[1] > 0, 0).sum() / (len(boxes) * SAMPLES)


@public
def centerness_loss(logits: Float[Tensor, "b n"], targets: Float[Tensor, "b n"]) -> Float[Tensor, ""]:
    """Compute `Σ |σ(logit) − target| / (256 B)` of proposals; a target of −1 is left out.

    Args:
        logits: (B, N).
        targets: (B, N), 0 to 1, or −1.

    Raises:
        InputError: shapes differ, or a value is not finite.

    Example:
        >>> centerness_loss(torch.zeros(1, 2), torch.tensor([[0.5, -1.0]]))
        tensor(0.)
    """
    check_embeddings(logits=logits, targets=targets)
    if logits.shape != targets.shape:
        raise InputError(f"logits {tuple(logits.shape)} and targets {tuple(targets.shape)}: expected the same (B, N).")
    wrong = (accumulate(logits).sigmoid() - targets).abs()
    return wrong.where(targets >= 0, 0).sum() / (len(logits) * SAMPLES)


@public
def region_classification_loss(
    logits: Float[Tensor, "*batch n c"], targets: Int[Tensor, "*batch n"], *, background_weight: float = 0.9
) -> Float[Tensor, ""]:
    """Compute the cross entropy of regions, those of the background, class 0, with a weight; mean over the regions.

    Args:
        logits: (B, N, C) or (N, C).
        targets: (B, N) or (N,) classes.
        background_weight: of the regions of class 0.

    Raises:
        InputError: shapes do not fit, or the weight is negative.

    Example:
        >>> region_classification_loss(torch.zeros(2, 2), torch.tensor([0, 1]), background_weight=0.0)  # ½ log 2
        tensor(0.3466)
    """
    check_at_least(background_weight, 0, "background_weight")
    rows = F.cross_entropy(accumulate(logits).flatten(0, -2), targets.flatten().long(), reduction="none")
    return (rows * torch.where(targets.flatten() == 0, background_weight, 1.0)).mean()
