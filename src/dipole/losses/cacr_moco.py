"""CACR with momentum keys: the queue of MoCo v2 and the predictor of MoCo v3.

Zheng et al.: *Contrastive Attraction and Contrastive Repulsion for Representation Learning* (TMLR 2023).
"""

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.cacr import Cost, attraction_weights, lift_keys, lift_queries, positive_distances
from dipole.losses.common import gathered_keys, unit_rows
from dipole.ops import pairwise_logsumexp, pairwise_softmax_mean
from dipole.ops.checks import check_at_least, check_choice, check_embeddings, check_temperature, check_views
from dipole.ops.door import public
from dipole.ops.pairwise import constant_weights_mean


@public
def cacr_queue_loss(
    queries: Float[Tensor, "v n d"],
    keys: Float[Tensor, "v n d"],
    queue: Float[Tensor, "m d"],
    *,
    t_positive: float = 1.0,
    t_negative: float = 2.0,
    alpha: float = 1.0,
    beta: float = 1.0,
    intra_batch: bool = True,
    detach_weights: Literal["all", "queue"] = "all",
    queue_queries: Literal["own", "first_view"] = "own",
    normalize: bool = True,
) -> Float[Tensor, ""]:
    """Compute CACR with a queue of negatives: `α · attraction + β · repulsion`, averaged over the query views.

    Queries are drawn to the momentum keys of the other views of their sample and repulsed from the queue and,
    with `intra_batch`, from the other queries of their own view; one softmax of −t⁻ d² runs over both kinds of
    negatives. Its weighted mean is put together from the two kinds, so that no N × M matrix is kept for the gradient.

    Conventions: rows are normalised here; keys and queue are constants; w⁺ is a constant.

    Args:
        queries: (V, N, D) of the query encoder, V ≥ 2.
        keys: (V, N, D) of the momentum encoder.
        queue: (M, D), M ≥ 0; α = 0 or β = 0 gives one term alone.
        t_positive: t⁺ ≥ 0.
        t_negative: t⁻ ≥ 0.
        alpha: weight of the attraction.
        beta: weight of the repulsion.
        intra_batch: repulse from the other queries of the same view too; the gradient reaches both sides.
        detach_weights: `"all"` treats w⁻ as a constant; `"queue"`, as the authors' code, only the logits of the queue.
        queue_queries: `"own"`; `"first_view"` repeats a slip of the authors' code, which measures the distance of the
            first view to the queue for every view.
        normalize: False if all rows are of unit length already.

    Returns:
        The loss.

    Raises:
        InputError: shapes differ, a value is not finite, a t is negative, or there is no negative at all.

    Example:
        >>> z = torch.eye(4)
        >>> cacr_queue_loss(z[:2].repeat(2, 1, 1), z[:2].repeat(2, 1, 1), z[2:])  # all negatives at distance √2
        tensor(-2.)
    """
    check_views(queries)
    check_views(keys)
    if queries.shape != keys.shape:
        raise InputError(f"queries {tuple(queries.shape)} and keys {tuple(keys.shape)} differ: encode the same views.")
    check_at_least(t_positive, 0, "t_positive")
    check_at_least(t_negative, 0, "t_negative")
    check_choice(detach_weights, ("all", "queue"), "detach_weights")
    check_choice(queue_queries, ("own", "first_view"), "queue_queries")
    if len(queue):
        check_embeddings(queries=queries.flatten(0, 1), queue=queue)
    if len(queue) == 0 and (queries.shape[1] == 1 or not intra_batch):
        raise InputError("there is no negative: the queue is empty and the batch offers none. Fill the queue first.")
    queries, keys = unit_rows(queries, normalize), unit_rows(keys.detach(), normalize)
    queue = unit_rows(queue.detach(), normalize)

    distances = positive_distances(queries, keys)
    weights = attraction_weights(distances.detach(), t_positive)
    attraction = (weights * distances).sum(dim=-1).mean()

    repulsion, lifted_queue = [], lift_keys(queue)
    for own in queries:
        towards_queue = own if queue_queries == "own" else queries[0]
        parts = []
        if len(queue):
            parts.append(_negatives(lift_queries(towards_queue), lifted_queue, t_negative, None, detach_weights=True))
        if intra_batch and len(own) > 1:
            others = torch.arange(len(own), device=own.device)
            lifted, lifted_keys = lift_queries(own), lift_keys(own)
            parts.append(_negatives(lifted, lifted_keys, t_negative, others, detach_weights=detach_weights == "all"))
        share = torch.softmax(torch.stack([mass for mass, _ in parts]), dim=0)
        repulsion.append(-(share * torch.stack([distance for _, distance in parts])).sum(dim=0).mean())
    return alpha * attraction + beta * torch.stack(repulsion).mean()


def _negatives(
    lifted: Tensor, lifted_keys: Tensor, t_negative: float, exclude: Tensor | None, *, detach_weights: bool
) -> tuple[Tensor, Tensor]:
    """Return the log of the summed weights of one kind of negatives, and their weighted mean squared distance."""
    if detach_weights and not lifted_keys.requires_grad:
        distance, mass = constant_weights_mean(lifted, lifted_keys, -t_negative, exclude)
        return mass, distance
    distance = pairwise_softmax_mean(lifted, lifted_keys, -t_negative, exclude=exclude, detach_weights=detach_weights)
    if detach_weights:
        lifted, lifted_keys = lifted.detach(), lifted_keys.detach()
    return pairwise_logsumexp(lifted, lifted_keys, -t_negative, exclude=exclude), distance


