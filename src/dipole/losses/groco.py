"""Group ordering constraints: every positive ranks above the hardest negatives.

Shvetsova, Petersen, Kukleva, Schiele, Kuehne: *Learning by Sorting: Self-supervised Learning with Group Ordering
Constraints* (ICCV 2023).
"""

import math
import warnings
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import Reduction, accumulate, gathered_keys, inner_products, reduce, unit_rows
from dipole.losses.info_nce import check_has_negatives
from dipole.losses.sorting import Distribution, NetworkName, rank_group_probability
from dipole.ops import gather as gather_rows
from dipole.ops.checks import check_at_least, check_embeddings, check_views
from dipole.ops.door import public


class AnchorGroups(NamedTuple):
    """The two groups of similarities of the anchors of one view, each in ascending order."""

    view: int
    positives: Float[Tensor, "n p"]
    negatives: Float[Tensor, "n k"]


@public
def groco_loss(
    views: Float[Tensor, "v n d"],
    *,
    top_k: int = 10,
    steepness: float = 1.0,
    network: NetworkName = "odd_even",
    distribution: Distribution = "cauchy",
    num_positive_views: int | None = None,
    stop_gradient: bool = True,
    ids: Int[Tensor, " n"] | None = None,
    normalize: bool = True,
    gather: bool = False,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, " anchors"]:
    """Compute GroCo's loss: sort positives and hardest negatives of every anchor, and look who lands in whose ranks.

        ℓ = −mean_i log g_i

    where i runs over k negatives and P positives, and g_i is the probability that a negative ends among the lower k
    ranks, a positive among the upper P ranks.

    The similarities of an anchor, view v of sample b, are

    - positives: cos(z_v[b], z_p[b]) with each other positive view p, P in all;
    - negatives: the `top_k` = k largest of cos(z_v[b], z_v[j]) with the **same** view of the other samples j.

    A differentiable sorting network orders them. The order within a group is free, and what is in order already gives
    little gradient: the loss works on the neighbourhood of the anchor.

    Conventions: rows are normalised here; every view of every sample is an anchor, and the mean is over all; there is
    no temperature. References are constants for the gradient, which reaches every view as an anchor. The loss is flat:
    with β = 1 and cosines from −1 to 1 it cannot reach 0, and it needs a large learning rate (the authors': 24, by SGD
    with batches of 1024). One N × N matrix of similarities, that of a view, stands in memory at a time.

    The paper sorts distances and the authors' code similarities: the same.

    Args:
        views: (V, N, D) embeddings of V views.
        top_k: k; all other samples if there are fewer, with a warning.
        steepness: β of the sorting network.
        network: see `sorting_network`.
        distribution: see `differentiable_sort`.
        num_positive_views: the first so many views serve as positives (full crops, before small ones); all if None. A
            view that is left without positives is no anchor.
        stop_gradient: treat positives and negatives as constants.
        ids: (N,) of the samples, where some may occur twice in a batch: equal ones are no negatives of each other.
        normalize: False if the rows are of unit length already.
        gather: contrast against the samples of all processes.
        reduction: over the anchors, view by view.

    Returns:
        The loss, or one value for each anchor.

    Raises:
        InputError: another shape, a value is not finite, an argument is out of range, or N = 1.

    Example:
        >>> z = torch.eye(4)
        >>> groco_loss(torch.stack([z, z]), top_k=1)  # −log(arctan(1) / π + ½)
        tensor(0.2877)
    """
    groups = anchor_groups(
        views,
        top_k=top_k,
        num_positive_views=num_positive_views,
        stop_gradient=stop_gradient,
        ids=ids,
        normalize=normalize,
        gather=gather,
    )
    values = [
        group_ordering_loss(
            group.positives,
            group.negatives,
            steepness=steepness,
            network=network,
            distribution=distribution,
            reduction="none",
        )
        for group in groups
    ]
    return reduce(torch.cat(values), reduction)


