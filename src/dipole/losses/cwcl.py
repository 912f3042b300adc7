"""CWCL: contrast with a frozen tower whose own similarities say how negative a pair is.

Srinivasa, Cho, Yang, Saidutta, Lee, Shen, Jin: *CWCL: Cross-Modal Transfer with Continuously Weighted Contrastive Loss*
(NeurIPS 2023).
"""

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import (
    Reduction,
    both_directions,
    contrasted_rows,
    gathered_keys,
    inner_products,
    reduce,
    unit_rows,
)
from dipole.losses.info_nce import check_has_negatives
from dipole.ops import pairwise_logsumexp
from dipole.ops.checks import check_choice, check_embeddings, check_same_rows, check_temperature
from dipole.ops.door import looking, public

Weighted = Literal["frozen_to_trainable", "trainable_to_frozen", "both"]


@public
def continuous_weights(embeddings: Float[Tensor, "n d"]) -> Float[Tensor, "n n"]:
    """Compute CWCL's weights `w_ij = ½ (1 + cos(v_i, v_j))`, with w_ii = 1, to look at; the losses need no such matrix.

    A zero row has the weight ½ with all others.

    Example:
        >>> import torch
        >>> continuous_weights(torch.tensor([[1.0, 0.0], [0.0, 2.0], [-1.0, 0.0]]))
        tensor([[1.0000, 0.5000, 0.0000],
                [0.5000, 1.0000, 0.5000],
                [0.0000, 0.5000, 1.0000]])
    """
    check_embeddings(embeddings=embeddings)
    rows = unit_rows(embeddings)
    return ((1 + inner_products(rows, rows)) / 2).clamp(0, 1).fill_diagonal_(1.0)


@public
def weighted_contrastive_loss(
    queries: Float[Tensor, "n d"],
    keys: Float[Tensor, "n d"],
    *,
    weight_embeddings: Float[Tensor, "n f"] | None = None,
    weights: Float[Tensor, "n m"] | None = None,
    temperature: float | Float[Tensor, ""] = 0.07,
    normalize: bool = True,
    gather: bool = False,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "n"]:
    """Compute the cross entropy of finding keys in proportion to weights:

        ℓ_i = −Σ_j w_ij log( exp(s_ij / τ) / Σ_k exp(s_ik / τ) ) / Σ_j w_ij,    s_ij = cos(queries_i, keys_j)

    with `w_ij = ½ (1 + cos(v_i, v_j))` of the weight embeddings v, or weights that are given: the identity makes this
    InfoNCE, 1 for rows of one class supervised contrast across modalities.

    Conventions: rows are normalised here; one direction, from queries to keys; mean over the N queries; no gradient
    reaches the weights. With weight embeddings no N×N matrix is made: Σ_j w_ij s_ij is bilinear in them, O(N D F).

    Args:
        queries: (N, D).
        keys: (N, D); row i belongs to query i.
        weight_embeddings: (N, F) of which the weights are computed.
        weights: (N, N) instead, at least 0, of sums above 0; with `gather` (N, N of all processes).
        temperature: τ > 0, a number or a learnable scalar.
        normalize: False if queries and keys are of unit length already. Weight embeddings are always normalised.
        gather: contrast against the keys of all processes.
        reduction: over the queries.

    Returns:
        The loss, or (N,) values.

    Raises:
        InputError: shapes differ, a value is not finite, both or none of the weights came, weights are negative or sum
            to 0, the temperature is not positive, or N = 1.

    Example:
        >>> import torch
        >>> z = torch.eye(4)
        >>> weighted_contrastive_loss(z, z, weights=torch.eye(4), temperature=1.0)  # log(e + 3) − 1
        tensor(0.7437)
    """
    _check(queries, keys, weight_embeddings, weights, temperature)
    queries, keys = unit_rows(queries, normalize), unit_rows(keys, normalize)
    every_key, _ = gathered_keys(keys, gather)
    check_has_negatives(len(every_key))
    similarity = _weighted_similarity(queries, keys, every_key, weight_embeddings, weights, gather)
    denominator = pairwise_logsumexp(queries, every_key, 1 / temperature)
    return reduce(denominator - similarity / temperature, reduction)


