"""Decoupled contrastive learning (DCL, DCLW) and the coupling it removes.

Yeh, Hong, Hsu, Liu, Chen, LeCun: *Decoupled Contrastive Learning* (ECCV 2022).
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from dipole.losses.common import Reduction, TwoViews, accumulate, gathered_keys, reduce, two_views, unit_rows
from dipole.losses.info_nce import check_has_negatives
from dipole.ops import gather as gather_rows
from dipole.ops import pairwise_logsumexp
from dipole.ops.checks import check_embeddings, check_same_rows, check_temperature
from dipole.ops.door import public

WeightFunction = Callable[[Tensor, Tensor], Tensor]


@public
def dcl_loss(
    z1: Float[Tensor, "n d"],
    z2: Float[Tensor, "n d"],
    *,
    temperature: float | Float[Tensor, ""] = 0.1,
    weight_fn: WeightFunction | None = None,
    detach_weight: bool = True,
    normalize: bool = True,
    gather: bool = False,
    reduction: Reduction | Literal["sum_of_views"] = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "anchors"]:
    """Compute the decoupled contrastive loss: NT-Xent without the positive pair in the denominator.

        ℓ_{i,k} = −w_i s_i⁺ / τ + log U_{i,k},   U_{i,k} = Σ_{l∈{1,2}} Σ_{j≠i} exp(⟨z_i^{(k)}, z_j^{(l)}⟩ / τ)

    with w ≡ 1 unless `weight_fn` is given. The loss can be negative. Conventions: rows are normalised here; all 2N
    embeddings are anchors; the mean is over the 2N anchors.

    Args:
        z1: (N, D) embeddings of the first view.
        z2: (N, D) embeddings of the second view.
        temperature: τ > 0.
        weight_fn: from the normalised rows of both views to the weights w (N,) of the positive pairs.
        detach_weight: treat w as a constant in the gradient.
        normalize: False if the rows are of unit length already.
        gather: contrast against the embeddings of all processes.
        reduction: `"mean"` or `"sum"` over the 2N anchors, `"none"`, or `"sum_of_views"`: the mean of each view's
            anchors, added (twice the mean).

    Returns:
        The loss, or (2N,) values (view 1, then view 2).

    Raises:
        InputError: shapes differ, a value is not finite, the temperature is not positive, or N = 1.

    Example:
        >>> z = torch.eye(4)
        >>> dcl_loss(z, z, temperature=0.5)  # log 6 − 2
        tensor(-0.2082)
    """
    check_same_rows(z1=z1, z2=z2)
    check_temperature(temperature)
    views = two_views(z1, z2, gather, normalize)
    positives = views.positives / temperature
    if weight_fn is not None:
        weight = weight_fn(*views.anchors.chunk(2))
        positives = positives * (weight.detach() if detach_weight else weight).repeat(2)
    values = _log_negatives(views, temperature) - positives
    if reduction == "sum_of_views":
        return 2 * values.mean()
    return reduce(values, reduction)


@public
def dclw_loss(
    z1: Float[Tensor, "n d"],
    z2: Float[Tensor, "n d"],
    *,
    temperature: float | Float[Tensor, ""] = 0.1,
    sigma: float = 0.5,
    detach_weight: bool = True,
    normalize: bool = True,
    gather: bool = False,
    reduction: Reduction | Literal["sum_of_views"] = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "anchors"]:
    """Compute the DCL loss with negative von Mises–Fisher weights: hard positive pairs count more.

    Arguments, conventions and errors are those of `dcl_loss`; `sigma` is that of `vmf_negative_weights`.

    Example:
        >>> z = torch.eye(4)
        >>> dclw_loss(z, z, temperature=0.5)  # equal pairs weigh 1 each
        tensor(-0.2082)
    """
    check_temperature(sigma, "sigma")
    return dcl_loss(
        z1,
        z2,
        temperature=temperature,
        weight_fn=partial(vmf_negative_weights, sigma=sigma, gather=gather),
        detach_weight=detach_weight,
        normalize=normalize,
        gather=gather,
        reduction=reduction,
    )


@public
def vmf_negative_weights(
    z1: Float[Tensor, "n d"], z2: Float[Tensor, "n d"], *, sigma: float = 0.5, gather: bool = False
) -> Float[Tensor, "n"]:
    """Compute `w_i = 2 − exp(s_i⁺/σ) / mean_j exp(s_j⁺/σ)`, the weights of DCLW.

    Their mean is 1; a pair that is far apart weighs more than 1. A weight can be negative, down to 2 − N, when one
    pair dominates.

    Args:
        z1: (N, D) unit rows.
        z2: (N, D) unit rows.
        sigma: σ > 0, the width of the weighting.
        gather: take the mean over the pairs of all processes.

    Returns:
        (N,) weights.

    Raises:
        InputError: shapes differ, a value is not finite, or sigma is not positive.

    Example:
        >>> vmf_negative_weights(torch.eye(2), torch.eye(2))
        tensor([1., 1.])
    """
    check_same_rows(z1=z1, z2=z2)
    check_temperature(sigma, "sigma")
    similarity = (accumulate(z1) * accumulate(z2)).sum(dim=1) / sigma
    everywhere = gather_rows(similarity) if gather else similarity
    # Over the log-sum-exp, so that a small σ does not turn all exponentials into zeros.
    return 2 - len(everywhere) * torch.exp(similarity - everywhere.logsumexp(dim=0))


@public
def npc_multiplier(
    z1: Float[Tensor, "n d"],
    z2: Float[Tensor, "n d"],
    *,
    temperature: float | Float[Tensor, ""] = 0.1,
    normalize: bool = True,
    gather: bool = False,
) -> Float[Tensor, "2 n"]:
    """Compute the negative–positive coupling `q = U / (exp(s⁺/τ) + U)` of every anchor.

    The gradient of NT-Xent for one anchor is q times that of DCL. It vanishes for easy positives and small batches,
    which is why DCL learns there and NT-Xent does not.

    Args:
        z1: (N, D) embeddings of the first view.
        z2: (N, D) embeddings of the second view.
        temperature: τ > 0.
        normalize: False if the rows are of unit length already.
        gather: count the embeddings of all processes as negatives.

    Returns:
        (2, N): the multipliers of the anchors of view 1 and of view 2, between 0 and 1.

    Example:
        >>> z = torch.eye(4)
        >>> npc_multiplier(z, z, temperature=0.5)[0]  # 6 / (e² + 6)
        tensor([0.4481, 0.4481, 0.4481, 0.4481])
    """
    check_same_rows(z1=z1, z2=z2)
    check_temperature(temperature)
    views = two_views(z1, z2, gather, normalize)
    return torch.sigmoid(_log_negatives(views, temperature) - views.positives / temperature).view(2, -1)


def _log_negatives(views: TwoViews, temperature: float | Tensor) -> Tensor:
    """`log U` of every anchor: both views without the anchor's own sample."""
    own_sample = torch.stack([views.own, views.partner], dim=1)
    return pairwise_logsumexp(views.anchors, views.candidates, 1 / temperature, exclude=own_sample)


