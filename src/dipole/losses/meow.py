"""MEOW and AdaMEOW: a node against all nodes of another view, weighted by repeated clustering or by a network."""

import math
import warnings
from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from dipole.errors import InputError
from dipole.losses.common import Reduction, accumulate, inner_products, reduce, unit_rows
from dipole.ops.checks import check_at_least, check_choice, check_embeddings, check_temperature
from dipole.ops.door import looking, public, traced
from dipole.ops.groups import counts_of_labels

ENTRIES_AT_ONCE = 2**22  # of anchors and candidates
Concentration = Literal["l2", "ip"]


@public
def cluster_negative_weights(assignments: Int[Tensor, "m n"]) -> Int[Tensor, "n n"]:
    """Compute `γ_ij = M − Σ_m 1[a_m(i) = a_m(j)]`: how many of M clusterings separate two nodes.

    Yu et al.: *Heterogeneous Graph Contrastive Learning with Meta-path Contexts and Weighted Negative Samples* (SDM
    2023).

    Args:
        assignments: (M, N) the cluster of each node in each clustering.

    Returns:
        (N, N) from 0 to M; 0 on the diagonal.

    Raises:
        InputError: there is no clustering or no node.

    Example:
        >>> cluster_negative_weights(torch.tensor([[0, 0, 1], [0, 1, 1]]))
        tensor([[0, 1, 2],
                [1, 0, 1],
                [2, 1, 0]])
    """
    _check_assignments(assignments)
    return _separations(assignments, assignments)


@public
def cluster_contrast_loss(
    anchors: Float[Tensor, "n d"],
    candidates: Float[Tensor, "m d"],
    assignments: Int[Tensor, "c m"],
    *,
    temperature: float = 0.4,
    own: Int[Tensor, "n"] | None = None,
    share: bool = False,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "n"]:
    """Contrast every anchor with the nodes that clusterings separate from it:

        ℓ_i = −log( exp(s_ii / τ) / Σ_j γ_ij exp(s_ij / τ) ),   γ of `cluster_negative_weights`,   s cosines

    One direction. The positive is not in the denominator, as γ_ii = 0, so that the loss can be negative. γ is made in
    tiles: memory grows with N, not N². An anchor that no clustering separates from any candidate has no negatives; it
    contributes 0, does not count in the mean, and is warned of.

    Yu et al. (SDM 2023), MEOW.

    Args:
        anchors: (N, D) of the coarse view; normalised here.
        candidates: (M, D) of the fine view; normalised here.
        assignments: (C, M) clusters of the candidates.
        temperature: τ.
        own: (N,) the candidate of each anchor's own node; anchor i is node i if None.
        share: divide γ by the number of clusterings, which shifts the loss by its logarithm.
        reduction: `"mean"`, `"sum"` or `"none"`.

    Raises:
        InputError: shapes do not fit, or a value is out of range.

    Example:
        >>> z = torch.eye(2)
        >>> cluster_contrast_loss(z, z, torch.tensor([[0, 1]]), temperature=1.0)  # −log(e / 1)
        tensor(-1.)
    """
    _check_assignments(assignments)
    if assignments.shape[1] != len(candidates):
        raise InputError(f"assignments name {assignments.shape[1]} nodes, and there are {len(candidates)} candidates.")
    own = _own(anchors, candidates, own)
    scale = 1 / len(assignments) if share else 1.0

    def log_weight(rows: Tensor) -> Tensor:
        return (_separations(assignments[:, own[rows]], assignments) * scale).log()

    return contrast_in_tiles(anchors, candidates, log_weight, temperature=temperature, own=own, reduction=reduction)


@public
def weighted_info_nce_loss(
    anchors: Float[Tensor, "n d"],
    candidates: Float[Tensor, "m d"],
    weight: Float[Tensor, "n m"],
    *,
    temperature: float = 0.4,
    own: Int[Tensor, "n"] | None = None,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "n"]:
    """Compute `−log( exp(s_ii / τ) / Σ_j w_ij exp(s_ij / τ) )` with a weight for every pair; s are cosines.

    The positive is in the denominator with its own weight. Gradients reach weights above 0; one of 0 leaves the pair
    out. An anchor whose weights are all 0 contributes 0, does not count in the mean, and is warned of.

    Yu et al. (SDM 2023; TKDE 2024), MEOW and AdaMEOW.

    Args:
        anchors: (N, D), normalised here.
        candidates: (M, D), normalised here.
        weight: (N, M), 0 or more.
        temperature: τ.
        own: (N,) the candidate of each anchor's own node; anchor i is node i if None.
        reduction: `"mean"`, `"sum"` or `"none"`.

    Raises:
        InputError: shapes do not fit, a weight is negative, or the temperature is not above 0.

    Example:
        >>> z = torch.eye(2)
        >>> weighted_info_nce_loss(z, z, torch.ones(2, 2), temperature=1.0)  # log(1 + 1 / e)
        tensor(0.3133)
    """
    if weight.shape != (len(anchors), len(candidates)):
        raise InputError(
            f"weight has shape {tuple(weight.shape)}: expected one for every anchor and candidate, "
            f"{(len(anchors), len(candidates))}."
        )
    if looking() and bool((weight < 0).any()):
        raise InputError("weight has negative entries: expected 0 or more.")
    own = _own(anchors, candidates, own)
    weight = accumulate(weight)

    def log_weight(rows: Tensor) -> Tensor:
        part = weight[rows]
        return torch.where(part > 0, torch.where(part > 0, part, 1).log(), -math.inf)

    return contrast_in_tiles(anchors, candidates, log_weight, temperature=temperature, own=own, reduction=reduction)