@public
def cwcl_loss(
    trainable: Float[Tensor, "n d"],
    frozen: Float[Tensor, "n d"],
    *,
    weight_embeddings: Float[Tensor, "n f"] | None = None,
    weights: Float[Tensor, "n m"] | None = None,
    temperature: float | Float[Tensor, ""] = 0.07,
    weighted: Weighted = "frozen_to_trainable",
    directions: Literal["sum", "mean"] = "sum",
    normalize: bool = True,
    gather: bool = False,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "n"]:
    """Compute CWCL's loss for a trainable tower p and a frozen one q:

        weighted, q → p:  −Σ_j w_ij log( exp(⟨q_i, p_j⟩ / τ) / Σ_k exp(⟨q_i, p_k⟩ / τ) ) / Σ_j w_ij
        plain,    p → q:  −log( exp(⟨p_i, q_i⟩ / τ) / Σ_k exp(⟨p_i, q_k⟩ / τ) )

    with the weights `w_ij = ½ (1 + cos(v_i, v_j))` of the frozen tower's own features. The other direction stays plain,
    since the trainable tower's similarities are not to be trusted.

    Conventions: rows are normalised here; **sum** of the two directions; mean over the N pairs. No gradient reaches the
    weights. If q has a trainable projection, give the features before it as weight embeddings.

    Srinivasa et al.: *CWCL* (NeurIPS 2023). The authors published no code.

    Args:
        trainable: (N, D) embeddings p.
        frozen: (N, D) embeddings q; row i belongs to row i of `trainable`.
        weight_embeddings: (N, F) frozen features v; `frozen` if None.
        weights: (N, N) instead; see `weighted_contrastive_loss`.
        temperature: τ > 0, a number or a learnable scalar.
        weighted: which direction is weighted.
        directions: `"sum"` of the two directions or their `"mean"`, as CLIP has it.
        normalize: False if trainable and frozen rows are of unit length already.
        gather: contrast against the pairs of all processes.
        reduction: over the pairs.

    Returns:
        The loss, or (N,) values.

    Raises:
        InputError: shapes differ, a value is not finite, both kinds of weights came, weights are negative or sum to 0,
            the temperature is not positive, or N = 1.

    Example:
        >>> import torch
        >>> z = torch.eye(4)
        >>> cwcl_loss(z, z, temperature=1.0)  # 2 log(e + 3) − 1 − 1 / (1 + 3 / 2)
        tensor(2.0873)
    """
    check_choice(weighted, ("frozen_to_trainable", "trainable_to_frozen", "both"), "weighted")
    check_choice(directions, ("sum", "mean"), "directions")
    if weight_embeddings is None and weights is None:
        weight_embeddings = frozen
    _check(trainable, frozen, weight_embeddings, weights, temperature)
    trainable, frozen = unit_rows(trainable, normalize), unit_rows(frozen, normalize)
    check_has_negatives(contrasted_rows(trainable, gather))
    denominators = both_directions(frozen, trainable, temperature, gather)
    targets = [
        _weighted_similarity(queries, keys, gathered_keys(keys, gather)[0], weight_embeddings, weights, gather)
        if weighted in (direction, "both")
        else (queries * keys).sum(dim=1)
        for direction, queries, keys in (
            ("frozen_to_trainable", frozen, trainable),
            ("trainable_to_frozen", trainable, frozen),
        )
    ]
    values = denominators.queries + denominators.keys - (targets[0] + targets[1]) / temperature
    return reduce(values if directions == "sum" else values / 2, reduction)


def _weighted_similarity(
    queries: Tensor,
    keys: Tensor,
    every_key: Tensor,
    weight_embeddings: Tensor | None,
    weights: Tensor | None,
    gather: bool,
) -> Tensor:
    """Σ_j w_ij ⟨queries_i, keys_j⟩ / Σ_j w_ij."""
    if weights is not None:
        _check_weights(weights, len(queries), len(every_key))
        shares = weights.detach().to(queries.dtype)
        mean = inner_products(shares / shares.sum(dim=1, keepdim=True), every_key.T)
        return (queries * mean).sum(dim=1)
    assert weight_embeddings is not None
    features = unit_rows(weight_embeddings.detach()).to(queries.dtype)
    every_feature, _ = gathered_keys(features, gather)
    # Σ_j ½ (1 + ⟨v_i, v_j⟩) ⟨q_i, k_j⟩ = ½ ⟨q_i, Σ_j k_j⟩ + ½ q_iᵀ (Σ_j k_j v_jᵀ) v_i
    mixed = inner_products(features, inner_products(every_key.T, every_feature.T))
    # w_ii is 1 by definition, also where a row is zero.
    missing = (1 - features.square().sum(dim=1)) / 2
    total = (queries * (mixed + every_key.sum(dim=0)) / 2 + missing[:, None] * queries * keys).sum(dim=1)
    weight = (features * every_feature.sum(dim=0)).sum(dim=1) / 2 + len(every_key) / 2 + missing
    return total / weight


def _check(
    queries: Tensor,
    keys: Tensor,
    weight_embeddings: Tensor | None,
    weights: Tensor | None,
    temperature: float | Tensor,
) -> None:
    """Require paired rows and exactly one source of weights."""
    check_same_rows(queries=queries, keys=keys)
    check_temperature(temperature)
    if (weight_embeddings is None) == (weights is None):
        raise InputError("give weight_embeddings, of which weights are computed, or weights: exactly one of them.")
    if weight_embeddings is not None:
        check_embeddings(weight_embeddings=weight_embeddings)
        if len(weight_embeddings) != len(queries):
            raise InputError(
                f"{len(weight_embeddings)} weight embeddings came for {len(queries)} pairs: give one each."
            )


def _check_weights(weights: Tensor, rows: int, columns: int) -> None:
    """Require weights that can be divided by their sum."""
    if weights.shape != (rows, columns):
        raise InputError(f"weights has shape {tuple(weights.shape)}: expected {(rows, columns)}, queries by keys.")
    usable = weights.isfinite() & (weights >= 0)
    if looking() and not (bool(usable.all()) and bool((weights.sum(dim=1) > 0).all())):
        raise InputError("weights holds a negative or infinite entry or a row of zeros: each query needs a target.")
