"""Contrast without false negatives, as MultiCSR masks them by the similarity of a frozen encoder."""

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import Reduction, gathered_keys, inner_products, reduce, unit_rows
from dipole.losses.info_nce import check_has_negatives
from dipole.losses.tuples import tuple_info_nce_loss
from dipole.ops.checks import check_choice, check_embeddings, check_same_rows, check_temperature
from dipole.ops.door import looking, public


@public
def false_negative_mask(
    anchors: Float[Tensor, "n d"],
    candidates: Float[Tensor, "m d"],
    *,
    threshold: float = 0.95,
    positives: Int64[Tensor, "n"] | None = None,
) -> Bool[Tensor, "n m"]:
    """Mark candidates that a frozen encoder finds too similar to an anchor to be its negatives: `cos(p_i, p_j) > φ`.

    Without gradient. A threshold of 1 marks nothing, one below −1 everything but the positives.

    Wang, Li, Cheng, Soh, Bing: *MultiCSR* (NAACL 2024); before it Zhou et al.: *DCLR* (ACL 2022).

    Args:
        anchors: (N, D) embeddings by the frozen encoder.
        candidates: (M, D), by the same.
        threshold: φ.
        positives: (N,) columns of the anchors' own positives, which are never marked.

    Returns:
        (N, M), True where a candidate is to be left out: what losses take as `exclude`.

    Raises:
        InputError: shapes differ, a value is not finite, or a column is out of range.

    Example:
        >>> z = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]])
        >>> false_negative_mask(z, z, threshold=0.9, positives=torch.arange(3)).nonzero().tolist()
        [[0, 1], [1, 0]]
    """
    check_embeddings(anchors=anchors, candidates=candidates)
    with torch.no_grad():
        marked = inner_products(unit_rows(anchors), unit_rows(candidates)) > threshold
    if positives is None:
        return marked
    inside = (positives >= 0) & (positives < len(candidates))
    if positives.shape != anchors.shape[:1] or (looking() and not bool(inside.all())):
        raise InputError(
            f"positives are {tuple(positives.shape)}: expected {len(anchors)} columns of {len(candidates)}."
        )
    return marked.scatter(1, positives[:, None], False)


@public
def masked_contrast_loss(
    anchors: Float[Tensor, "n d"],
    positives: Float[Tensor, "n d"],
    hard_negatives: Float[Tensor, "n d"],
    exclude: Bool[Tensor, "n c"],
    *,
    form: Literal["info_nce", "zeroed", "official_bce"] = "info_nce",
    temperature: float | Float[Tensor, ""] = 0.05,
    normalize: bool = True,
    gather: bool = False,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "n"]:
    """Contrast triplets without the candidates that are marked as false negatives.

    With logits S = [s(z_i, z_j⁺) | s(z_i, z_j⁻)] / τ (N, 2N) and m_ij = 0 where a candidate is marked, 1 elsewhere:

        info_nce      ℓ_i = −log [ exp(S_ii) / Σ_j m_ij exp(S_ij) ], what is meant
        zeroed        ℓ_i = −log softmax(S ⊙ m)_ii, in which a marked candidate has the cosine 0
        official_bce  ℓ_i = (1 / 2N) Σ_j BCE(softmax(S ⊙ m)_ij, [j = i]), what the authors' code computes

    Conventions: rows are normalised here; one direction, from anchors; mean over the N anchors.

    Wang, Li, Cheng, Soh, Bing: *Large Language Models can Contrastively Refine their Generation for Better Sentence
    Representation Learning* (NAACL 2024).

    Args:
        anchors: (N, D) z.
        positives: (N, D) z⁺.
        hard_negatives: (N, D) z⁻.
        exclude: (N, 2N), True where a candidate is marked: the positives, then the hard negatives; of all processes
            with `gather`. See `false_negative_mask`.
        form: see above.
        temperature: τ > 0.
        normalize: False if all rows are of unit length already.
        gather: contrast against the candidates of all processes.
        reduction: over the anchors.

    Returns:
        The loss, or (N,) values.

    Raises:
        InputError: shapes differ, a value is not finite, or the temperature is not positive.

    Example:
        >>> anchors, negatives = torch.eye(4)[:2], torch.eye(4)[2:]
        >>> marked = torch.zeros(2, 4, dtype=torch.bool)
        >>> masked_contrast_loss(anchors, anchors, negatives, marked, temperature=1.0)  # log(e + 3) − 1
        tensor(0.7437)
    """
    check_same_rows(anchors=anchors, positives=positives, hard_negatives=hard_negatives)
    check_choice(form, ("info_nce", "zeroed", "official_bce"), "form")
    if form == "info_nce":
        return tuple_info_nce_loss(
            anchors,
            positives,
            hard_negatives[:, None],
            exclude=exclude,
            temperature=temperature,
            normalize=normalize,
            gather=gather,
            reduction=reduction,
        )
    check_temperature(temperature)
    anchors, positives, hard_negatives = (unit_rows(x, normalize) for x in (anchors, positives, hard_negatives))
    golds, own = gathered_keys(positives, gather)
    candidates = torch.cat([golds, gathered_keys(hard_negatives, gather)[0]])
    check_has_negatives(len(candidates))
    if exclude.shape != (len(anchors), len(candidates)) or exclude.dtype != torch.bool:
        raise InputError(f"exclude is {tuple(exclude.shape)}: expected bool {(len(anchors), len(candidates))}.")
    marked = exclude.scatter(1, own[:, None], False)
    logits = (inner_products(anchors, candidates) / temperature).masked_fill(marked, 0)
    log_share = logits.log_softmax(dim=1)
    found = log_share.gather(1, own[:, None])[:, 0]
    if form == "zeroed":
        return reduce(-found, reduction)
    # The authors compute log(1 − q) and stop at q = 1; the target's own term is none of the others.
    others = _log_one_minus_exp(log_share).scatter(1, own[:, None], 0.0)
    return reduce(-(found + others.sum(dim=1)) / len(candidates), reduction)


def _log_one_minus_exp(x: Tensor) -> Tensor:
    """`log(1 − eˣ)` for x ≤ 0, bounded where x rounds to 0."""
    x = x.clamp_max(-torch.finfo(x.dtype).eps)
    # Each branch gets arguments at which its gradient is finite too.
    near = torch.where(x > -0.5, x, -0.5)
    far = torch.where(x > -0.5, -0.5, x)
    return torch.where(x > -0.5, torch.log(-torch.expm1(near)), torch.log1p(-far.exp()))
