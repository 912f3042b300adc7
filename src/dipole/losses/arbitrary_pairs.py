"""Contrast of arbitrary pairs of classes, each in a subspace that a gate selects.

Wu, Atito, Feng, Mo, Kittler, Awais: *Rethinking Positive Pairs in Contrastive Learning* (2024; Hydra, later SimLAP).
"""

from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from dipole.errors import InputError
from dipole.losses.common import SHORTEST, accumulate, gathered_keys, inner_products, unit_rows
from dipole.losses.info_nce import info_nce_loss
from dipole.ops import gather as gather_rows
from dipole.ops import gather_mean, world_size
from dipole.ops.checks import check_at_least, check_choice, check_embeddings, check_temperature
from dipole.ops.door import looking, public

GatedSimilarity = Literal["masked_cosine", "prenormalised"]
PairReduction = Literal["micro", "macro", "macro_valid", "none"]
PartnerLabels = Literal["arbitrary", "identical", "distinct"]
TILE_ENTRIES = 1 << 21  # similarities that stand in memory at a time
FEW_POSITIVES = 1e-6  # what the authors' macro mean adds to the number of an anchor's positives


@public
def arbitrary_pair_loss(
    z: Float[Tensor, "n d"],
    keys: Float[Tensor, "m d"],
    gate: Float[Tensor, "n d"] | None,
    labels: Int[Tensor, "n"],
    partner_labels: Int[Tensor, "n"],
    key_labels: Int[Tensor, "m"] | None = None,
    *,
    temperature: float | Float[Tensor, ""] = 0.1,
    similarity: GatedSimilarity = "masked_cosine",
    exclude_self: bool = False,
    gather: bool = False,
    reduction: PairReduction = "micro",
) -> Float[Tensor, ""] | Float[Tensor, "n"]:
    """Draw an anchor of class y₁ to the keys of any class y₂, in the subspace that its gate g(y₁, y₂) selects:

        ℓ_ip = −s_ip / τ + log( exp(s_ip / τ) + Σ_{m : label_m ∉ {y₁ᵢ, y₂ᵢ}} exp(s_im / τ) ),   label_p = y₂ᵢ
        s_im = cos(g_i ⊙ z_i, g_i ⊙ k_m)

    Keys of the anchor's own class y₁ ≠ y₂ are neither positives nor negatives, and no positive stands in the
    denominator of another one. An anchor without positives adds 0; so does a pair without negatives.

    Conventions: rows are normalised here; one direction, from anchors to keys; mean over all positive pairs. Gradients
    reach z, keys and gate. The norm of a gated key differs from anchor to anchor, so that all N × M similarities are
    needed; they are computed some rows at a time, and again for the gradient.

    Wu et al.: *Rethinking Positive Pairs in Contrastive Learning* (arXiv 2410.18200), the loss with the feature filter.

    Args:
        z: (N, D) projections of the anchors.
        keys: (M, D) projections of what they are contrasted with.
        gate: (N, D) gates in [0, 1] of the anchors' pairs of classes, of `dipole.nn.PairGate`; None leaves all open.
        labels: (N,) classes y₁ of the anchors.
        partner_labels: (N,) classes y₂ of their positives, of `sample_partner_labels`.
        key_labels: (M,) classes of the keys; `labels` if it is None.
        temperature: τ > 0.
        similarity: see `gated_similarity`.
        exclude_self: key i is anchor i itself (one view, N = M) and no positive of it.
        gather: contrast against the keys of all processes.
        reduction: `"micro"`, the mean over all positive pairs; `"macro"`, the mean over all anchors of the mean over
            an anchor's positives, as one of the authors' codes has it; `"macro_valid"`, the same over the anchors that
            have positives; `"none"`, the means of the anchors.

    Returns:
        The loss, or (N,) values. Without any positive it is 0.

    Raises:
        InputError: shapes differ, labels are no integers, a value is not finite, or an argument is out of range.

    Example:
        >>> z, labels = torch.eye(3), torch.tensor([0, 1, 2])
        >>> arbitrary_pair_loss(z, z, None, labels, labels.roll(1), temperature=1.0)  # log(1 + e⁰)
        tensor(0.6931)
    """
    key_labels = labels if key_labels is None else key_labels
    _check(z, keys, gate, labels, partner_labels, key_labels)
    check_temperature(temperature)
    check_choice(similarity, get_args(GatedSimilarity), "similarity")
    check_choice(reduction, get_args(PairReduction), "reduction")
    if exclude_self and len(z) != len(keys):
        raise InputError(f"exclude_self needs key i to be anchor i: {len(z)} anchors and {len(keys)} keys came.")
    keys, own = gathered_keys(accumulate(keys), gather)
    every_label = gather_rows(key_labels) if gather else key_labels
    anchors = _Anchors(accumulate(z), gate, labels, partner_labels, own if exclude_self else None)
    rows = max(1, TILE_ENTRIES // len(keys))
    if rows >= len(z):
        sums, counts = _tile(anchors, keys, every_label, temperature, similarity)
    else:
        # Computed again for the gradient, so that the similarities of some anchors only stand in memory.
        tiles = [
            checkpoint(
                _tile, part, keys, every_label, temperature, similarity, use_reentrant=False, preserve_rng_state=False
            )
            for part in anchors.split(rows)
        ]
        sums, counts = (torch.cat(parts) for parts in zip(*tiles, strict=True))
    return _reduce_pairs(sums, counts, gather, reduction)


class _Anchors(NamedTuple):
    """What belongs to the rows of a tile."""

    z: Tensor
    gate: Tensor | None
    labels: Tensor
    partner_labels: Tensor
    own: Tensor | None  # column of each anchor's own key, if that is no positive

    def split(self, rows: int) -> list["_Anchors"]:
        """Cut into parts of so many rows."""
        count = -(-len(self.z) // rows)
        columns = [[None] * count if column is None else column.split(rows) for column in self]
        return [_Anchors(*parts) for parts in zip(*columns, strict=True)]


def _tile(
    anchors: _Anchors, keys: Tensor, key_labels: Tensor, temperature: float | Tensor, similarity: GatedSimilarity
) -> tuple[Tensor, Tensor]:
    """The sum of the losses of each anchor's positive pairs, and their number."""
    logits = gated_similarity(anchors.z, keys, anchors.gate, similarity=similarity) / temperature
    positive, negative = pair_masks(anchors.labels, anchors.partner_labels, key_labels)
    if anchors.own is not None:
        positive = positive.scatter(1, anchors.own[:, None], False)
    # The least finite number in place of −∞, whose log-sum-exp would have the gradient NaN where no negative is left.
    negatives = logits.masked_fill(~negative, torch.finfo(logits.dtype).min).logsumexp(dim=1)
    losses = torch.nn.functional.softplus(negatives[:, None] - logits)
    return torch.where(positive, losses, 0.0).sum(dim=1), positive.sum(dim=1).to(logits.dtype)


def _reduce_pairs(sums: Tensor, counts: Tensor, gather: bool, reduction: PairReduction) -> Tensor:
    """Reduce the sums over each anchor's positives; what a mean is divided by is counted over all processes."""
    if reduction == "macro":
        return (sums / (counts + FEW_POSITIVES)).mean()
    means = sums / counts.clamp_min(1)
    if reduction == "none":
        return means
    values, weights = (sums, counts) if reduction == "micro" else (means, (counts > 0).to(counts.dtype))
    total = gather_mean(weights.sum()) if gather else weights.sum()
    return values.sum() / total.clamp_min(1 / world_size())


@public
def gated_similarity(
    z: Float[Tensor, "n d"],
    keys: Float[Tensor, "m d"],
    gate: Float[Tensor, "n d"] | None,
    *,
    similarity: GatedSimilarity = "masked_cosine",
) -> Float[Tensor, "n m"]:
    """Compute the similarities of anchors and keys in the subspace that each **anchor's** gate selects:

        masked_cosine:   s_im = cos(g_i ⊙ z_i, g_i ⊙ k_m)
        prenormalised:   s_im = ⟨g_i ⊙ z_i, g_i ⊙ k_m⟩ / (‖z_i‖ ‖k_m‖)

    The second one is not normalised again in the subspace, so that the gate scales it too.

    Args:
        z: (N, D).
        keys: (M, D).
        gate: (N, D) of the anchors; None leaves all open, which makes both the cosine.
        similarity: which one.

    Example:
        >>> z, gate = torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, 0.0]])
        >>> gated_similarity(z, torch.tensor([[1.0, -1.0]]), gate)
        tensor([[1.]])
        >>> gated_similarity(z, torch.tensor([[1.0, -1.0]]), gate, similarity="prenormalised")
        tensor([[0.5000]])
    """
    keys = unit_rows(keys)
    if gate is None:
        return inner_products(unit_rows(z), keys)
    gate = gate.to(keys.dtype)
    if similarity == "prenormalised":
        return inner_products(unit_rows(z) * gate.square(), keys)
    gated = unit_rows(accumulate(z) * gate) * gate
    # ‖g_i ⊙ k_m‖ without N × M × D entries; below SHORTEST it has no gradient, which would be infinite at 0.
    norms = inner_products(gate.square(), keys.square()).clamp_min(SHORTEST**2).sqrt()
    return inner_products(gated, keys) / norms


class PairMasks(NamedTuple):
    """Which keys an anchor is drawn to, and which ones repel it; the others do neither."""

    positive: Bool[Tensor, "n m"]
    negative: Bool[Tensor, "n m"]


@public
def pair_masks(labels: Int[Tensor, "n"], partner_labels: Int[Tensor, "n"], key_labels: Int[Tensor, "m"]) -> PairMasks:
    """Say which keys have the partner's class (positive), and which have neither class of the pair (negative).

    Example:
        >>> positive, negative = pair_masks(torch.tensor([0]), torch.tensor([1]), torch.tensor([0, 1, 2]))
        >>> positive, negative
        (tensor([[False,  True, False]]), tensor([[False, False,  True]]))
    """
    positive = partner_labels[:, None] == key_labels
    return PairMasks(positive, ~positive & (labels[:, None] != key_labels))


@public
def sample_partner_labels(
    labels: Int[Tensor, "n"],
    pairs: PartnerLabels = "arbitrary",
    *,
    num_classes: int | None = None,
    generator: torch.Generator | None = None,
) -> Int[Tensor, "n"]:
    """Draw a class y₂ for every anchor of class y₁.

    Args:
        labels: (N,) classes y₁.
        pairs: `"arbitrary"`, the labels of the batch in random order, so that every y₂ is in the batch and some equal
            y₁; `"identical"`, y₂ = y₁; `"distinct"`, any other class alike, which the batch may lack.
        num_classes: C, for `"distinct"`.
        generator: source of the draw.

    Raises:
        InputError: another name, or `"distinct"` without two classes or more.

    Example:
        >>> sample_partner_labels(torch.tensor([0, 1, 1]), "distinct", num_classes=2)
        tensor([1, 0, 0])
    """
    check_choice(pairs, get_args(PartnerLabels), "pairs")
    if pairs == "identical":
        return labels
    device = "cpu" if generator is None else generator.device
    if pairs == "arbitrary":
        order = torch.randperm(len(labels), generator=generator, device=device)
        return labels[order.to(labels.device, non_blocking=True)]
    if num_classes is None or num_classes < 2:
        raise InputError(
            f'pairs="distinct" came with num_classes={num_classes}: give the number of classes, 2 or more.'
        )
    step = torch.randint(1, num_classes, labels.shape, generator=generator, device=device)
    return (labels + step.to(labels.device, non_blocking=True)) % num_classes


@public
def pair_probabilities(
    distances: Float[Tensor, "*b p"], *, alpha: float = 0.0, max_level: float = float("inf")
) -> Float[Tensor, "*b p"]:
    """Compute with which probability a pair of classes is drawn, by the distance d of what they mean:

        P(pair) ∝ (1 + d)^−α  if d < max_level, else 0

    α = 0 draws all alike; a large α draws nearly identical classes (d = 0) alone. Partners by meaning are a draw from
    it: `torch.multinomial(pair_probabilities(distances[labels], alpha=2.0), 1)[:, 0]` with `distances` (C, C).

    Args:
        distances: (…, P) of the pairs, 0 or more, for example steps in WordNet; normalised over the last axis.
        alpha: α ≥ 0.
        max_level: distance from which on a pair is not drawn.

    Raises:
        InputError: α is negative, a distance is negative or not finite, or no pair is near enough.

    Example:
        >>> pair_probabilities(torch.tensor([0.0, 1.0, 9.0]), alpha=2.0, max_level=5)
        tensor([0.8000, 0.2000, 0.0000])
    """
    check_at_least(alpha, 0, "alpha")
    near = distances < max_level
    if looking() and not bool((distances.isfinite() & (distances >= 0)).all()):
        raise InputError("distances holds a value that is negative or not finite: expected 0 or more for every pair.")
    if looking() and not bool(near.any(dim=-1).all()):
        raise InputError(f"max_level is {max_level}: no pair is nearer, so that there is nothing to draw. Raise it.")
    logits = -alpha * accumulate(distances).log1p()
    return logits.masked_fill(~near, -torch.inf).softmax(dim=-1)


@public
def hydra_moco_loss(
    queries: Float[Tensor, "2 n d"],
    keys: Float[Tensor, "2 n d"],
    gate: Float[Tensor, "n d"] | None,
    class_gate: Float[Tensor, "n d"] | None,
    labels: Int[Tensor, "n"],
    partner_labels: Int[Tensor, "n"],
    *,
    temperature: float | Float[Tensor, ""] = 0.2,
    pair_temperature: float | Float[Tensor, ""] | None = None,
    alpha: float = 1.0,
    beta: float = 1.0,
    gather: bool = False,
) -> Float[Tensor, ""]:
    """Compute Hydra on MoCo v3: instances, disparate pairs and pairs of one class together.

        (instance + β · disparate + α · class) / (1 + α + β)

    Each term is the mean of two directions, from the queries of one view to the keys of the other: `info_nce_loss`,
    `arbitrary_pair_loss` with the classes y₂, and the same with y₂ = y₁.

    Args:
        queries: (2, N, D) of the two views, of the predictor.
        keys: (2, N, D) of the momentum encoder; treated as constants.
        gate: (N, D) of the pairs (y₁, y₂); None leaves all open.
        class_gate: (N, D) of the pairs (y₁, y₁); None leaves all open.
        labels: (N,) classes y₁.
        partner_labels: (N,) classes y₂.
        temperature: τ of the instances.
        pair_temperature: τ of both kinds of pairs; `temperature` if it is None. One of the authors' versions learns it
            from 1/20.
        alpha: α ≥ 0, weight of the pairs of one class.
        beta: β ≥ 0, weight of the disparate pairs.
        gather: contrast against the keys of all processes.

    Returns:
        The loss.

    Raises:
        InputError: as for `arbitrary_pair_loss`, or a weight is negative.

    Example:
        >>> z, labels = torch.eye(3).repeat(2, 1, 1), torch.tensor([0, 1, 2])
        >>> hydra_moco_loss(z, z, None, None, labels, labels.roll(1), temperature=1.0)
        tensor(0.5987)
    """
    check_at_least(alpha, 0, "alpha")
    check_at_least(beta, 0, "beta")
    if queries.shape != keys.shape or queries.ndim != 3 or len(queries) != 2:
        raise InputError(
            f"queries and keys have shapes {tuple(queries.shape)} and {tuple(keys.shape)}: expected (2, N, D) of both."
        )
    pairs_temperature = temperature if pair_temperature is None else pair_temperature
    terms = []
    for query, key in zip(queries, keys.detach().flip(0), strict=True):
        instance = info_nce_loss(query, key, temperature=temperature, gather=gather)
        disparate, same = (
            arbitrary_pair_loss(query, key, of_pair, labels, partners, temperature=pairs_temperature, gather=gather)
            for of_pair, partners in ((gate, partner_labels), (class_gate, labels))
        )
        terms.append((instance + beta * disparate + alpha * same) / (1 + alpha + beta))
    return torch.stack(terms).mean()


def _check(
    z: Tensor, keys: Tensor, gate: Tensor | None, labels: Tensor, partner_labels: Tensor, key_labels: Tensor
) -> None:
    """Require embeddings, gates and labels that fit each other."""
    check_embeddings(z=z, keys=keys)
    if gate is not None:
        check_embeddings(gate=gate)
        if gate.shape != z.shape:
            raise InputError(
                f"gate has shape {tuple(gate.shape)}: expected one gate for each anchor, {tuple(z.shape)}."
            )
    for name, value, rows in (
        ("labels", labels, len(z)),
        ("partner_labels", partner_labels, len(z)),
        ("key_labels", key_labels, len(keys)),
    ):
        if value.shape != (rows,):
            raise InputError(f"{name} has shape {tuple(value.shape)}: expected one class for each of {rows} rows.")
        if value.is_floating_point() or value.dtype == torch.bool:
            raise InputError(f"{name} has type {value.dtype}: expected class indices, integers.")
