"""Losses that differ in how strongly they penalise hard negatives.

Wang, Liu: *Understanding the Behaviour of Contrastive Loss* (CVPR 2021).
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import Reduction, accumulate, gathered_keys, inner_products, reduce, unit_rows
from dipole.losses.info_nce import check_has_negatives
from dipole.ops.checks import check_at_least, check_embeddings, check_same_rows, check_temperature
from dipole.ops.door import public


class HardestNegatives(NamedTuple):
    """Which negatives of each anchor are kept."""

    similarities: Float[Tensor, "n k"]
    mask: Bool[Tensor, "n m"]
    threshold: Float[Tensor, "n"]


@public
def hardest_negatives(
    negative_similarities: Float[Tensor, "n m"], *, top_k: int | None = None, alpha: float | None = None
) -> HardestNegatives:
    """Keep the most similar negatives of each anchor: those at or above its own upper-α quantile.

    Exactly K are kept, also where several are tied at the threshold. The choice is a constant for the gradient, the
    kept similarities are not.

    Args:
        negative_similarities: (N, M).
        top_k: K, the number kept; all are kept if it is M or more.
        alpha: 0 < α ≤ 1, the share kept: K = ⌈α M⌉. Give one of the two.

    Returns:
        The kept similarities (N, K) in descending order, the mask (N, M) and the threshold (N,), the smallest one kept.

    Raises:
        InputError: neither or both of `top_k` and `alpha` are given, or the value is out of range.

    Example:
        >>> kept = hardest_negatives(torch.tensor([[0.1, 0.9, 0.5]]), top_k=2)
        >>> kept.similarities, kept.threshold
        (tensor([[0.9000, 0.5000]]), tensor([0.5000]))
    """
    count = negative_similarities.shape[1]
    if count == 0:
        raise InputError("there are no negatives to choose from: expected (N, M) similarities with M ≥ 1.")
    if (top_k is None) == (alpha is None):
        raise InputError(f"top_k is {top_k} and alpha is {alpha}: give exactly one of them.")
    if alpha is not None:
        if not 0 < alpha <= 1:
            raise InputError(f"alpha is {alpha}: expected a share of the negatives above 0 and at most 1.")
        # 0.07 · 100 is a little above 7 in floating point; the share meant is 7.
        top_k = math.ceil(round(alpha * count, 9))
    assert top_k is not None
    check_at_least(top_k, 1, "top_k")
    values, indices = negative_similarities.topk(min(top_k, count), dim=1)
    mask = torch.zeros_like(negative_similarities, dtype=torch.bool).scatter(1, indices, True)
    return HardestNegatives(values, mask, values[:, -1].detach())


@public
def contrastive_loss_from_similarities(
    positive_similarities: Float[Tensor, "n"],
    negative_similarities: Float[Tensor, "n m"],
    *,
    temperature: float | Float[Tensor, ""],
    top_k: int | None = None,
    alpha: float | None = None,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "n"]:
    """Compute the contrastive loss of given similarities, plain or hard.

        ℓ_i = −log( exp(s_i⁺/τ) / (exp(s_i⁺/τ) + Σ_k exp(s_ik/τ)) ), k over all negatives, or the kept ones

    Args:
        positive_similarities: (N,).
        negative_similarities: (N, M); M = 0 gives 0.
        temperature: τ > 0.
        top_k: keep the K hardest negatives of each anchor (hard contrastive loss); see `hardest_negatives`.
        alpha: keep this share of them instead.
        reduction: over the anchors.

    Returns:
        The loss, or (N,) values.

    Example:
        >>> contrastive_loss_from_similarities(torch.ones(1), torch.zeros(1, 3), temperature=1.0)  # log(e + 3) − 1
        tensor(0.7437)
    """
    _check_similarities(positive_similarities, negative_similarities)
    check_temperature(temperature)
    positive = accumulate(positive_similarities)[:, None] / temperature
    negatives = _kept(accumulate(negative_similarities), top_k, alpha) / temperature
    values = torch.logsumexp(torch.cat([positive, negatives], dim=1), dim=1) - positive[:, 0]
    return reduce(values, reduction)


@public
def simple_loss_from_similarities(
    positive_similarities: Float[Tensor, "n"],
    negative_similarities: Float[Tensor, "n m"],
    *,
    negative_weight: float | None = None,
    top_k: int | None = None,
    alpha: float | None = None,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "n"]:
    """Compute the simple loss, linear in the similarities, plain or hard: `ℓ_i = −s_i⁺ + λ Σ_k s_ik`.

    It penalises all negatives alike; its hard form does so among the kept ones.

    Args:
        positive_similarities: (N,).
        negative_similarities: (N, M).
        negative_weight: λ; 1 / (number of negatives in the sum) if it is None, the limit of the contrastive loss for
            high temperatures.
        top_k: keep the K hardest negatives of each anchor.
        alpha: keep this share of them instead.
        reduction: over the anchors.

    Returns:
        The loss, or (N,) values.

    Example:
        >>> simple_loss_from_similarities(torch.ones(1), torch.full((1, 4), 0.5))
        tensor(-0.5000)
    """
    _check_similarities(positive_similarities, negative_similarities)
    negatives = _kept(accumulate(negative_similarities), top_k, alpha)
    if negative_weight is None:
        negative_weight = 1 / max(1, negatives.shape[1])
    return reduce(negative_weight * negatives.sum(dim=1) - accumulate(positive_similarities), reduction)


def _check_similarities(positive: Tensor, negative: Tensor) -> None:
    """Require finite similarities (N,) and (N, M)."""
    if positive.ndim != 1 or negative.ndim != 2 or len(positive) != len(negative):
        raise InputError(
            f"positive_similarities {tuple(positive.shape)} and negative_similarities {tuple(negative.shape)}: "
            "expected (N,) and (N, M)."
        )
    check_embeddings(positive_similarities=positive[:, None])
    if negative.shape[1]:
        check_embeddings(negative_similarities=negative)


def _kept(negatives: Tensor, top_k: int | None, alpha: float | None) -> Tensor:
    """All negatives, or the hardest ones if a number or a share is given."""
    if negatives.shape[1] == 0 or (top_k is None and alpha is None):
        return negatives
    return hardest_negatives(negatives, top_k=top_k, alpha=alpha).similarities


@public
def hard_contrastive_loss(
    queries: Float[Tensor, "n d"],
    positives: Float[Tensor, "n d"],
    negatives: Float[Tensor, "m d"] | None = None,
    *,
    temperature: float | Float[Tensor, ""] = 0.3,
    top_k: int | None = None,
    alpha: float | None = None,
    normalize: bool = True,
    gather: bool = False,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "n"]:
    """Compute InfoNCE against the hardest negatives of each query only.

    With neither `top_k` nor `alpha` it is InfoNCE. Truncation makes high temperatures, which tolerate similar samples,
    work. Choosing needs the similarities of a row side by side: memory is N × M here.

    Conventions: rows are normalised here; one direction, from queries to keys; mean over the queries. Without
    `negatives` the positives of the other queries serve.

    Args:
        queries: (N, D).
        positives: (N, D).
        negatives: (M, D) bank shared by all queries.
        temperature: τ > 0.
        top_k: number of negatives kept per query.
        alpha: share of the negatives kept per query.
        normalize: False if all rows are of unit length already.
        gather: in-batch: contrast against the positives of all processes.
        reduction: over the queries.

    Returns:
        The loss, or (N,) values.

    Raises:
        InputError: shapes differ, a value is not finite, the temperature is not positive, or there are no negatives.

    Example:
        >>> z = torch.eye(4)
        >>> hard_contrastive_loss(z, z, temperature=1.0, top_k=1)  # log(e + 1) − 1
        tensor(0.3133)
    """
    check_same_rows(queries=queries, positives=positives)
    queries, positives = unit_rows(queries, normalize), unit_rows(positives, normalize)
    similarities = negative_similarities(queries, positives, negatives, normalize=normalize, gather=gather)
    return contrastive_loss_from_similarities(
        (queries * positives).sum(dim=1),
        similarities,
        temperature=temperature,
        top_k=top_k,
        alpha=alpha,
        reduction=reduction,
    )


@public
def simple_contrastive_loss(
    queries: Float[Tensor, "n d"],
    positives: Float[Tensor, "n d"],
    negatives: Float[Tensor, "m d"] | None = None,
    *,
    negative_weight: float | None = None,
    top_k: int | None = None,
    alpha: float | None = None,
    normalize: bool = True,
    gather: bool = False,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "n"]:
    """Compute the simple loss `−s⁺ + λ Σ s⁻` of embeddings, plain or hard.

    Arguments, conventions and errors are those of `hard_contrastive_loss` and `simple_loss_from_similarities`.

    Example:
        >>> z = torch.eye(4)
        >>> simple_contrastive_loss(z, z)
        tensor(-1.)
    """
    check_same_rows(queries=queries, positives=positives)
    queries, positives = unit_rows(queries, normalize), unit_rows(positives, normalize)
    similarities = negative_similarities(queries, positives, negatives, normalize=normalize, gather=gather)
    return simple_loss_from_similarities(
        (queries * positives).sum(dim=1),
        similarities,
        negative_weight=negative_weight,
        top_k=top_k,
        alpha=alpha,
        reduction=reduction,
    )


def negative_similarities(
    queries: Float[Tensor, "n d"],
    positives: Float[Tensor, "n d"],
    negatives: Float[Tensor, "m d"] | None,
    *,
    normalize: bool = True,
    gather: bool = False,
) -> Float[Tensor, "n k"]:
    """Compute the similarities (N, K) of queries with a bank, or with the positives of the other queries.

    Example:
        >>> negative_similarities(torch.eye(2), torch.eye(2), None)
        tensor([[0.],
                [0.]])
    """
    if negatives is not None:
        check_embeddings(queries=queries, negatives=negatives)
        return inner_products(accumulate(queries), unit_rows(negatives, normalize))
    keys, own = gathered_keys(positives, gather)
    check_has_negatives(len(keys))
    others = torch.arange(len(keys) - 1, device=keys.device).expand(len(queries), -1)
    others = others + (others >= own[:, None])  # all columns but the own one
    return inner_products(accumulate(queries), accumulate(keys)).gather(1, others)
