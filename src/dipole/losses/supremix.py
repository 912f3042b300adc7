"""SupReMix: mixtures of embeddings whose labels lie between, or on, those of others."""

import warnings
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import Reduction, reduce, unit_rows
from dipole.losses.mixture_pairs import AllPairs, FoundPairs
from dipole.ops.checks import check_at_least, check_choice, check_temperature, check_views
from dipole.ops.door import looking, public

Weight = Literal["l1_inverse", "l2_inverse", "l1", "l2", "none"]
WEIGHTS = ("l1_inverse", "l2_inverse", "l1", "l2", "none")
Stabilizer = Literal["joint", "per_block"]


class PositivePairs(NamedTuple):
    """Pairs (j, k) whose mixture has the label of an anchor i.

    Attributes:
        anchor: i (T,).
        low: j (T,), with the smaller label.
        high: k (T,), with the larger one.
        alpha: (T,) share of j.
    """

    anchor: Tensor
    low: Tensor
    high: Tensor
    alpha: Tensor


class Candidates(NamedTuple):
    """What the anchors are contrasted with.

    Attributes:
        loss: (M,) of each anchor, 0 without positives.
        positives: (M,) their number.
        candidates: (M,) their number.
    """

    loss: Tensor
    positives: Tensor
    candidates: Tensor


@public
def label_distance_weight(distance: Float[Tensor, "*shape"], kind: str = "l1_inverse") -> Float[Tensor, "*shape"]:
    """Compute the weight of a candidate at a distance Δ of labels.

    `"l1_inverse"`: |Δ| + 1, `"l2_inverse"`: Δ² + 1, `"l1"`: 1/(|Δ| + 1), `"l2"`: 1/(Δ² + 1), `"none"`: 1. The two that
    are called inverse push farther what is farther.

    Args:
        distance: Δ.
        kind: see above.

    Raises:
        InputError: an unknown kind.

    Example:
        >>> label_distance_weight(torch.tensor([0.0, 2.0])), label_distance_weight(torch.tensor([2.0]), "l2")
        (tensor([1., 3.]), tensor([0.2000]))
    """
    check_choice(kind, WEIGHTS, "weight")
    if kind == "none":
        return torch.ones_like(distance)
    magnified = (distance.abs() if kind.startswith("l1") else distance.square()) + 1
    return magnified if kind.endswith("inverse") else 1 / magnified


@public
def mix_positive_index(
    labels: Float[Tensor, "m"],
    window: float,
    *,
    tolerance: float = 0.0,
    most: int | None = None,
    generator: torch.Generator | None = None,
) -> PositivePairs:
    """Find all pairs (j, k) with `y_j < y_i < y_k`, both less than the window away from y_i.

    The share `α = (y_k − y_i) / (y_k − y_j)` of j makes the label of the mixture y_i.

    Args:
        labels: y (M,).
        window: above 0, in units of the labels.
        tolerance: labels this close are equal.
        most: pairs of an anchor, drawn where there are more; all if None.
        generator: of the draw.

    Raises:
        InputError: a window that is not above 0.

    Example:
        >>> mix_positive_index(torch.tensor([0.0, 1.0, 3.0]), 5.0)[:3]
        (tensor([1]), tensor([0]), tensor([2]))
    """
    below, above = _below_and_above(labels, window, tolerance)
    parts: list[Tensor] = []
    for i in (below.any(dim=1) & above.any(dim=1)).nonzero().flatten().tolist():
        pairs = torch.cartesian_prod(below[i].nonzero().flatten(), above[i].nonzero().flatten())
        if most is not None and len(pairs) > most:
            order = torch.randperm(len(pairs), generator=generator)[:most]
            pairs = pairs[order.sort().values.to(pairs.device)]
        parts.append(torch.cat([torch.full_like(pairs[:, :1], i), pairs], dim=1))
    found = torch.cat(parts) if parts else torch.empty(0, 3, dtype=torch.int64, device=labels.device)
    i, j, k = found.unbind(dim=1)
    return PositivePairs(i, j, k, (labels[k] - labels[i]) / (labels[k] - labels[j]))


