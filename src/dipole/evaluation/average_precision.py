"""Mean average precision of boxes, of names that were trained on and of others."""

import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

from torch import Tensor

from dipole.errors import InputError


class PrecisionOfBoxes(NamedTuple):
    """Attributes:

    names: average precision at an intersection over union of one half, of each name that has boxes.
    base: mean over names that were trained on; None without any.
    novel: mean over the other names; None without any.
    all: mean over all names.
    coco: mean over all names and thresholds from 0.50 to 0.95.
    """

    names: dict[str, float]
    base: float | None
    novel: float | None
    all: float
    coco: float


def boxes_precision(
    predictions: Sequence[dict[str, Tensor]],
    targets: Sequence[dict[str, Tensor]],
    names: Sequence[str],
    base: Collection[str] = (),
) -> PrecisionOfBoxes:
    """Compute the mean average precision with torchmetrics.

    Args:
        predictions: of each picture: `boxes` (n, 4), [x1, y1, x2, y2], `scores` (n,), `labels` (n,) places of names.
        targets: of each picture: `boxes`, `labels`, and `iscrowd` where boxes are of crowds.
        names: of the labels.
        base: names that were trained on.

    Raises:
        InputError: there is no box to find, an unknown name, or pycocotools is not installed.

    Example:
        >>> import torch
        >>> box = {"boxes": torch.tensor([[0.0, 0.0, 9.0, 9.0]]), "labels": torch.tensor([0])}
        >>> boxes_precision([{**box, "scores": torch.ones(1)}], [box], ["cat"], ["cat"])
        PrecisionOfBoxes(names={'cat': 1.0}, base=1.0, novel=None, all=1.0, coco=1.0)
    """
    unknown = [name for name in base if name not in names]
    if unknown:
        raise InputError(f"base names {unknown[0]!r}, which is no category: expected some of {', '.join(names)}.")
    if not sum(len(target["labels"]) for target in targets):
        raise InputError("no picture has a box: there is nothing to be found.")
    try:
        from torchmetrics.detection import MeanAveragePrecision

        every = MeanAveragePrecision(class_metrics=True)
        half = MeanAveragePrecision(iou_thresholds=[0.5], class_metrics=True)
    except (ImportError, ModuleNotFoundError) as error:
        raise InputError("pycocotools is not installed: `pip install pycocotools`, or `dipole[vision]`.") from error
    for metric in (every, half):
        metric.update(list(predictions), list(targets))
    found = half.compute()
    labels, values = found["classes"].reshape(-1).tolist(), found["map_per_class"].reshape(-1).tolist()
    known = {names[label]: value for label, value in zip(labels, values, strict=True) if value >= 0}

    def mean(kept: list[str]) -> float | None:
        return math.fsum(known[name] for name in kept) / len(kept) if kept else None

    return PrecisionOfBoxes(
        known,
        mean([name for name in known if name in base]),
        mean([name for name in known if name not in base]) if len(set(base)) < len(names) else None,
        mean(list(known)) or 0.0,
        float(every.compute()["map"]),
    )
