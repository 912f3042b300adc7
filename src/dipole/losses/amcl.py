"""AMCL: several heads, and a temperature for each pair in each head."""

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from dipole.errors import InputError
from dipole.losses.common import Reduction, reduce, unit_rows
from dipole.losses.non_contrastive import cross_correlation
from dipole.ops.checks import check_at_least, check_choice
from dipole.ops.door import looking, public

# Heads, anchors and candidates (C, A, D), (C, K, D) -> temperatures (C, A, K); or (C, A, D), (C, A, D) -> (C, A).
AllPairs = Callable[[Tensor, Tensor], Tensor]
Mode = Literal["logsumexp", "max"]
PAIRS_AT_ONCE = 2**18  # of an anchor and a candidate, over all heads


@public
def temperature_regulariser(temperature: Float[Tensor, "*pairs"], dim: int) -> Float[Tensor, "*pairs"]:
    """Compute `Ω(τ) = d/2 · log τ + 1/τ`, the part of −log N(z⁺; z, τI) that does not depend on the pair.

    Its minimum alone is at τ = 2/d; with the similarity of unit vectors, at τ = 2(1 − s)/d.

    Wang et al.: *Adaptive Multi-head Contrastive Learning* (ECCV 2024).

    Args:
        temperature: τ of any shape, above 0.
        dim: d, dimensions of a head.

    Raises:
        InputError: a temperature that is not above 0, or a dimension below 1.

    Example:
        >>> temperature_regulariser(torch.tensor([1.0, 0.5]), 4)
        tensor([1.0000, 0.6137])
    """
    check_at_least(dim, 1, "dim")
    # 1/τ² is part of the gradient.
    if looking() and not bool((temperature > 2 * torch.finfo(temperature.dtype).tiny ** 0.5).all()):
        raise InputError("temperatures must be above 0: bound them from below, e.g. with PairTemperature(lower=0.05).")
    return dim / 2 * temperature.log() + 1 / temperature