@public
def group_ordering_loss(
    positive_similarities: Float[Tensor, "n p"],
    negative_similarities: Float[Tensor, "n k"],
    *,
    steepness: float = 1.0,
    network: NetworkName = "odd_even",
    distribution: Distribution = "cauchy",
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, " n"]:
    """Compute the group ordering loss of given similarities: positives should rank above negatives.

    Both groups are sorted first, so that the network starts from [neg₁ ≤ … ≤ neg_K, pos₁ ≤ … ≤ pos_P]. With the
    probability g_i that value i lands among the ranks of its own group, the loss is `−mean_i log g_i`; the logarithm
    ends at −100. It is the authors' ½ [BCE(u, t) + BCE(1 − u, 1 − t)].

    Args:
        positive_similarities: (N, P), P ≥ 1.
        negative_similarities: (N, K), K ≥ 1.
        steepness: β of the sorting network.
        network: see `sorting_network`.
        distribution: see `differentiable_sort`.
        reduction: over the anchors.

    Returns:
        The loss, or (N,) values.

    Raises:
        InputError: shapes do not fit, a group is empty, a value is not finite, or an argument is out of range.

    Example:
        >>> group_ordering_loss(torch.ones(1, 1), torch.zeros(1, 1))
        tensor(0.2877)
        >>> group_ordering_loss(torch.zeros(1, 1), torch.ones(1, 1))
        tensor(1.3863)
    """
    groups = {"positive_similarities": positive_similarities, "negative_similarities": negative_similarities}
    for name, values in groups.items():
        check_embeddings(**{name: values})
    if len(positive_similarities) != len(negative_similarities):
        shapes = ", ".join(f"{name} {tuple(values.shape)}" for name, values in groups.items())
        raise InputError(f"{shapes}: expected (N, P) and (N, K), one row for each anchor.")
    positives, negatives = accumulate(positive_similarities), accumulate(negative_similarities)
    ordered = torch.cat([negatives.sort(dim=1).values, positives.sort(dim=1).values], dim=1)
    probability = rank_group_probability(
        ordered, positives.shape[1], network=network, steepness=steepness, distribution=distribution
    )
    k = negatives.shape[1]
    # Rounding can leave a probability of 1 + 1e-16.
    own = torch.cat([probability[:, :k, 0], probability[:, k:, 1]], dim=1).clamp(0, 1)
    with torch.autocast(own.device.type, enabled=False):
        # −log g with the authors' bound of 100 and a finite gradient at g = 0.
        values = F.binary_cross_entropy(own, torch.ones_like(own), reduction="none")
    return reduce(values.mean(dim=1), reduction)


@public
def anchor_groups(
    views: Float[Tensor, "v n d"],
    *,
    top_k: int = 10,
    num_positive_views: int | None = None,
    stop_gradient: bool = True,
    ids: Int[Tensor, " n"] | None = None,
    normalize: bool = True,
    gather: bool = False,
) -> list[AnchorGroups]:
    """Compute what `groco_loss` sorts: positives and hardest negatives of the anchors of each view.

    Arguments and errors are those of `groco_loss`.

    Returns:
        For each view that has positives: its index, positives (N, P) and negatives (N, K), both ascending.

    Example:
        >>> z = torch.eye(3)
        >>> [group] = anchor_groups(torch.stack([z, z]), top_k=2, num_positive_views=2)[:1]
        >>> group.positives[0], group.negatives[0]
        (tensor([1.]), tensor([0., 0.]))
    """
    check_views(views)
    check_at_least(top_k, 1, "top_k")
    full = len(views) if num_positive_views is None else num_positive_views
    if not 1 <= full <= len(views):
        raise InputError(f"num_positive_views is {full} of {len(views)} views: expected 1 to {len(views)}.")
    views = unit_rows(views, normalize)
    references = views.detach() if stop_gradient else views
    candidates, own = gathered_keys(references.transpose(0, 1), gather)
    check_has_negatives(len(candidates))
    excluded, available = _not_negatives(ids, own, len(candidates), gather)
    if top_k > available:
        warnings.warn(f"top_k is {top_k}, but an anchor has {available} negatives: they all count.", stacklevel=3)
    found = []
    for view, anchors in enumerate(views):
        partners = [p for p in range(full) if p != view]
        if partners:
            similarities = inner_products(anchors, candidates[:, view]).masked_fill(excluded, -math.inf)
            negatives = similarities.topk(min(top_k, available), dim=1).values.flip(1)
            others = torch.stack([references[partner] for partner in partners])
            positives = (anchors * others).sum(dim=-1).T.sort(dim=1).values
            found.append(AnchorGroups(view, positives, negatives))
    return found


def _not_negatives(ids: Tensor | None, own: Tensor, total: int, gather: bool) -> tuple[Tensor, int]:
    """Which of all samples are no negatives of an anchor (N, M), and how many negatives every anchor has at least."""
    if ids is None:
        return own[:, None] == torch.arange(total, device=own.device), total - 1
    if ids.shape != own.shape or ids.is_floating_point():
        raise InputError(
            f"ids is {ids.dtype} of shape {tuple(ids.shape)}: expected integers of shape ({len(own)},), one a sample."
        )
    ids = ids.to(own.device)
    excluded = ids[:, None] == (gather_rows(ids) if gather else ids)
    fewest = (total - excluded.sum(dim=1)).amin(dim=0, keepdim=True)
    available = int((gather_rows(fewest) if gather else fewest).min())
    if available == 0:
        raise InputError("ids are all equal for some sample: it has no negatives. Use a batch of different samples.")
    return excluded, available
