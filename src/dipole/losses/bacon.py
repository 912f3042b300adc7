"""BaCon: soft labels that know how large classes are, and what is learned from them."""

import math
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import Reduction, inner_products, reduce, unit_rows
from dipole.ops import pairwise_logsumexp
from dipole.ops.checks import check_at_least, check_choice, check_temperature, check_views
from dipole.ops.door import looking, public
from dipole.ops.groups import counts_of_labels
from dipole.ops.tiles import exact_products

Similarity = Literal["dot", "cosine"]
SMALLEST = 1e-12  # share of a class in the logarithm


class Selection(NamedTuple):
    """Attributes:

    number: (C,) rows kept of each predicted class.
    chosen: (N,) which rows.
    """

    number: Tensor
    chosen: Tensor


@public
def soft_weights(soft_labels: Float[Tensor, "n c"], *, similarity: Similarity = "dot") -> Float[Tensor, "n n"]:
    """Compute `w_ij = ⟨s_i, s_j⟩`, or the cosine, and 1 on the diagonal.

    Args:
        soft_labels: (N, C) probabilities.
        similarity: `"dot"` or `"cosine"`.

    Example:
        >>> soft_weights(torch.tensor([[0.5, 0.5], [1.0, 0.0]]))
        tensor([[1.0000, 0.5000],
                [0.5000, 1.0000]])
    """
    check_choice(similarity, ("dot", "cosine"), "similarity")
    rows = F.normalize(soft_labels, dim=1) if similarity == "cosine" else soft_labels
    return inner_products(rows, rows).fill_diagonal_(1)


@public
def soft_contrastive_loss(
    views: Float[Tensor, "v n d"],
    soft_labels: Float[Tensor, "n c"],
    *,
    temperature: float = 0.07,
    similarity: Similarity = "dot",
    normalize: bool = True,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "vn"]:
    """Compute `−Σ_j w_ij log softmax_j(s_ij/τ) / Σ_j w_ij` over all other rows j of all views, see `soft_weights`.

    Views of one sample have the weight 1. Gradient reaches the views alone.

    Conventions: rows are normalised here; mean over the V·N anchors. The sum over j goes through
    `Σ_c s_ic Σ_j s_jc z_j`, so that memory grows with N, not N².

    Bai et al.: *Towards Distribution-Agnostic Generalized Category Discovery* (NeurIPS 2023), eq. 6.

    Args:
        views: (V, N, D), two views or more.
        soft_labels: (N, C) probabilities.
        temperature: τ.
        similarity: `"dot"` or `"cosine"`.
        normalize: scale rows to length 1.
        reduction: over the anchors.

    Raises:
        InputError: shapes do not fit, or a setting is out of range.

    Example:
        >>> views = torch.eye(2).repeat(2, 1, 1)
        >>> soft_contrastive_loss(views, torch.eye(2), temperature=1.0)  # log(e + 2) − 1
        tensor(0.5514)
    """
    check_views(views)
    check_temperature(temperature)
    check_choice(similarity, ("dot", "cosine"), "similarity")
    count = views.shape[1]
    if len(soft_labels) != count:
        raise InputError(f"{len(soft_labels)} soft labels came for {count} samples: expected one each.")
    anchors = unit_rows(views, normalize)
    soft = soft_labels.detach().to(anchors.dtype)
    soft = F.normalize(soft, dim=1) if similarity == "cosine" else soft
    every = len(views)
    # Of all rows of other samples by class, of the views of the sample itself with weight 1, and not of the row itself.
    by_sample = anchors.sum(dim=0)
    with exact_products(views.device.type):
        of_others = soft @ (soft.T @ by_sample) - soft.square().sum(dim=1, keepdim=True) * by_sample
        weighted = (of_others + by_sample - anchors).flatten(0, 1)
        totals = every * (soft @ soft.sum(dim=0) - soft.square().sum(dim=1)) + every - 1
    flat = anchors.flatten(0, 1)
    normaliser = pairwise_logsumexp(flat, flat, 1 / temperature, exclude=torch.arange(len(flat), device=flat.device))
    values = normaliser - (flat * weighted).sum(dim=1) / totals.repeat(every) / temperature
    return reduce(values, reduction)


@public
def prior_adjustment(class_counts: Float[Tensor, "c"], *, kappa: float = 0.5) -> Float[Tensor, "c"]:
    """Compute `log(π_c^κ + 10⁻¹²)` of the shares π of the classes.

    Args:
        class_counts: (C,) sizes, 0 or more.
        kappa: κ.

    Raises:
        InputError: a negative size, or none above 0.

    Example:
        >>> prior_adjustment(torch.tensor([1.0, 3.0]), kappa=1.0)
        tensor([-1.3863, -0.2877])
    """
    if looking() and (bool((class_counts < 0).any()) or not float(class_counts.sum()) > 0):
        raise InputError(f"class_counts are {class_counts.tolist()}: expected sizes of 0 or more, some above 0.")
    return ((class_counts / class_counts.sum()) ** kappa + SMALLEST).log()