def _below_and_above(labels: Tensor, window: float, tolerance: float) -> tuple[Tensor, Tensor]:
    """Which rows (M, M) have a smaller, and which a larger label than an anchor, less than the window away."""
    if not window > 0:
        raise InputError(f"window is {window}: expected a number above 0, in units of the labels.")
    gap = labels[None] - labels[:, None]  # of j to i, in row i
    return (gap < -tolerance) & (gap > -window), (gap > tolerance) & (gap < window)


@public
def mix_negatives(
    z: Float[Tensor, "m d"], labels: Float[Tensor, "m"], alpha: Float[Tensor, "m m"]
) -> tuple[Float[Tensor, "m m d"], Float[Tensor, "m m"]]:
    """Compute `v_ik = α_ik z_i + (1 − α_ik) z_k` and its label, of every anchor i and every other row k.

    `supremix_loss` never makes them: it needs their inner products only.

    Args:
        z: (M, D).
        labels: (M,).
        alpha: (M, M).

    Example:
        >>> mix_negatives(torch.eye(2), torch.tensor([0.0, 1.0]), torch.full((2, 2), 0.25))[1]
        tensor([[0.0000, 0.7500],
                [0.2500, 1.0000]])
    """
    mixed = alpha[..., None] * z[:, None] + (1 - alpha[..., None]) * z[None]
    return mixed, alpha * labels[:, None] + (1 - alpha) * labels[None]


@public
def mix_positives(z: Float[Tensor, "m d"], pairs: Sequence[Tensor]) -> Float[Tensor, "t d"]:
    """Compute `v = α z_j + (1 − α) z_k` of pairs.

    Args:
        z: (M, D).
        pairs: see `mix_positive_index`.

    Example:
        >>> mix_positives(torch.eye(3), mix_positive_index(torch.tensor([0.0, 1.0, 2.0]), 5.0))
        tensor([[0.5000, 0.0000, 0.5000]])
    """
    _, j, k, alpha = pairs
    return alpha[:, None] * z[j] + (1 - alpha[:, None]) * z[k]


