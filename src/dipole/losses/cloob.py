"""InfoLOOB and CLOOB.

Fürst et al.: *CLOOB: Modern Hopfield Networks with InfoLOOB Outperform CLIP* (NeurIPS 2022).
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from dipole.losses.clip import clip_loss
from dipole.losses.common import Reduction, both_directions, contrasted_rows, gathered_keys, reduce, unit_rows
from dipole.losses.info_nce import check_has_negatives, info_nce_loss
from dipole.ops import pairwise_logsumexp, softmax_retrieval
from dipole.ops.checks import check_at_least, check_choice, check_same_rows, check_temperature
from dipole.ops.door import public


@public
def info_loob_loss(
    anchors: Float[Tensor, "n d"],
    candidates: Float[Tensor, "n d"],
    *,
    temperature: float | Float[Tensor, ""] = 1 / 30,
    scale_by_temperature: bool = True,
    normalize: bool = True,
    gather: bool = False,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "n"]:
    """Compute InfoLOOB, "leave one out bound": InfoNCE without the positive in the denominator.

        ℓ_i = τ · ( −s_ii / τ + log Σ_{j≠i} exp(s_ij / τ) ),    s_ij = cos(anchors_i, candidates_j)

    Unlike InfoNCE it does not saturate when the positive is much more similar than the negatives. The loss can be
    negative.

    Conventions: rows are normalised here; one direction, from anchors to candidates; mean over the N anchors; the
    **factor τ** is that of the authors' code, which keeps the size of the gradient independent of τ.

    Fürst et al.: *CLOOB* (NeurIPS 2022).

    Args:
        anchors: (N, D).
        candidates: (N, D); row i is the positive of anchor i.
        temperature: τ > 0, a number or a learnable scalar.
        scale_by_temperature: False for the loss without the factor τ.
        normalize: False if the rows are of unit length already.
        gather: contrast against the candidates of all processes.
        reduction: over the anchors.

    Returns:
        The loss, or (N,) values.

    Raises:
        InputError: shapes differ, a value is not finite, the temperature is not positive, or N = 1.

    Example:
        >>> z = torch.eye(4)
        >>> info_loob_loss(z, z, temperature=1.0)  # log 3 − 1
        tensor(0.0986)
    """
    check_same_rows(anchors=anchors, candidates=candidates)
    check_temperature(temperature)
    anchors, candidates = unit_rows(anchors, normalize), unit_rows(candidates, normalize)
    keys, own = gathered_keys(candidates, gather)
    check_has_negatives(len(keys))
    positive = (anchors * candidates).sum(dim=1) / temperature
    values = pairwise_logsumexp(anchors, keys, 1 / temperature, exclude=own) - positive
    return reduce(values * temperature if scale_by_temperature else values, reduction)


@public
def cloob_loss(
    image: Float[Tensor, "n d"],
    text: Float[Tensor, "n d"],
    *,
    temperature: float | Float[Tensor, ""] = 1 / 30,
    beta: float | Float[Tensor, ""] = 8.0,
    retrieval: bool = True,
    objective: Literal["info_loob", "info_nce"] = "info_loob",
    scale_by_temperature: bool = True,
    normalize: bool = True,
    gather: bool = False,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "n"]:
    """Compute the loss of CLOOB: InfoLOOB between embeddings that are retrieved from the batch.

    Every embedding is replaced by what a modern Hopfield network retrieves for it, once from the images X and once from
    the texts Y of the batch:

        U_x = Ret(X, x),  U_y = Ret(X, y),  V_x = Ret(Y, x),  V_y = Ret(Y, y),    Ret(S, ξ) = norm(Sᵀ softmax(β S ξ))
        ℓ = InfoLOOB(U_x → U_y) + InfoLOOB(V_y → V_x)

    Conventions: rows are normalised here; **sum** of the two terms, each times τ; mean over the N pairs. Gradients flow
    through queries, stored patterns and weights. No N×N matrix is stored.

    Without retrieval the terms are (x → y) and (y → x). With `objective="info_nce"` the loss is, as in the authors'
    code, the **mean** of the two terms, without the factor τ: CLIP's loss if there is no retrieval.

    Fürst et al.: *CLOOB* (NeurIPS 2022).

    Args:
        image: (N, D).
        text: (N, D); row i belongs to row i of `image`.
        temperature: τ > 0, a number or a learnable scalar.
        beta: β ≥ 0, inverse temperature of the retrieval; 0 retrieves the mean of the batch for all.
        retrieval: False for the ablation without the Hopfield network.
        objective: `"info_nce"` for the ablation with the positive in the denominator.
        scale_by_temperature: see `info_loob_loss`.
        normalize: False if the rows are of unit length already.
        gather: store and contrast the pairs of all processes, with gradients.
        reduction: over the pairs.

    Returns:
        The loss, or (N,) values.

    Raises:
        InputError: shapes differ, a value is not finite, the temperature is not positive, β is negative, or N = 1.

    Example:
        >>> z = torch.eye(4)
        >>> cloob_loss(z, z, temperature=1.0, beta=1e3)  # retrieves the rows themselves: 2 (log 3 − 1)
        tensor(0.1972)
    """
    check_same_rows(image=image, text=text)
    check_temperature(temperature)
    check_at_least(beta, 0, "beta")
    check_choice(objective, ("info_loob", "info_nce"), "objective")
    image, text = unit_rows(image, normalize), unit_rows(text, normalize)
    check_has_negatives(contrasted_rows(image, gather))
    if not retrieval:
        if objective == "info_nce":
            return clip_loss(image, text, temperature=temperature, normalize=False, gather=gather, reduction=reduction)
        return reduce(_leave_one_out(image, text, temperature, scale_by_temperature, gather), reduction)
    terms = [
        info_loob_loss(
            anchors,
            candidates,
            temperature=temperature,
            scale_by_temperature=scale_by_temperature,
            normalize=False,
            gather=gather,
            reduction=reduction,
        )
        if objective == "info_loob"
        else info_nce_loss(
            anchors, candidates, temperature=temperature, normalize=False, gather=gather, reduction=reduction
        )
        for anchors, candidates in _retrieved_pairs(image, text, beta, gather)
    ]
    return terms[0] + terms[1] if objective == "info_loob" else (terms[0] + terms[1]) / 2


def _leave_one_out(image: Tensor, text: Tensor, temperature: float | Tensor, scaled: bool, gather: bool) -> Tensor:
    """The values of InfoLOOB in both directions, added."""
    denominators = both_directions(image, text, temperature, gather, exclude_own=True)
    values = denominators.queries + denominators.keys - 2 * (image * text).sum(dim=1) / temperature
    return values * temperature if scaled else values


def _retrieved_pairs(image: Tensor, text: Tensor, beta: float | Tensor, gather: bool) -> list[tuple[Tensor, Tensor]]:
    """Anchors and candidates of both terms: (U_x, U_y) and (V_y, V_x)."""
    queries = torch.cat([image, text])
    images, texts = gathered_keys(image, gather)[0], gathered_keys(text, gather)[0]
    stored = queries if len(images) == len(image) else torch.cat([images, texts])
    retrieved = unit_rows(softmax_retrieval(queries, stored, beta, groups=[len(images), len(texts)]))
    (u_x, u_y), (v_x, v_y) = retrieved.unflatten(1, (2, -1)).unbind()
    return [(u_x, u_y), (v_y, v_x)]