@public
def cacr_momentum_loss(
    queries: Float[Tensor, "v n d"],
    key: Float[Tensor, "n d"],
    *,
    temperature: float = 1.0,
    cost: Cost = "rbf",
    normalize: bool = True,
    gather: bool = False,
    reduction: Literal["mean", "sum"] = "mean",
) -> Float[Tensor, ""]:
    """Compute CACR in the form of MoCo v3: several predicted views against one momentum key.

        rbf:        Σ_v mean_n p_v[n] · CE(⟨q_v[n], k⟩ / T, own key) · 2T
        euclidean:  Σ_v reduce_n p_v[n] · (c(q_v[n], k[n]) − Σ_{m≠n} softmax_m(−c/T) c(q_v[n], k[m])),   c = 1 − cosine

    with p = softmax_v(d²(q_v[n], k[n]) / T): far queries weigh more. p and the repulsion weights are constants in the
    gradient. Conventions: rows are normalised here; the views are summed (p sums to 1 over them).

    Args:
        queries: (V, N, D) predictor outputs of the views other than the key's.
        key: (N, D) momentum output of one view; a constant.
        temperature: T > 0.
        cost: `"rbf"`, InfoNCE per query, or `"euclidean"`.
        normalize: False if all rows are of unit length already.
        gather: contrast against the keys of all processes.
        reduction: over the samples for the Euclidean cost; the authors' code has `"sum"`. The RBF cost is a mean there.

    Returns:
        The loss.

    Raises:
        InputError: shapes differ, a value is not finite, or the temperature is not positive.

    Example:
        >>> cacr_momentum_loss(torch.eye(3)[None], torch.eye(3))  # 2 (log(e + 2) − 1)
        tensor(1.1029)
    """
    check_views(queries, minimum=1)
    check_embeddings(key=key)
    if queries.shape[1:] != key.shape:
        raise InputError(f"queries {tuple(queries.shape)} and key {tuple(key.shape)} differ: encode the same samples.")
    check_temperature(temperature)
    check_choice(cost, get_args(Cost), "cost")
    check_choice(reduction, ("mean", "sum"), "reduction")
    queries, key = unit_rows(queries, normalize), unit_rows(key.detach(), normalize)
    keys, own = gathered_keys(key, gather)
    weights = momentum_query_weights(queries.detach(), key, temperature)
    own_similarity = (queries * key).sum(dim=-1)
    flat, flat_own = queries.flatten(0, 1), own.repeat(len(queries))
    if cost == "rbf":
        values = pairwise_logsumexp(flat, keys, 1 / temperature).view_as(own_similarity) - own_similarity / temperature
        return 2 * temperature * (weights * values).mean(dim=1).sum()
    # The cost is 1 − cosine on both sides, so the constant cancels: repulsion minus attraction is a similarity.
    similar = pairwise_softmax_mean(flat, keys, 1 / temperature, exclude=flat_own, detach_weights=True)
    repulsion = similar.view_as(own_similarity) - (1.0 if len(keys) > 1 else 0.0)
    values = (weights * (1 - own_similarity + repulsion)).sum(dim=0)
    return values.mean() if reduction == "mean" else values.sum()


@public
@torch.no_grad()
def momentum_query_weights(
    queries: Float[Tensor, "v n d"], key: Float[Tensor, "n d"], temperature: float
) -> Float[Tensor, "v n"]:
    """Compute `p = softmax_v(d²(q_v[n], k[n]) / T)` of unit rows: the far queries of a key weigh more.

    Example:
        >>> momentum_query_weights(torch.eye(2)[:, None], torch.eye(2)[:1], 1.0)[:, 0]
        tensor([0.1192, 0.8808])
    """
    return torch.softmax((queries - key).square().sum(dim=-1) / temperature, dim=0)


@public
def cacr_momentum_views_loss(
    queries: Float[Tensor, "v n d"],
    keys: Float[Tensor, "k n d"],
    *,
    temperature: float = 1.0,
    cost: Cost = "rbf",
    normalize: bool = True,
    gather: bool = False,
    reduction: Literal["mean", "sum"] = "mean",
) -> Float[Tensor, ""]:
    """Average `cacr_momentum_loss` over the key views; query v is not matched with key v, which is the same crop.

    Args:
        queries: (V, N, D) predictor outputs of all crops, global ones first.
        keys: (K, N, D) momentum outputs of the first K crops: the two global ones (`light`), or all (`full`).
        temperature: T > 0.
        cost: as for `cacr_momentum_loss`.
        normalize: as for `cacr_momentum_loss`.
        gather: as for `cacr_momentum_loss`.
        reduction: as for `cacr_momentum_loss`.

    Example:
        >>> crops = torch.eye(3).repeat(2, 1, 1)
        >>> cacr_momentum_views_loss(crops, crops)
        tensor(1.1029)
    """
    check_views(queries)
    if not 1 <= len(keys) <= len(queries):
        raise InputError(f"{len(keys)} keys came for {len(queries)} views: give the keys of one or more of the views.")
    losses = [
        cacr_momentum_loss(
            torch.cat([queries[:index], queries[index + 1 :]]),
            key,
            temperature=temperature,
            cost=cost,
            normalize=normalize,
            gather=gather,
            reduction=reduction,
        )
        for index, key in enumerate(keys)
    ]
    return torch.stack(losses).mean()