@public
def debiased_soft_labels(
    logits: Float[Tensor, "v n c"],
    class_counts: Float[Tensor, "c"],
    *,
    kappa: float = 0.5,
    temperature: float = 0.1,
) -> Float[Tensor, "n c"]:
    """Compute the mean over views of `softmax(o/τ − log π^κ)`, without gradient.

    Args:
        logits: o (V, N, C) of a classifier.
        class_counts: (C,) sizes of the classes.
        kappa: κ.
        temperature: τ.

    Raises:
        InputError: as `prior_adjustment`.

    Example:
        >>> debiased_soft_labels(torch.zeros(2, 1, 2), torch.tensor([1.0, 3.0]), kappa=1.0)
        tensor([[0.7500, 0.2500]])
    """
    check_temperature(temperature)
    adjusted = logits.detach() / temperature - prior_adjustment(class_counts, kappa=kappa).to(logits)
    return adjusted.softmax(dim=-1).mean(dim=0)


@public
def pseudo_label_sampling_rate(
    class_counts: Float[Tensor, "c"], present: Int[Tensor, "m"], *, alpha: float = 0.0, beta: float = 0.5
) -> Float[Tensor, "c"]:
    """Compute `(n_c / min n)^(−β)`, and `(n_c / min n)^(−α)` for the classes that have labels in the batch.

    Args:
        class_counts: n (C,), 1 or more.
        present: (M,) labels in the batch.
        alpha: α of classes with labels.
        beta: β of the others.

    Raises:
        InputError: a size below 1, or a negative exponent.

    Example:
        >>> pseudo_label_sampling_rate(torch.tensor([4.0, 4.0, 1.0]), torch.tensor([0]))
        tensor([1.0000, 0.5000, 1.0000])
    """
    check_at_least(alpha, 0, "alpha")
    check_at_least(beta, 0, "beta")
    if looking() and not float(class_counts.min()) > 0:
        raise InputError(
            f"class_counts are {class_counts.tolist()}: expected sizes above 0; clamp those of empty ones."
        )
    ratio = class_counts / class_counts.min()
    labelled = (present == torch.arange(len(ratio), device=ratio.device)[:, None]).any(dim=1)
    return torch.where(labelled, ratio**-alpha, ratio**-beta)


@public
def select_confident(
    soft_labels: Float[Tensor, "n c"],
    rates: Float[Tensor, "c"],
    draws: Float[Tensor, "u"] | None = None,
    *,
    generator: torch.Generator | None = None,
) -> Selection:
    """Keep the most confident rows of each predicted class; how many is drawn with the rate of the class.

    A draw u of a row is a success where `u < rate`; the successes of a class are counted, class by class.

    Args:
        soft_labels: (N, C) of rows without a label.
        rates: (C,), see `pseudo_label_sampling_rate`.
        draws: u (U,) from [0, 1), U of N or more, used class after class; drawn if None.
        generator: of the draws.

    Raises:
        InputError: fewer draws than rows.

    Example:
        >>> soft = torch.tensor([[0.6, 0.4], [0.9, 0.1], [0.2, 0.8]])
        >>> select_confident(soft, torch.tensor([0.5, 0.0]), torch.tensor([0.2, 0.7, 0.1])).chosen
        tensor([False,  True, False])
    """
    confidence, predicted = soft_labels.max(dim=1)
    if draws is None:
        draws = torch.rand(len(soft_labels), generator=generator, dtype=rates.dtype)
        draws = draws.to(rates.device, non_blocking=True)
    if len(draws) < len(soft_labels):
        raise InputError(f"{len(draws)} draws came for {len(soft_labels)} rows: expected one for each.")
    classes = predicted.sort(stable=True).values
    size = counts_of_labels(classes, len(rates))
    successes = draws[: len(classes)] < rates[classes]
    number = torch.zeros_like(size).index_add(0, classes, successes.long())
    best = confidence.argsort(descending=True, stable=True)
    best = best[predicted[best].argsort(stable=True)]  # class after class, the most confident rows first
    rank = torch.arange(len(best), device=rates.device) - (size.cumsum(0) - size)[classes]
    chosen = torch.zeros(len(best), dtype=torch.bool, device=rates.device)
    return Selection(number, chosen.scatter(0, best, rank < number[classes]))


