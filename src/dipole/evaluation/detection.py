"""What a detector by names says about its proposals: scores of two branches, and the boxes that remain.

Kim, Angelova, Kuo: *Region-centric Image-Language Pretraining for Open-Vocabulary Detection* (ECCV 2024) and its code.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import accumulate, unit_rows
from dipole.ops.boxes import check_boxes
from dipole.ops.checks import check_at_least, check_temperature
from dipole.ops.door import public


class Detections(NamedTuple):
    """Attributes:

    boxes: (M, 4), the best first.
    scores: (M,).
    classes: (M,), 1 or more.
    """

    boxes: Float[Tensor, "m 4"]
    scores: Float[Tensor, "m"]
    classes: Int[Tensor, "m"]


@public
def region_text_logits(
    regions: Float[Tensor, "b k d"], text: Float[Tensor, "b c d"], *, temperature: float | Float[Tensor, ""] = 0.01
) -> Float[Tensor, "b k c"]:
    """Compute cos(region, text) / τ; an embedding of zeros gives 0.

    Args:
        regions: (B, K, D).
        text: (B, C, D), of each class; class 0 is the background.
        temperature: τ > 0.

    Raises:
        InputError: shapes do not fit, or the temperature is not positive.

    Example:
        >>> region_text_logits(torch.eye(2)[None], torch.eye(2)[None], temperature=1.0)[0]
        tensor([[1., 0.],
                [0., 1.]])
    """
    check_temperature(temperature)
    with torch.autocast(regions.device.type, enabled=False):
        return unit_rows(regions) @ unit_rows(text).mT / temperature


@public
def ensemble_probabilities(
    detector_logits: Float[Tensor, "b k c"],
    frozen_logits: Float[Tensor, "b k c"],
    base: Float[Tensor, "b c"] | Bool[Tensor, "b c"] | None = None,
    *,
    base_weight: float = 0.35,
    novel_weight: float = 0.65,
) -> Float[Tensor, "b k c"]:
    """Compute the geometric mean `p^(1−w) z^w` of two branches' probabilities, renormalised; w is α or β.

    The background, class 0, keeps the detector's probability before the sum is brought to 1.

    Args:
        detector_logits: (B, K, C), whose softmax is p.
        frozen_logits: (B, K, C) of the frozen image-text model, whose softmax is z.
        base: (B, C), 1 where boxes of a class were trained on; every class is novel if None.
        base_weight: α, of z for base classes.
        novel_weight: β, of z for novel classes.

    Raises:
        InputError: shapes differ, or a weight is outside 0 … 1.

    Example:
        >>> logits = torch.tensor([[[0.0, 1.0]]])
        >>> ensemble_probabilities(logits, logits)
        tensor([[[0.2689, 0.7311]]])
    """
    if detector_logits.shape != frozen_logits.shape or detector_logits.ndim != 3:
        raise InputError(
            f"logits of shapes {tuple(detector_logits.shape)} and {tuple(frozen_logits.shape)}: expected the same "
            "(B, K, C)."
        )
    for name, weight in (("base_weight", base_weight), ("novel_weight", novel_weight)):
        if not 0 <= weight <= 1:
            raise InputError(f"{name} is {weight}: expected a number from 0 to 1.")
    p, z = accumulate(detector_logits).log_softmax(dim=-1), accumulate(frozen_logits).log_softmax(dim=-1)
    share = torch.full_like(p[:, :1], novel_weight)
    if base is not None:
        share = torch.where(base[:, None].bool(), base_weight, share)
    mixed = (1 - share) * p + share * z
    return torch.cat([p[..., :1], mixed[..., 1:]], dim=-1).softmax(dim=-1)


@public
def fuse_scores(
    detector_logits: Float[Tensor, "b k c"],
    frozen_logits: Float[Tensor, "b k c"],
    objectness: Float[Tensor, "b k"] | None = None,
    base: Float[Tensor, "b c"] | Bool[Tensor, "b c"] | None = None,
    *,
    base_weight: float = 0.35,
    novel_weight: float = 0.65,
    objectness_power: float = 3.0,
) -> Float[Tensor, "b k c"]:
    """Compute the scores of proposals, `oᵟ` times `ensemble_probabilities`.

    Args:
        detector_logits: (B, K, C).
        frozen_logits: (B, K, C) of the frozen image-text model.
        objectness: o (B, K), 0 to 1; 1 if None.
        base: (B, C), see `ensemble_probabilities`.
        base_weight: α.
        novel_weight: β.
        objectness_power: δ.

    Raises:
        InputError: see `ensemble_probabilities`; or the power is negative, or an objectness outside 0 … 1.

    Example:
        >>> logits = torch.zeros(1, 1, 2)
        >>> fuse_scores(logits, logits, torch.tensor([[0.5]]))
        tensor([[[0.0625, 0.0625]]])
    """
    check_at_least(objectness_power, 0, "objectness_power")
    found = ensemble_probabilities(
        detector_logits, frozen_logits, base, base_weight=base_weight, novel_weight=novel_weight
    )
    if objectness is None:
        return found
    if not bool(((objectness >= 0) & (objectness <= 1)).all()):
        raise InputError("objectness has values outside 0 … 1: expected the sigmoid of its logits.")
    return accumulate(objectness)[..., None] ** objectness_power * found


@public
def select_detections(
    boxes: Float[Tensor, "n 4"],
    scores: Float[Tensor, "n c"],
    *,
    nms_threshold: float = 0.5,
    score_threshold: float = 0.0,
    candidates: int = 1000,
    maximum: int = 300,
) -> Detections:
    """Keep, of each class but the background, boxes that no better one covers, and of all of them the best.

    Args:
        boxes: (N, 4), the same for all classes.
        scores: (N, C); column 0, the background, is passed over.
        nms_threshold: a box is dropped whose intersection over union with a better one is larger.
        score_threshold: a box is dropped whose score is not above.
        candidates: the best of each class that are looked at.
        maximum: boxes of all classes that are kept.

    Raises:
        InputError: shapes do not fit, a threshold is outside 0 … 1, or a number is below 1.

    Example:
        >>> boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 2.1], [4.0, 4.0, 5.0, 5.0]])
        >>> select_detections(boxes, torch.tensor([[0.1, 0.9], [0.2, 0.8], [0.5, 0.5]])).scores
        tensor([0.9000, 0.5000])
    """
    from torchvision.ops import nms

    check_boxes(boxes=boxes)
    if boxes.ndim != 2 or scores.ndim != 2 or len(scores) != len(boxes):
        raise InputError(f"boxes {tuple(boxes.shape)} and scores {tuple(scores.shape)}: expected (N, 4) and (N, C).")
    for name, threshold in (("nms_threshold", nms_threshold), ("score_threshold", score_threshold)):
        if not 0 <= threshold <= 1:
            raise InputError(f"{name} is {threshold}: expected a number from 0 to 1.")
    check_at_least(candidates, 1, "candidates")
    check_at_least(maximum, 1, "maximum")
    kept_rows, kept_classes = [], []
    for number in range(1, scores.shape[1]):
        order = scores[:, number].argsort(descending=True, stable=True)[:candidates]
        order = order[scores[order, number] > score_threshold]
        rows = order[nms(boxes[order], scores[order, number].to(boxes.dtype), nms_threshold)]
        kept_rows.append(rows)
        kept_classes.append(torch.full_like(rows, number))
    if not kept_rows:
        raise InputError("scores has one column, the background: give the scores of one class or more.")
    row, kind = torch.cat(kept_rows), torch.cat(kept_classes)
    found = scores[row, kind]
    best = found.argsort(descending=True, stable=True)[:maximum]
    return Detections(boxes[row[best]], found[best], kind[best])
