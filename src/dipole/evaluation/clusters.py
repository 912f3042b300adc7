"""Accuracy of clusters, matched with classes, for old and new classes and by the size of classes."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Int
from torch import Tensor

from dipole.errors import InputError
from dipole.ops.door import public
from dipole.ops.matching import contingency, match

GROUPS = ("many", "median", "few")


@dataclass(frozen=True)
class ClusteringAccuracy:
    """Accuracies after one matching of clusters with classes, over all samples.

    Attributes:
        all: share of the samples in the cluster of their class.
        old: of the samples of known classes; NaN without any.
        new: of the samples of novel classes; NaN without any.
        balanced: the same three as means over classes.
        class_to_cluster: (C,).
        groups: accuracy of each group of classes, `"known many"` … `"novel few"`; NaN without samples.
        deviation: population deviation of the three groups of known and of novel classes.
    """

    all: float
    old: float
    new: float
    balanced: dict[str, float]
    class_to_cluster: Tensor
    groups: dict[str, float] = field(default_factory=dict)
    deviation: dict[str, float] = field(default_factory=dict)


@public
def frequency_groups(train_counts: Int[Tensor, "c"]) -> dict[str, list[int]]:
    """Divide classes by their training samples, at the counts at a third and at two thirds of their ranks.

    Bai et al.: *BaCon* (NeurIPS 2023): many are above the first count, few below the second.

    Args:
        train_counts: (C,) labelled and unlabelled training samples of each class.

    Example:
        >>> frequency_groups(torch.tensor([90, 40, 30, 20, 10]))
        {'many': [0], 'median': [1, 2, 3], 'few': [4]}
    """
    ranked = train_counts.sort(descending=True).values
    if not len(ranked):
        return {name: [] for name in GROUPS}
    high, low = int(ranked[len(ranked) // 3]), int(ranked[2 * len(ranked) // 3])
    return {
        "many": [c for c, count in enumerate(train_counts.tolist()) if count > high],
        "median": [c for c, count in enumerate(train_counts.tolist()) if low <= count <= high],
        "few": [c for c, count in enumerate(train_counts.tolist()) if count < low and count <= high],
    }


@public
def clustering_accuracy(
    y_true: Int[Tensor, "n"],
    y_pred: Int[Tensor, "n"],
    *,
    num_known: int | None = None,
    train_counts: Int[Tensor, "c"] | None = None,
) -> ClusteringAccuracy:
    """Measure clusters by the matching with classes that puts most samples right (the Hungarian method).

    One matching serves all samples; known and novel classes are not matched apart.

    Args:
        y_true: (N,) classes.
        y_pred: (N,) clusters.
        num_known: K; classes 0 … K − 1 are known, all of them if None.
        train_counts: (C,) training samples of each class, for groups.

    Raises:
        InputError: no samples, or lengths that differ.

    Example:
        >>> clustering_accuracy(torch.tensor([0, 0, 1]), torch.tensor([1, 1, 0])).all
        1.0
    """
    if y_true.shape != y_pred.shape or not len(y_true):
        raise InputError(f"{len(y_true)} classes and {len(y_pred)} clusters came: expected both of every sample.")
    size = int(torch.cat([y_true, y_pred]).max()) + 1
    if train_counts is not None:
        size = max(size, len(train_counts))
    known = size if num_known is None else num_known
    if train_counts is not None and not 0 <= known <= len(train_counts):
        raise InputError(f"{known} known classes and training counts of {len(train_counts)} classes came.")
    table = contingency(y_true, y_pred, size)
    columns = match(table)
    right = columns[y_true] == y_pred
    per_class = torch.bincount(y_true, minlength=size)
    right_of = torch.bincount(y_true[right], minlength=size)

    def share(classes: list[int]) -> float:
        total = int(per_class[classes].sum()) if classes else 0
        return int(right_of[classes].sum()) / total if total else float("nan")

    def balanced(classes: list[int]) -> float:
        seen = [c for c in classes if per_class[c]]
        return float((right_of[seen] / per_class[seen]).double().mean()) if seen else float("nan")

    old, new = list(range(known)), list(range(known, size))
    groups: dict[str, float] = {}
    deviation: dict[str, float] = {}
    if train_counts is not None:
        for kind, first, counts in (("known", 0, train_counts[:known]), ("novel", known, train_counts[known:])):
            of_kind = [share([first + c for c in members]) for members in frequency_groups(counts).values()]
            groups |= {f"{kind} {name}": value for name, value in zip(GROUPS, of_kind, strict=True)}
            deviation[kind] = float(torch.tensor(of_kind, dtype=torch.float64).std(correction=0))
    return ClusteringAccuracy(
        share(old + new),
        share(old),
        share(new),
        {"all": balanced(old + new), "old": balanced(old), "new": balanced(new)},
        columns,
        groups,
        deviation,
    )