@public
def distribution_regularizer(
    logits: Float[Tensor, "n c"],
    class_counts: Float[Tensor, "c"],
    *,
    p: float = 1.1,
    temperature: float = 0.1,
    form: Literal["entropy", "kl"] = "entropy",
) -> Float[Tensor, ""]:
    """Compute `log C − H(v)`, `v ∝ m_c / n_c^p`, of the mean m of the predictions: 0 where m is proportional to n^p.

    `"kl"` is the paper's eq. 2 instead, the divergence of m from the scaled n^p; the first is the authors' code.

    Args:
        logits: (N, C) of all views.
        class_counts: n (C,), above 0.
        p: exponent of the sizes.
        temperature: of the predictions.
        form: `"entropy"` or `"kl"`.

    Raises:
        InputError: a size that is not above 0, or a setting out of range.

    Example:
        >>> distribution_regularizer(torch.zeros(3, 2), torch.tensor([5.0, 5.0]))
        tensor(0.)
    """
    check_temperature(temperature)
    check_choice(form, ("entropy", "kl"), "form")
    mean, ratio = _ratio_to_prior(logits, class_counts, p, temperature)
    if form == "entropy":
        return math.log(len(ratio)) + torch.special.xlogy(ratio, ratio).sum()
    prior = class_counts.to(mean) ** p
    return (torch.special.xlogy(mean, mean) - mean * (prior / prior.sum()).log()).sum()


def _ratio_to_prior(logits: Tensor, class_counts: Tensor, p: float, temperature: float) -> tuple[Tensor, Tensor]:
    """Mean prediction m, and v proportional to m / n^p."""
    if looking() and not float(class_counts.min()) > 0:
        raise InputError(
            f"class_counts are {class_counts.tolist()}: expected sizes above 0; clamp those of empty ones."
        )
    mean = (logits / temperature).softmax(dim=1).mean(dim=0)
    ratio = mean / class_counts.to(mean) ** p
    return mean, ratio / ratio.sum()


def teacher_temperature(epoch: int, *, start: float = 0.07, end: float = 0.04, warmup_epochs: int = 30) -> float:
    """Return the temperature of the teacher: a line from start to end over the first epochs, then its end.

    Args:
        epoch: from 0.
        start: at epoch 0.
        end: from the last epoch of the warm-up on.
        warmup_epochs: points of the line.

    Example:
        >>> teacher_temperature(0), round(teacher_temperature(29), 3), teacher_temperature(50)
        (0.07, 0.04, 0.04)
    """
    if epoch >= warmup_epochs or warmup_epochs < 2:
        return end
    return start + (end - start) * epoch / (warmup_epochs - 1)


@public
def self_distillation_loss(
    logits: Float[Tensor, "2 n c"], *, teacher: float = 0.04, student: float = 0.1
) -> Float[Tensor, ""]:
    """Compute the cross entropy of each view's predictions with the other view's sharper ones, which are constants.

    Args:
        logits: (2, N, C) of two views.
        teacher: temperature of the constants, see `teacher_temperature`.
        student: temperature of the predictions.

    Raises:
        InputError: other than two views, or a temperature that is not above 0.

    Example:
        >>> self_distillation_loss(torch.zeros(2, 3, 2))  # log 2
        tensor(0.6931)
    """
    check_temperature(teacher, "teacher")
    check_temperature(student, "student")
    if len(logits) != 2:
        raise InputError(f"logits of {len(logits)} views came: expected two.")
    targets = (logits.detach() / teacher).softmax(dim=-1)
    predictions = (logits / student).log_softmax(dim=-1)
    return -(targets.flip(0) * predictions).sum(dim=-1).mean()


@public
def soft_label_rows(
    logits: Float[Tensor, "2 n c"],
    labels: Int[Tensor, "n"],
    labelled: Bool[Tensor, "n"],
    class_counts: Float[Tensor, "c"],
    draws: Float[Tensor, "u"] | None = None,
    *,
    alpha: float = 0.0,
    beta: float = 0.5,
    kappa: float = 0.5,
    student: float = 0.1,
    generator: torch.Generator | None = None,
) -> tuple[Int[Tensor, "m"], Float[Tensor, "m c"]]:
    """Choose the rows that `soft_contrastive_loss` sees: the labelled ones, then confident unlabelled ones.

    Args:
        logits: (2, N, C).
        labels: (N,), read where labelled.
        labelled: (N,).
        class_counts: (C,) estimated sizes.
        draws: (U,) for the unlabelled rows, see `select_confident`.
        alpha: see `pseudo_label_sampling_rate`.
        beta: see `pseudo_label_sampling_rate`.
        kappa: see `debiased_soft_labels`.
        student: temperature of the predictions.
        generator: of the draws.

    Returns:
        Places (M,) in the batch, and the soft labels (M, C).

    Example:
        >>> labelled = torch.tensor([True, False])
        >>> places, _ = soft_label_rows(torch.zeros(2, 2, 2), torch.zeros(2).long(), labelled, torch.ones(2))
        >>> places
        tensor([0, 1])
    """
    soft = debiased_soft_labels(logits, class_counts, kappa=kappa, temperature=student)
    known, unknown = labelled.nonzero().flatten(), (~labelled).nonzero().flatten()
    rates = pseudo_label_sampling_rate(class_counts.to(soft), labels[labelled], alpha=alpha, beta=beta)
    chosen = select_confident(soft[unknown], rates, draws, generator=generator).chosen
    places = torch.cat([known, unknown[chosen]])
    return places, soft[places]