@public
def dcl_queue_loss(
    queries: Float[Tensor, "n d"],
    keys: Float[Tensor, "n d"],
    queue: Float[Tensor, "m d"],
    *,
    temperature: float | Float[Tensor, ""] = 0.1,
    normalize: bool = True,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "n"]:
    """Compute DCL for MoCo: only the queue stands in the denominator.

        ℓ_i = −⟨q_i, k_i⟩ / τ + log Σ_{j∈queue} exp(⟨q_i, k_j⟩ / τ)

    Args:
        queries: (N, D).
        keys: (N, D) of the momentum encoder; treated as constants.
        queue: (M, D) keys of earlier batches; constants.
        temperature: τ > 0.
        normalize: False if all rows are of unit length already.
        reduction: over the queries.

    Returns:
        The loss, or (N,) values.

    Example:
        >>> dcl_queue_loss(torch.eye(4)[:2], torch.eye(4)[:2], torch.eye(4)[2:], temperature=1.0)  # log 2 − 1
        tensor(-0.3069)
    """
    check_same_rows(queries=queries, keys=keys)
    check_embeddings(queries=queries, queue=queue)
    check_temperature(temperature)
    queries, keys = unit_rows(queries, normalize), unit_rows(keys.detach(), normalize)
    negatives = pairwise_logsumexp(queries, unit_rows(queue.detach(), normalize), 1 / temperature)
    return reduce(negatives - (queries * keys).sum(dim=1) / temperature, reduction)


@public
def dcl_neighbour_loss(
    neighbours: Float[Tensor, "n d"],
    predictions: Float[Tensor, "n d"],
    *,
    temperature: float | Float[Tensor, ""] = 0.1,
    normalize: bool = True,
    gather: bool = False,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "n"]:
    """Compute DCL for NNCLR, one direction: NNCLR's row loss without the positive in the denominator.

        ℓ_i = −⟨n_i, p_i⟩ / τ + log Σ_{j≠i} exp(⟨n_i, p_j⟩ / τ)

    n_i is the nearest entry of a support set to one view (`dipole.negatives.nearest`) and p_i the predictor's output
    for the other view. Average the loss over the two orders of the views. NNCLR itself is
    `info_nce_loss(neighbours, predictions)`.

    Args:
        neighbours: (N, D); treated as constants.
        predictions: (N, D).
        temperature: τ > 0.
        normalize: False if all rows are of unit length already.
        gather: contrast against the predictions of all processes.
        reduction: over the rows.

    Returns:
        The loss, or (N,) values.

    Example:
        >>> dcl_neighbour_loss(torch.eye(3), torch.eye(3), temperature=1.0)  # log 2 − 1
        tensor(-0.3069)
    """
    check_same_rows(neighbours=neighbours, predictions=predictions)
    check_temperature(temperature)
    anchors, predictions = unit_rows(neighbours.detach(), normalize), unit_rows(predictions, normalize)
    keys, own = gathered_keys(predictions, gather)
    check_has_negatives(len(keys))
    negatives = pairwise_logsumexp(anchors, keys, 1 / temperature, exclude=own)
    return reduce(negatives - (anchors * predictions).sum(dim=1) / temperature, reduction)


@public
def npc_queue_multiplier(
    queries: Float[Tensor, "n d"],
    keys: Float[Tensor, "n d"],
    queue: Float[Tensor, "m d"],
    *,
    temperature: float | Float[Tensor, ""] = 0.1,
    normalize: bool = True,
) -> Float[Tensor, "n"]:
    """Compute `q = U / (exp(s⁺/τ) + U)` with the queue's negatives in U; arguments as for `dcl_queue_loss`.

    Example:
        >>> npc_queue_multiplier(torch.eye(4)[:1], torch.eye(4)[:1], torch.eye(4)[1:], temperature=1.0)  # 3 / (e + 3)
        tensor([0.5246])
    """
    # log U − s⁺/τ is the DCL loss itself.
    return torch.sigmoid(
        dcl_queue_loss(queries, keys, queue, temperature=temperature, normalize=normalize, reduction="none")
    )