@public
def cluster_concentration(
    x: Float[Tensor, "n d"],
    assignment: Int[Tensor, "n"],
    centroids: Float[Tensor, "k d"],
    *,
    temperature: float = 0.4,
    smoothing: float = 5.0,
    metric: Concentration = "l2",
) -> Float[Tensor, "k"]:
    """Compute how wide each cluster is, `φ_c = mean_{i∈c} √D_i / log(n_c + smoothing)`, scaled to the mean τ.

    Clusters of fewer than two nodes take the largest φ. Values beyond the 10th and 90th percentile are clipped before
    the scaling. No gradient.

    Li et al.: *Prototypical Contrastive Learning of Unsupervised Representations* (ICLR 2021); Yu et al. (SDM 2023).

    Args:
        x: (N, D) embeddings, as they were clustered.
        assignment: (N,) clusters.
        centroids: (K, D), not normalised.
        temperature: τ.
        smoothing: α: 5 in MEOW, 10 in PCL.
        metric: D is the squared distance to the centroid (`"l2"`), or the inner product with it (`"ip"`), which the
            authors' index returns; tight clusters then have a large φ. Negative products count as 0.

    Returns:
        (K,).

    Raises:
        InputError: shapes do not fit, no cluster has two nodes, or all nodes lie on their centroids.

    Example:
        >>> x = torch.tensor([[0.0], [2.0], [0.0], [2.0]])
        >>> cluster_concentration(x, torch.tensor([0, 0, 1, 1]), torch.ones(2, 1), temperature=0.5)
        tensor([0.5000, 0.5000])
    """
    check_choice(metric, ("l2", "ip"), "metric")
    check_temperature(temperature)
    check_at_least(smoothing, 1, "smoothing")
    check_embeddings(x=x, centroids=centroids)
    _check_clusters(assignment, len(x), len(centroids))
    x, centroids = accumulate(x.detach()), accumulate(centroids.detach())
    own = centroids[assignment]
    distance = (x - own).square().sum(dim=1) if metric == "l2" else (x * own).sum(dim=1).clamp_min(0)
    size = counts_of_labels(assignment, len(centroids)).to(x.dtype)
    total = x.new_zeros(len(centroids)).index_add(0, assignment, distance.sqrt())
    wide = total / size.clamp_min(1) / (size + smoothing).log()
    several = size > 1
    if looking() and not bool(several.any()):
        raise InputError(f"none of {len(centroids)} clusters has two nodes: ask for fewer clusters.")
    wide = torch.where(several, wide, wide.masked_fill(~several, 0).max())
    wide = wide.clamp(wide.quantile(0.1), wide.quantile(0.9))
    if looking() and not bool(((wide > 0) & wide.isfinite()).all()):
        raise InputError("clusters have no width: nodes lie on their centroids, or too far away. Ask for fewer.")
    return temperature * wide / wide.mean()