def draw_alpha(
    rows: int,
    beta: tuple[float, float] = (2.0, 8.0),
    *,
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Draw shares α (rows, rows) of the anchor in its mixtures from Beta(a, b).

    Args:
        rows: M.
        beta: a and b, above 0.
        generator: of the draw; torch's own if None.
        device: of the result.

    Raises:
        InputError: a or b is not above 0.

    Example:
        >>> draw_alpha(200, generator=torch.Generator().manual_seed(0)).mean().round(decimals=1)
        tensor(0.2000)
    """
    if len(beta) != 2 or not min(beta) > 0:
        raise InputError(f"beta is {beta}: expected two numbers above 0.")
    concentration = torch.tensor(beta).expand(rows, rows, 2)
    gamma = torch._standard_gamma(concentration, generator=generator)
    return (gamma[..., 0] / gamma.sum(dim=-1)).to(device)


@public
def supremix_terms(
    views: Float[Tensor, "v n d"],
    labels: Float[Tensor, "n"],
    alpha: Float[Tensor, "m m"] | None = None,
    *,
    temperature: float = 0.5,
    window: float = 5.0,
    beta: tuple[float, float] = (2.0, 8.0),
    mix_neg: bool = True,
    mix_pos: bool = True,
    weight: str = "l1_inverse",
    stabilizer: Stabilizer = "joint",
    max_mix_pos: int | None = None,
    label_tolerance: float = 0.0,
    normalize: bool = True,
    generator: torch.Generator | None = None,
) -> Candidates:
    """Compute the loss of each anchor and the numbers of its positives and candidates, see `supremix_loss`.

    Its arguments are those of `supremix_loss`.

    Raises:
        InputError: shapes do not fit, or a setting is out of range.

    Example:
        >>> views, labels = torch.eye(3).repeat(2, 1, 1), torch.tensor([0.0, 1.0, 2.0])
        >>> supremix_terms(views, labels).positives  # the other view, and four mixtures for the label between
        tensor([1, 5, 1, 1, 5, 1])
    """
    check_views(views, minimum=1)
    check_temperature(temperature)
    check_at_least(label_tolerance, 0, "label_tolerance")
    check_choice(weight, WEIGHTS, "weight")
    check_choice(stabilizer, ("joint", "per_block"), "stabilizer")
    if labels.shape != views.shape[1:2]:
        raise InputError(
            f"labels have shape {tuple(labels.shape)}: expected one number for each of {views.shape[1]} samples; "
            "mixtures are not defined for targets of several dimensions."
        )
    z = unit_rows(views, normalize).flatten(0, 1)
    count = len(z)
    y = labels.to(z.dtype).repeat(len(views))
    gap = y[:, None] - y[None]
    equal, own = gap.abs() <= label_tolerance, torch.eye(count, dtype=torch.bool, device=z.device)
    similarity = z @ z.T / temperature
    constant = z @ z.detach().T / temperature  # gradient reaches the anchor alone
    negatives: tuple[Tensor, Tensor] | None = None
    pairs: FoundPairs | AllPairs | None = None
    if mix_neg:
        share = _shares(alpha, count, beta, generator).to(z, non_blocking=True)
        mixed = share * constant.diagonal()[:, None] + (1 - share) * constant
        farther = label_distance_weight((1 - share) * gap, weight).log()
        negatives = (mixed.masked_fill(equal, -torch.inf), farther)
    if mix_pos and max_mix_pos is None and not looking():
        pairs = AllPairs(y, *_below_and_above(y, window, label_tolerance), constant)
    elif mix_pos:
        found = mix_positive_index(y, window, tolerance=label_tolerance, most=max_mix_pos, generator=generator)
        i, j, k, part = found
        pairs = FoundPairs(i, part * constant[i, j] + (1 - part) * constant[i, k], count)
    of_rows, of_mixtures = _shifts(similarity, negatives, pairs, stabilizer)
    real = similarity.masked_fill(own, -torch.inf) + label_distance_weight(gap, weight).log()
    total = (real - of_rows[:, None]).exp().sum(dim=1)
    same = equal & ~own
    attracted = (similarity - of_rows[:, None]).masked_fill(~same, 0).sum(dim=1)
    positives, candidates = same.sum(dim=1), (~own).sum(dim=1)
    if negatives is not None:
        total = total + (sum(negatives) - of_mixtures[:, None]).exp().sum(dim=1)
        candidates = candidates + (~equal).sum(dim=1)
    if pairs is not None:
        exponentials, logits, number = pairs.sums(of_mixtures)
        total, attracted = total + exponentials, attracted + logits
        positives, candidates = positives + number, candidates + number
    known = positives > 0
    log_total = torch.where(known, total, 1).log()
    loss = torch.where(known, log_total - attracted / positives.clamp_min(1), 0)
    return Candidates(loss, positives, candidates)


def _shares(alpha: Tensor | None, count: int, beta: tuple[float, float], generator: torch.Generator | None) -> Tensor:
    """The given shares, checked, or drawn ones."""
    if alpha is None:
        return draw_alpha(count, beta, generator=generator)
    if alpha.shape != (count, count):
        raise InputError(f"alpha has shape {tuple(alpha.shape)}: expected {(count, count)}, a share for each pair.")
    return alpha


def _shifts(
    similarity: Tensor, negatives: tuple[Tensor, Tensor] | None, pairs: FoundPairs | AllPairs | None, kind: str
) -> tuple[Tensor, Tensor]:
    """What is taken off the logits of rows and of mixtures before the exponential.

    The maximum of rows counts the row itself, that of mixtures 0, as in the authors' code.
    """
    of_rows = similarity.detach().amax(dim=1)
    of_mixtures = torch.zeros_like(of_rows)
    if negatives is not None:
        of_mixtures = torch.maximum(of_mixtures, negatives[0].detach().amax(dim=1))
    if pairs is not None:
        of_mixtures = torch.maximum(of_mixtures, pairs.highest())
    if kind == "per_block":
        return of_rows, of_mixtures
    joint = torch.maximum(of_rows, of_mixtures)
    return joint, joint


@public
def supremix_loss(
    views: Float[Tensor, "v n d"],
    labels: Float[Tensor, "n"],
    alpha: Float[Tensor, "m m"] | None = None,
    *,
    temperature: float = 0.5,
    window: float = 5.0,
    beta: tuple[float, float] = (2.0, 8.0),
    mix_neg: bool = True,
    mix_pos: bool = True,
    weight: str = "l1_inverse",
    stabilizer: Stabilizer = "joint",
    max_mix_pos: int | None = None,
    label_tolerance: float = 0.0,
    normalize: bool = True,
    generator: torch.Generator | None = None,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "m"]:
    """Compute `−1/|P_i| Σ_{p∈P_i} [ z_i·v_p/τ − log Σ_{a∈A_i} w_ia exp(z_i·v_a/τ) ]` of the M = V·N anchors.

    Candidates A are all other rows, the mixtures `α z_i + (1 − α) z_k` with every row of another label, and the
    mixtures of two rows whose label is that of the anchor, see `mix_positive_index`. The latter and rows of the same
    label are positives. Mixtures carry no gradient; weights grow with the distance of labels.

    Conventions: rows are normalised here, mixtures are not; positives stay in the denominator; an anchor without
    positives is left out of the mean, with a warning if there is no other.

    Wu et al.: *Mixup Your Own Pairs* (2023), eq. 4 to 7. The authors' code takes off the maximum of rows and of
    mixtures apart, which changes the loss: `stabilizer="per_block"` does so too.

    Args:
        views: (V, N, D), one view or more.
        labels: (N,) targets.
        alpha: (M, M) shares of anchor i in its mixture with row k; drawn from Beta(a, b) if None.
        temperature: τ.
        window: of the positive mixtures, in units of the labels.
        beta: a and b.
        mix_neg: whether mixtures of anchor and negative are candidates.
        mix_pos: whether mixtures with the anchor's label are.
        weight: see `label_distance_weight`.
        stabilizer: `"joint"`, or `"per_block"` as in the authors' code.
        max_mix_pos: positive mixtures of an anchor, drawn where there are more; all if None. Which anchors have more
            is looked at, also without `check_values`.
        label_tolerance: labels this close are equal.
        normalize: scale rows to length 1.
        generator: of what is drawn.
        reduction: over the anchors that have positives; `"none"` gives all, 0 for the others.

    Raises:
        InputError: shapes do not fit, or a setting is out of range.

    Example:
        >>> views, labels = torch.eye(2).repeat(2, 1, 1), torch.tensor([0.0, 1.0])
        >>> supremix_loss(views, labels, temperature=1.0, mix_neg=False, mix_pos=False, weight="none")
        tensor(0.5514)
    """
    found = supremix_terms(
        views,
        labels,
        alpha,
        temperature=temperature,
        window=window,
        beta=beta,
        mix_neg=mix_neg,
        mix_pos=mix_pos,
        weight=weight,
        stabilizer=stabilizer,
        max_mix_pos=max_mix_pos,
        label_tolerance=label_tolerance,
        normalize=normalize,
        generator=generator,
    )
    known = found.positives > 0
    if looking() and not bool(known.any()):
        warnings.warn("no anchor has a positive: give two views, or widen the window of labels.", stacklevel=2)
    if reduction == "mean":
        return found.loss.sum() / known.sum().clamp_min(1)
    return reduce(found.loss, reduction)
