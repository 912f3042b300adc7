"""Losses of few-shot episodes: prototypes, proto-triplet, and the quality of nearest neighbours (ICNN)."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import Reduction, reduce
from dipole.losses.neighbourhoods import ICNN, ROOT_EPSILON, euclidean_distances, icnn_of, score_neighbourhoods
from dipole.ops.checks import check_at_least, check_embeddings
from dipole.ops.door import looking, public
from dipole.ops.groups import counts_of_labels


class Prototypes(NamedTuple):
    """Attributes:

    rows: (C, D) mean embedding of each class.
    labels: (C,) their classes, increasing.
    """

    rows: Tensor
    labels: Tensor


class Slots(NamedTuple):
    """Prototypes in as many places as there may be classes; the classes stand first, in increasing order."""

    rows: Tensor  # (S, D), 0 where no class is
    labels: Tensor  # (S,)
    used: Tensor  # (S,)


@public
def class_prototypes(
    support: Float[Tensor, "n d"], labels: Int[Tensor, "n"], *, num_classes: int | None = None
) -> Prototypes:
    """Compute the mean embedding of each class.

    Snell, Swersky, Zemel: *Prototypical Networks for Few-shot Learning* (NeurIPS 2017), eq. 1.

    Args:
        support: (N, D).
        labels: (N,) classes.
        num_classes: C, how many classes the labels are of; without it they are counted, which waits for an accelerator.

    Raises:
        InputError: not one label for each row, or another number of classes.

    Example:
        >>> class_prototypes(torch.tensor([[1.0], [3.0], [5.0]]), torch.tensor([7, 7, 2])).rows.flatten()
        tensor([5., 2.])
        >>> class_prototypes(torch.eye(2), torch.tensor([7, 2]), num_classes=2).labels
        tensor([2, 7])
    """
    if num_classes is not None and not looking():
        found = prototype_slots(support, labels)
        return Prototypes(found.rows[:num_classes], found.labels[:num_classes])
    _check_support(support, labels)
    classes, members = torch.unique(labels, return_inverse=True)
    if num_classes not in (None, len(classes)):
        raise InputError(f"labels are of {len(classes)} classes, and num_classes is {num_classes}.")
    sums = support.new_zeros(len(classes), support.shape[1]).index_add(0, members, support)
    return Prototypes(sums / torch.bincount(members)[:, None], classes)


def _check_support(support: Tensor, labels: Tensor) -> None:
    """Require a label for each row."""
    check_embeddings(support=support)
    if labels.shape != support.shape[:1]:
        raise InputError(f"labels has shape {tuple(labels.shape)}: expected one label for each of {len(support)} rows.")


def prototype_slots(support: Tensor, labels: Tensor) -> Slots:
    """The prototypes of N rows in N places, since there may be as many classes.

    Raises:
        InputError: not one label for each row.

    Example:
        >>> prototype_slots(torch.tensor([[1.0], [3.0], [5.0]]), torch.tensor([7, 7, 2])).used
        tensor([ True,  True, False])
    """
    _check_support(support, labels)
    ordered, order = labels.sort(stable=True)
    place = torch.cat([ordered.new_zeros(1), (ordered[1:] != ordered[:-1]).to(ordered.dtype)]).cumsum(0)
    count = counts_of_labels(place, len(labels))
    sums = torch.zeros_like(support).index_add(0, place, support[order])
    return Slots(sums / count.clamp_min(1)[:, None], ordered.scatter(0, place, ordered), count > 0)


@public
def proto_triplet_loss(
    query: Float[Tensor, "q d"],
    query_labels: Int[Tensor, "q"],
    prototypes: Float[Tensor, "c d"],
    prototype_labels: Int[Tensor, "c"] | None = None,
    *,
    margin: float = 0.5,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "q"]:
    """Compute `max(0, d(q, p_y) − min_{c≠y} d(q, p_c) + margin)`: the nearest wrong prototype is the negative.

    Conventions: distances are Euclidean, not squared, of rows as they are; mean over the queries.

    Mendez-Ruiz et al.: *SuSana Distancia is all you need* (2023).

    Args:
        query: (Q, D).
        query_labels: (Q,) classes.
        prototypes: (C, D), see `class_prototypes`.
        prototype_labels: (C,) classes of the prototypes; 0 … C − 1 if None.
        margin: 0 or more.
        reduction: over the queries.

    Raises:
        InputError: a query's class has no prototype, or there is no other prototype.

    Example:
        >>> prototypes = torch.tensor([[0.0], [1.0]])
        >>> proto_triplet_loss(torch.tensor([[0.5]]), torch.tensor([0]), prototypes)
        tensor(0.5000)
    """
    check_at_least(margin, 0, "margin")
    own = own_prototype(query_labels, prototypes, prototype_labels)
    return reduce(proto_triplets(query, prototypes, own, margin), reduction)


def proto_triplets(query: Tensor, prototypes: Tensor, own: Tensor, margin: float, used: Tensor | None = None) -> Tensor:
    """`proto_triplet_loss` of each query, among the prototypes that are used (C,); `own` (Q, C) names that of each."""
    distances = euclidean_distances(query, prototypes)
    positive = (distances * own).sum(dim=1)
    negative = distances.masked_fill(own if used is None else own | ~used, torch.inf).amin(dim=1)
    return (positive - negative + margin).clamp_min(0)


def own_prototype(labels: Tensor, prototypes: Tensor, prototype_labels: Tensor | None) -> Tensor:
    """Return which prototype (Q, C) is that of a query's class.

    Raises:
        InputError: a class has none, or several, or there is one prototype in all.

    Example:
        >>> own_prototype(torch.tensor([1]), torch.eye(2), None)
        tensor([[False,  True]])
    """
    if len(prototypes) < 2:
        raise InputError("an episode of 1 class has no wrong prototype: use 2 ways or more.")
    if prototype_labels is None:
        prototype_labels = torch.arange(len(prototypes), device=labels.device)
    own = labels[:, None] == prototype_labels[None]
    if looking() and not bool((own.sum(dim=1) == 1).all()):
        raise InputError("a query's class has no prototype, or several: give support samples of every class.")
    return own


@public
def icnn_score(
    origin: Float[Tensor, "n d"],
    labels: Int[Tensor, "n"],
    target: Float[Tensor, "m d"] | None = None,
    target_labels: Int[Tensor, "m"] | None = None,
    *,
    k: int = 4,
    items_per_class: int | None = None,
    drop_first: bool | None = None,
    use_variance: bool = False,
) -> ICNN:
    """Compute how well the nearest neighbours of each row agree with its class, from 0 to 1:

        score = ((λ_same + λ_different) / 2 + γ) / 2

    λ_same is 1 minus the mean distance of neighbours of the class, relative to the nearest one of another class (at
    most 1); λ_different the mean distance of neighbours of other classes, relative to the largest of them; γ the share
    of the class among the k neighbours, or 1 where there are hardly more targets than neighbours.

    Mendez-Ruiz et al.: *SuSana Distancia is all you need* (2023), as in the authors' code.

    Args:
        origin: (N, D), as it is.
        labels: (N,) classes.
        target: (M, D) rows among which neighbours are sought; those of `origin` if None.
        target_labels: (M,).
        k: neighbours; M − 2 if there are hardly more.
        items_per_class: neighbours among which the nearest of another class is sought; k + 1 if None.
        drop_first: leave out the nearest target as the row itself; by default only if the targets are the rows. The
            authors' code always does.
        use_variance: a third part of λ: 1 minus the variances of both kinds of distances.

    Raises:
        InputError: shapes do not fit, or there are fewer than 3 targets.

    Example:
        >>> rows = torch.tensor([[0.0], [0.0], [9.0], [9.0]])
        >>> icnn_score(rows, torch.tensor([0, 0, 1, 1]), k=1).score > 0.99
        tensor(True)
    """
    return score_neighbourhoods(
        origin,
        labels,
        target,
        target_labels,
        k=k,
        items_per_class=items_per_class,
        drop_first=drop_first,
        use_variance=use_variance,
    )


@public
def icnn_loss(
    origin: Float[Tensor, "n d"],
    labels: Int[Tensor, "n"],
    target: Float[Tensor, "m d"] | None = None,
    target_labels: Int[Tensor, "m"] | None = None,
    *,
    k: int = 4,
    items_per_class: int | None = None,
    drop_first: bool | None = None,
    use_variance: bool = False,
) -> Float[Tensor, ""]:
    """Compute `−log score` of `icnn_score`; 0 with gradient 0 where classes are perfectly apart.

    Args:
        origin: (N, D).
        labels: (N,).
        target: (M, D).
        target_labels: (M,).
        k: neighbours.
        items_per_class: see `icnn_score`.
        drop_first: see `icnn_score`.
        use_variance: see `icnn_score`.

    Raises:
        InputError: as `icnn_score`.

    Example:
        >>> rows = torch.tensor([[0.0], [0.0], [9.0], [9.0]])
        >>> icnn_loss(rows, torch.tensor([0, 0, 1, 1]), k=1) < 0.01
        tensor(True)
    """
    return icnn_of(
        score_neighbourhoods(
            origin,
            labels,
            target,
            target_labels,
            k=k,
            items_per_class=items_per_class,
            drop_first=drop_first,
            use_variance=use_variance,
        )
    )


@public
def icnn_older_score(
    origin: Float[Tensor, "n d"],
    labels: Int[Tensor, "n"],
    *,
    k: int = 5,
    p: float = 2.0,
    q: float = 2.0,
    r: float = 2.0,
) -> Float[Tensor, ""]:
    """Compute the authors' earlier score `(λ + γ) / 2` of rows among themselves.

    Distances of the k neighbours are scaled to 0 … 1 in each row; λ is the mean over rows of
    `((Σ_other d + Σ_same (1 − d)) / max over rows)^(1/p)`, γ that of `(share of the class)^(1/r)`.

    Args:
        origin: (N, D).
        labels: (N,).
        k: neighbours; 3 if there are no more than k rows.
        p: of λ.
        r: of γ.

    Raises:
        InputError: shapes do not fit, or there are fewer than 5 rows.

    Example:
        >>> rows = torch.tensor([[0.0], [0.1], [0.2], [9.0], [9.1], [9.2], [9.3]])
        >>> float(icnn_older_score(rows, torch.tensor([0, 0, 0, 1, 1, 1, 1]))) > 0.5
        True
    """
    k = 3 if k >= len(origin) else k
    if len(origin) < k + 2:
        raise InputError(f"{len(origin)} rows are too few for {k} neighbours: use {k + 2} or more.")
    found = euclidean_distances(origin, origin).topk(k + 1, dim=1, largest=False)
    distances = found.values[:, 1:]
    same = labels[found.indices[:, 1:]] == labels[:, None]
    low, high = distances.amin(dim=1, keepdim=True), distances.amax(dim=1, keepdim=True)
    scaled = (distances - low) / (high - low + ROOT_EPSILON)
    total = torch.where(same, 1 - scaled, scaled).sum(dim=1)
    quality = (total / (total.amax() + ROOT_EPSILON)) ** (1 / p)
    purity = (same.sum(dim=1).to(distances.dtype) / k) ** (1 / r)
    return (quality.mean() + purity.mean()) / 2