@public
def prototype_loss(
    anchors: Float[Tensor, "n d"],
    prototypes: Float[Tensor, "k d"],
    assignment: Int[Tensor, "n"],
    concentration: Float[Tensor, "k"],
) -> Float[Tensor, ""]:
    """Contrast every anchor with the centroids of a clustering:

        −mean_i log( exp(u_i · c_a(i) / φ_a(i)) / [ (N / K) Σ_c exp(u_i · c_c / φ_c) ] )

    The factor N / K is the authors' and shifts the loss alone. Gradients reach the anchors alone.

    Yu et al. (SDM 2023), MEOW.

    Args:
        anchors: (N, D), normalised here.
        prototypes: (K, D), normalised here.
        assignment: (N,) clusters of the anchors.
        concentration: (K,) φ, see `cluster_concentration`.

    Raises:
        InputError: shapes do not fit, or a φ is not above 0.

    Example:
        >>> prototype_loss(torch.eye(2), torch.eye(2), torch.arange(2), torch.ones(2))  # log(1 + 1 / e)
        tensor(0.3133)
    """
    check_embeddings(anchors=anchors, prototypes=prototypes)
    _check_clusters(assignment, len(anchors), len(prototypes))
    if concentration.shape != (len(prototypes),) or (looking() and not bool((concentration > 0).all())):
        raise InputError("concentration holds a number above 0 for each prototype: see cluster_concentration.")
    own, unit = unit_rows(anchors), unit_rows(prototypes.detach())
    logits = inner_products(own, unit.to(own.dtype)) / accumulate(concentration.detach()).to(own.dtype)
    positive = logits.gather(1, assignment[:, None])[:, 0]
    return (logits.logsumexp(dim=1) - positive).mean() + math.log(len(anchors) / len(prototypes))


def contrast_in_tiles(
    anchors: Tensor,
    candidates: Tensor,
    log_weight: Callable[[Tensor], Tensor],
    *,
    temperature: float,
    own: Tensor,
    reduction: Reduction = "mean",
) -> Tensor:
    """`weighted_info_nce_loss` whose logarithms of weights a function makes of the indices of some rows."""
    check_embeddings(anchors=anchors, candidates=candidates)
    check_temperature(temperature)
    first, second = unit_rows(anchors), unit_rows(candidates)
    both = torch.promote_types(first.dtype, second.dtype)
    first, second = first.to(both), second.to(both)

    def denominators(rows: Tensor, part: Tensor) -> Tensor:
        weights = log_weight(rows).to(both)
        logits = torch.where(weights == -math.inf, -math.inf, inner_products(part, second) / temperature + weights)
        alone = (weights == -math.inf).all(dim=1)
        found = torch.where(alone[:, None], 0, logits).logsumexp(dim=1)
        return torch.where(alone, math.nan, found)

    parts = []
    every = torch.arange(len(first), device=first.device)
    for rows in every.split(max(1, ENTRIES_AT_ONCE // len(second))):
        whole = len(rows) == len(every) or traced() or not torch.is_grad_enabled()
        arguments = (rows, first[rows])
        parts.append(denominators(*arguments) if whole else checkpoint(denominators, *arguments, use_reentrant=False))
    denominator = torch.cat(parts)
    positive = (first * second[own]).sum(dim=1) / temperature
    alone = denominator.isnan()
    losses = torch.where(alone, 0, torch.where(alone, 0, denominator) - torch.where(alone, 0, positive))
    if not looking() or not bool(alone.any()):
        return reduce(losses, reduction)
    warnings.warn(
        f"{int(alone.sum())} of {len(alone)} anchors have no negatives, as all weights are 0: they are left out.",
        stacklevel=3,
    )
    return losses.sum() / (~alone).sum().clamp_min(1) if reduction == "mean" else reduce(losses, reduction)


def _separations(first: Tensor, second: Tensor) -> Tensor:
    """How many clusterings (M, A) and (M, B) separate nodes, (A, B)."""
    found = torch.zeros(first.shape[1], second.shape[1], dtype=torch.int64, device=first.device)
    for left, right in zip(first, second, strict=True):
        found += left[:, None] != right[None]
    return found


def _own(anchors: Tensor, candidates: Tensor, own: Tensor | None) -> Tensor:
    """The candidate of each anchor's own node."""
    if own is None:
        if len(anchors) != len(candidates):
            raise InputError(
                f"{len(anchors)} anchors and {len(candidates)} candidates: say in own which candidate is whose."
            )
        return torch.arange(len(anchors), device=anchors.device)
    outside = own.numel() and looking() and not 0 <= int(own.min()) <= int(own.max()) < len(candidates)
    if own.shape != (len(anchors),) or outside:
        raise InputError(f"own has shape {tuple(own.shape)}: expected the place of a candidate for each anchor.")
    return own.long()


def _check_assignments(assignments: Tensor) -> None:
    """Require clusterings of nodes."""
    if assignments.ndim != 2 or not assignments.numel():
        raise InputError(
            f"assignments has shape {tuple(assignments.shape)}: expected (M, N), clusters of N nodes M times."
        )


def _check_clusters(assignment: Tensor, rows: int, clusters: int) -> None:
    """Require the number of a cluster for each row."""
    if assignment.shape != (rows,):
        raise InputError(f"assignment has shape {tuple(assignment.shape)}: expected a cluster for each of {rows} rows.")
    if looking() and not 0 <= int(assignment.min()) <= int(assignment.max()) < clusters:
        raise InputError(f"assignment names clusters up to {int(assignment.max())}: expected 0 to {clusters - 1}.")
