"""Whether the similarity of two things tells pairs that belong together from others."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dipole.errors import InputError
from dipole.ops.door import public


class F1Max(NamedTuple):
    """The best F1 and where it is reached.

    Attributes:
        f1: harmonic mean of precision and recall.
        precision: at the threshold.
        recall: at the threshold.
        threshold: a pair counts as belonging together if its score is this or more.
        accuracy: at the threshold.
    """

    f1: float
    precision: float
    recall: float
    threshold: float
    accuracy: float


@public
def f1_max(
    scores: Float[Tensor, "n"],
    labels: Int[Tensor, "n"] | Bool[Tensor, "n"] | Float[Tensor, "n"],
    *,
    grid: float | None = None,
) -> F1Max:
    """Compute the largest F1 over all thresholds: `F1 = 2 P R / (P + R + 1e-8)` where a pair counts if score ≥ t.

    Args:
        scores: (N,) similarities.
        labels: (N,) 1 for pairs that belong together, 0 for others.
        grid: step of a grid of thresholds from −1 to 1, of which the first best one is taken, with `2 P R / (P + R)`;
            all observed scores if None.

    Returns:
        The best F1 and where it is.

    Raises:
        InputError: shapes differ, a score is not finite, a label is another number, or one of the classes is empty.

    Example:
        >>> f1_max(torch.tensor([0.9, 0.8, 0.3]), torch.tensor([1, 1, 0])).recall
        1.0
    """
    positive = _positive(scores, labels)
    scores = scores.double()
    if grid is None:
        thresholds = scores.unique()  # ascending
    else:
        if not 1e-6 <= grid <= 1:
            raise InputError(f"grid is {grid}: expected a step above 0 and at most 1.")
        thresholds = torch.arange(-1, 1, grid, dtype=torch.float64)
    # How many of each class reach a threshold: from sorted scores, without a matrix of N × thresholds.
    reached, true = (
        len(part) - torch.searchsorted(part.sort().values, thresholds) for part in (scores, scores[positive])
    )
    precision = torch.where(reached > 0, true / reached.clamp_min(1), 1.0).double()
    recall = (true / positive.sum()).double()
    f1 = 2 * precision * recall / (precision + recall + (1e-8 if grid is None else 0)).clamp_min(1e-300)
    best = int(f1.argmax())
    false = reached[best] - true[best]
    accuracy = (true[best] + (~positive).sum() - false) / len(scores)
    return F1Max(float(f1[best]), float(precision[best]), float(recall[best]), float(thresholds[best]), float(accuracy))


@public
def similarity_ratio(
    scores: Float[Tensor, "n"], labels: Int[Tensor, "n"] | Bool[Tensor, "n"] | Float[Tensor, "n"]
) -> float:
    """Compute `|mean score of pairs that belong together / mean score of others|`.

    Args:
        scores: (N,) similarities.
        labels: (N,) 1 or 0.

    Raises:
        InputError: shapes differ, a score is not finite, one of the classes is empty, or the others' mean is 0.

    Example:
        >>> similarity_ratio(torch.tensor([0.8, 0.2]), torch.tensor([1, 0]))
        4.0
    """
    positive = _positive(scores, labels)
    mean = scores.double()[~positive].mean()
    if mean == 0:
        raise InputError("the mean score of pairs that do not belong together is 0: there is no ratio to it.")
    return float((scores.double()[positive].mean() / mean).abs())


@public
def roc_auc(scores: Float[Tensor, "n"], labels: Int[Tensor, "n"] | Bool[Tensor, "n"] | Float[Tensor, "n"]) -> float:
    """Compute the area under the ROC curve: how often a pair that belongs together outscores one that does not.

    Args:
        scores: (N,) similarities.
        labels: (N,) 1 or 0.

    Raises:
        InputError: shapes differ, a score is not finite, or one of the classes is empty.

    Example:
        >>> roc_auc(torch.tensor([0.9, 0.8, 0.3]), torch.tensor([1, 0, 0]))
        1.0
    """
    from sklearn.metrics import roc_auc_score

    positive = _positive(scores, labels)
    return float(roc_auc_score(positive.cpu().numpy(), scores.detach().cpu().double().numpy()))


def _positive(scores: Tensor, labels: Tensor) -> Tensor:
    """Which pairs belong together, (N,)."""
    if scores.ndim != 1 or scores.shape != labels.shape:
        raise InputError(f"scores are {tuple(scores.shape)}, labels {tuple(labels.shape)}: expected (N,) of both.")
    if not bool(scores.isfinite().all()):
        raise InputError("scores contains NaN or infinite values: look at the encoder.")
    if not bool(((labels == 0) | (labels == 1)).all()):
        raise InputError("labels hold other numbers than 0 and 1.")
    positive = labels == 1
    if bool(positive.all()) or not bool(positive.any()):
        raise InputError("all pairs have the same label: expected some that belong together and some that do not.")
    return positive