@public
def amcl_loss(
    z1: Float[Tensor, "c n d"],
    z2: Float[Tensor, "c n d"],
    temperature: Float[Tensor, "c n2 n2"] | AllPairs,
    *,
    beta: float = 0.1,
    mode: Mode = "logsumexp",
    include_positive: bool = True,
    normalize: bool = True,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "n2"]:
    """Compute, with scores `a_ij = s_ij / τ_ij − β Ω(τ_ij)`, `Σ_c {−a_i⁺ + log Σ_n exp(a_in)}` of each anchor.

    With `mode="max"` the sum over candidates becomes the score of the candidate with the largest cosine, as
    eq. 2.1 (candidates: the negatives) and eq. 2.4 (`include_positive`) print it. The smooth form is what they
    approximate; with a constant τ it is C times NT-Xent. The 2N rows of both views are anchors.

    Conventions: rows are normalised here, unless `normalize=False`; heads are added, anchors averaged. The pairs of the
    smooth form are computed a part at a time and again in the backward pass.

    Wang et al.: *Adaptive Multi-head Contrastive Learning* (ECCV 2024), table 2.

    Args:
        z1: (C, N, D) embeddings of the first view by C heads.
        z2: the same of the second view.
        temperature: τ (C, 2N, 2N) of every ordered pair of view 1, then view 2; or a function that gives it for the
            unit rows of anchors (C, A, D) and candidates (C, K, D), such as `PairTemperature`.
        beta: β, weight of the regulariser.
        mode: `"logsumexp"` or `"max"`.
        include_positive: whether the positive is a candidate, too.
        normalize: scale rows to length 1; False if they are of length 1 already.
        reduction: `"mean"`, `"sum"` or `"none"` over the anchors.

    Returns:
        The loss, or one value for each of the 2N anchors.

    Raises:
        InputError: shapes do not fit, one sample alone, a negative β or a temperature that is not above 0.

    Example:
        >>> from dipole.losses import nt_xent_loss
        >>> z = torch.eye(4)[None]
        >>> constant = torch.full((1, 8, 8), 0.5)
        >>> torch.isclose(amcl_loss(z, z, constant), nt_xent_loss(z[0], z[0], temperature=0.5))
        tensor(True)
    """
    _check(z1, z2, beta)
    check_choice(mode, ("logsumexp", "max"), "mode")
    anchors = torch.cat([unit_rows(z1, normalize), unit_rows(z2, normalize)], dim=1)
    count = anchors.shape[1]
    own = torch.arange(count, device=anchors.device)
    partner = own.roll(count // 2)
    if isinstance(temperature, Tensor):
        if temperature.shape != (len(anchors), count, count):
            raise InputError(
                f"temperatures of shape {tuple(temperature.shape)} came for {len(anchors)} heads and {count} rows of "
                f"both views: expected {(len(anchors), count, count)}."
            )
        given = temperature
        of_pairs = given.gather(2, partner.expand(len(anchors), -1)[..., None])[..., 0]
    else:
        of_pairs = _pairs(temperature)(anchors, anchors[:, partner])
    similarity = (anchors * anchors[:, partner]).sum(dim=-1)
    excluded = own[:, None] if include_positive else torch.stack([own, partner], dim=1)
    return _assembled(
        anchors, anchors, similarity, of_pairs, temperature, excluded, beta=beta, mode=mode, reduction=reduction
    )


@public
def amcl_queue_loss(
    queries: Float[Tensor, "c n d"],
    keys: Float[Tensor, "c n d"],
    queue: Float[Tensor, "c m d"],
    temperature: AllPairs,
    *,
    beta: float = 0.1,
    mode: Mode = "logsumexp",
    include_positive: bool = True,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "n"]:
    """Compute `amcl_loss` of queries and their keys against a queue of negatives, for each head.

    Args:
        queries: (C, N, D).
        keys: (C, N, D), without gradient.
        queue: (C, M, D), without gradient.
        temperature: a function of anchors and candidates, such as `PairTemperature`.
        beta: β, weight of the regulariser.
        mode: see `amcl_loss`.
        include_positive: whether the positive is a candidate, too.
        reduction: `"mean"`, `"sum"` or `"none"`.

    Raises:
        InputError: shapes do not fit, or a setting is out of range.

    Example:
        >>> queries, queue = torch.eye(4)[None, :2], torch.eye(4)[None, 2:]
        >>> amcl_queue_loss(queries, queries, queue, lambda a, b: torch.ones(1, a.shape[1], b.shape[1]), beta=0.0)
        tensor(0.5514)
    """
    _check(queries, keys, beta)
    check_choice(mode, ("logsumexp", "max"), "mode")
    q, k, negatives = unit_rows(queries), unit_rows(keys.detach()), unit_rows(queue.detach())
    of_pairs = _pairs(temperature)(q, k)
    similarity = (q * k).sum(dim=-1)
    positive = (
        (similarity / of_pairs - beta * temperature_regulariser(of_pairs, q.shape[-1])) if include_positive else None
    )
    return _assembled(
        q, negatives, similarity, of_pairs, temperature, None, positive, beta=beta, mode=mode, reduction=reduction
    )


def _check(z1: Tensor, z2: Tensor, beta: float) -> None:
    """Require heads of two or more samples."""
    check_at_least(beta, 0, "beta")
    if z1.ndim != 3 or z1.shape != z2.shape:
        raise InputError(
            f"embeddings of shapes {tuple(z1.shape)} and {tuple(z2.shape)} came: expected two of (C, N, D), one for "
            "each of C heads."
        )
    if z1.shape[1] < 2:
        raise InputError("a batch of 1 sample has no negatives: use a batch of 2 or more.")


def _pairs(temperature: AllPairs) -> AllPairs:
    """What gives the temperatures of rows with rows; taken from those of all pairs if there is nothing cheaper."""
    found: AllPairs | None = getattr(temperature, "pairs", None)
    return found or (lambda a, b: temperature(a, b).diagonal(dim1=1, dim2=2))


@public
def hardest_candidates(
    similarities: Float[Tensor, "c a k"], excluded: Int64[Tensor, "a e"] | None = None
) -> Int64[Tensor, "c a"]:
    """Return the candidate with the largest cosine for each anchor and head; the first of equals.

    Args:
        similarities: (C, A, K).
        excluded: (A, E) candidates that do not count for an anchor.

    Example:
        >>> hardest_candidates(torch.tensor([[[0.9, 0.1, 0.5]]]), torch.tensor([[0]]))
        tensor([[2]])
    """
    if excluded is not None:
        similarities = similarities.scatter(2, excluded.expand(len(similarities), -1, -1), -torch.inf)
    return similarities.argmax(dim=2)


def _assembled(
    anchors: Tensor,
    candidates: Tensor,
    similarity: Tensor,
    of_pairs: Tensor,
    temperature: Tensor | AllPairs,
    excluded: Tensor | None,
    positive: Tensor | None = None,
    *,
    beta: float,
    mode: Mode,
    reduction: Reduction,
) -> Tensor:
    """The loss, a part of the anchors at a time."""
    dim = anchors.shape[-1]
    own_score = similarity / of_pairs - beta * temperature_regulariser(of_pairs, dim)

    def part(rows: Tensor, keys: Tensor, own: Tensor | None, places: Tensor) -> Tensor:
        """What the candidates add, of some anchors."""
        values = rows @ keys.mT
        left_out = None if excluded is None else excluded[places]
        if mode == "max":
            found = hardest_candidates(values.detach(), left_out)
            chosen = values.gather(2, found[..., None])[..., 0]
            if isinstance(temperature, Tensor):
                tau = temperature[:, places].gather(2, found[..., None])[..., 0]
            else:
                tau = _pairs(temperature)(rows, keys.gather(1, found[..., None].expand(-1, -1, dim)))
            hardest = chosen / tau - beta * temperature_regulariser(tau, dim)
            # Where the positive is a candidate of its own and the most similar one, the head adds nothing.
            return hardest if own is None else torch.where(similarity[:, places] >= chosen, own, hardest)
        tau = temperature[:, places] if isinstance(temperature, Tensor) else temperature(rows, keys)
        scores = values / tau - beta * temperature_regulariser(tau, dim)
        if left_out is not None:
            scores = scores.scatter(2, left_out.expand(len(scores), -1, -1), -torch.inf)
        if own is not None:
            scores = torch.cat([scores, own[..., None]], dim=2)
        return scores.logsumexp(dim=2)

    size = max(1, PAIRS_AT_ONCE // (len(anchors) * candidates.shape[1]))
    places = torch.arange(anchors.shape[1], device=anchors.device).split(size)
    parts = []
    for some in places:
        given = anchors[:, some], candidates, None if positive is None else positive[:, some], some
        again = len(places) > 1 and torch.is_grad_enabled()
        parts.append(checkpoint(part, *given, use_reentrant=False) if again else part(*given))
    return reduce((torch.cat(parts, dim=1) - own_score).sum(dim=0), reduction)


@public
def amcl_simsiam_loss(
    predictions1: Float[Tensor, "c n d"],
    predictions2: Float[Tensor, "c n d"],
    targets1: Float[Tensor, "n d"],
    targets2: Float[Tensor, "n d"],
    temperature1: Float[Tensor, "c n"],
    temperature2: Float[Tensor, "c n"],
    *,
    beta: float = 0.1,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "n"]:
    """Compute `Σ_c {−sim(p¹, h²)/(2τ) − sim(p², h¹)/(2τ̃) + βΩ(τ) + βΩ(τ̃)}`; the targets h carry no gradient.

    Wang et al.: *Adaptive Multi-head Contrastive Learning* (ECCV 2024), eq. 2.2.

    Args:
        predictions1: (C, N, D) of view 1 by C predictors.
        predictions2: the same of view 2.
        targets1: (N, D) of view 1, shared by the heads.
        targets2: the same of view 2.
        temperature1: τ (C, N) of the pairs (p¹, h²).
        temperature2: τ̃ (C, N) of the pairs (p², h¹).
        beta: β.
        reduction: `"mean"`, `"sum"` or `"none"` over the samples.

    Raises:
        InputError: a negative β, or a temperature that is not above 0.

    Example:
        >>> z, ones = torch.eye(3), torch.ones(1, 3)
        >>> amcl_simsiam_loss(z[None], z[None], z, z, ones, ones, beta=0.0)
        tensor(-1.)
    """
    check_at_least(beta, 0, "beta")
    dim = predictions1.shape[-1]
    total = torch.zeros((), dtype=torch.promote_types(predictions1.dtype, torch.float32), device=predictions1.device)
    for predictions, targets, temperature in (
        (predictions1, targets2, temperature1),
        (predictions2, targets1, temperature2),
    ):
        similarity = (unit_rows(predictions) * unit_rows(targets.detach())).sum(dim=-1)
        total = total + (beta * temperature_regulariser(temperature, dim) - similarity / (2 * temperature)).sum(dim=0)
    return reduce(total, reduction)


@public
def amcl_barlow_loss(
    z1: Float[Tensor, "c n d"],
    z2: Float[Tensor, "c n d"],
    temperature: Float[Tensor, "c d d"],
    *,
    beta: float = 0.1,
    off_diagonal_weight: float = 5e-3,
) -> Float[Tensor, ""]:
    """Compute `Σ_c {Σ_l (1 − C_ll/τ_ll)² + λ Σ_{l≠m} C_lm²/τ_lm + β Σ_l Ω(τ_ll) − β Σ_{l≠m} Ω(τ_lm)}`.

    C is the cross-correlation of the two views, with the unbiased deviation.

    Wang et al.: *Adaptive Multi-head Contrastive Learning* (ECCV 2024), eq. 2.3.

    Args:
        z1: (C, N, D) embeddings of view 1 by C heads.
        z2: the same of view 2.
        temperature: τ (C, D, D) of the pairs of features.
        beta: β.
        off_diagonal_weight: λ.

    Raises:
        InputError: shapes do not fit, a negative weight, or a temperature that is not above 0.

    Example:
        >>> z = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])[None]
        >>> float(amcl_barlow_loss(z, z, torch.ones(1, 2, 2), beta=0.0)) < 0.2  # (1 − 3/4)² of two features
        True
    """
    _check(z1, z2, beta)
    check_at_least(off_diagonal_weight, 0, "off_diagonal_weight")
    correlation = cross_correlation(z1, z2, unbiased=True)
    regulariser = beta * temperature_regulariser(temperature, z1.shape[-1])
    spread = off_diagonal_weight * correlation.square() / temperature - regulariser
    kept = (1 - correlation / temperature).square() + regulariser
    diagonal = torch.eye(z1.shape[-1], dtype=torch.bool, device=z1.device)
    return torch.where(diagonal, kept, spread).sum()
