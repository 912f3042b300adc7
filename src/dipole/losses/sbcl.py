"""SBCL: classes and their subclasses, each with a contrast of its own."""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import Reduction, reduce, unit_rows
from dipole.ops import gather as gather_rows
from dipole.ops import pairwise_logsumexp, rank
from dipole.ops.checks import check_at_least, check_choice, check_embeddings, check_temperature, check_views
from dipole.ops.door import looking, public
from dipole.ops.groups import sums_of_label

Form = Literal["rank", "single_temperature"]


class TwoLevels(NamedTuple):
    """Mean log probabilities of the positives of the V·N anchors, view after view; 0 where there are none."""

    subclass: Tensor
    label: Tensor


@public
def subclass_log_probabilities(
    views: Float[Tensor, "v n d"],
    labels: Int[Tensor, "n"],
    subclasses: Int[Tensor, "n"],
    *,
    temperature: float = 0.1,
    class_temperature: Float[Tensor, "c"] | None = None,
    form: Form = "rank",
    normalize: bool = True,
    gather: bool = False,
) -> TwoLevels:
    """Compute the two levels of SBCL for every anchor i, with T(i) the other views of its sample:

        fine:    mean_{p: m_p = m_i} [ s_ip/τ − log Σ_{a≠i} exp(s_ia/τ) ]
        coarse:  mean_{p∈A: y_p = y_i} [ s_ip/t − log Σ_{a∈A} exp(s_ia/t) ],   A = {a: m_a ≠ m_i} ∪ T(i), t = t(y_i)

    With `form="single_temperature"` the coarse positives are all of the class, against all candidates, at τ.

    Args:
        views: (V, N, D), one view or more.
        labels: (N,) classes y.
        subclasses: (N,) subclasses m; no two classes share one.
        temperature: τ.
        class_temperature: (C,) temperatures t of the classes; τ if None.
        form: which coarse term.
        normalize: scale rows to length 1.
        gather: contrast against the views of all processes.

    Raises:
        InputError: shapes do not fit, a temperature is not above 0, or a class has none.

    Example:
        >>> views, labels = torch.eye(2).repeat(2, 1, 1), torch.tensor([0, 1])
        >>> subclass_log_probabilities(views, labels, labels, temperature=1.0).subclass[0]  # 1 − log(e + 2)
        tensor(-0.5514)
    """
    check_views(views, minimum=1)
    check_temperature(temperature)
    check_choice(form, ("rank", "single_temperature"), "form")
    count = views.shape[1]
    for name, values in (("labels", labels), ("subclasses", subclasses)):
        if values.shape != (count,) or (looking() and bool((values < 0).any())):
            raise InputError(f"{name} has shape {tuple(values.shape)}: expected {count} numbers of 0 or more.")
    anchors = unit_rows(views, normalize).flatten(0, 1)
    own = torch.arange(len(anchors), device=anchors.device)
    sample = own % count
    y, m = labels[sample], subclasses[sample]
    keys, key_y, key_m, key_sample = anchors, y, m, sample
    if gather:
        keys, key_y, key_m = gather_rows(anchors), gather_rows(y), gather_rows(m)
        key_sample = gather_rows(sample + rank() * count)
        own, sample = own + rank() * len(anchors), sample + rank() * count
    # A batch of a single row has no candidates.
    everything = pairwise_logsumexp(anchors, keys, 1 / temperature, exclude=own).clamp_min(-1e30)

    def level(sums: Tensor, counts: Tensor, scale: Tensor | float, normaliser: Tensor) -> Tensor:
        """Mean log probability, 0 without positives."""
        similarity = (anchors * sums).sum(dim=1) / counts.clamp_min(1)
        return torch.where(counts > 0, similarity / scale - normaliser, 0)

    of_class, in_class = sums_of_label(keys, key_y, y)
    of_subclass, in_subclass = sums_of_label(keys, key_m, m)
    fine = level(of_subclass - anchors, in_subclass - 1, temperature, everything)
    if form == "single_temperature":
        return TwoLevels(fine, level(of_class - anchors, in_class - 1, temperature, everything))
    t = _of_classes(class_temperature, y, temperature, anchors)
    of_sample, in_sample = sums_of_label(keys, key_sample, sample)
    left_out = (key_m == m[:, None]) & (key_sample != sample[:, None])
    left_out[torch.arange(len(anchors), device=anchors.device), own] = True
    apart = pairwise_logsumexp(anchors / t[:, None], keys, exclude=left_out).clamp_min(-1e30)
    others = of_class - of_subclass + of_sample - anchors
    return TwoLevels(fine, level(others, in_class - in_subclass + in_sample - 1, t, apart))


def _of_classes(given: Tensor | None, labels: Tensor, default: float, like: Tensor) -> Tensor:
    """The temperature of every anchor's class."""
    if given is None:
        return like.new_full((len(labels),), default)
    outside = looking() and ((labels.numel() and int(labels.max()) >= len(given)) or not bool((given > 0).all()))
    if given.ndim != 1 or outside:
        raise InputError(
            f"class_temperature has shape {tuple(given.shape)}: expected a number above 0 for each class, and labels "
            f"reach {int(labels.max())}."
        )
    return given.detach().to(like)[labels]


@public
def subclass_contrastive_loss(
    views: Float[Tensor, "v n d"],
    labels: Int[Tensor, "n"],
    subclasses: Int[Tensor, "n"],
    *,
    temperature: float = 0.1,
    class_temperature: Float[Tensor, "c"] | None = None,
    beta: float = 0.25,
    base_temperature: float | None = None,
    form: Form = "rank",
    normalize: bool = True,
    gather: bool = False,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "vn"]:
    """Compute `−(τ/τ_base) · fine − β · coarse` of the anchors, see `subclass_log_probabilities`.

    Conventions: rows are normalised here; all V·N rows are anchors, and an anchor without positives at a level
    contributes 0 to it; mean over the anchors. Without `base_temperature` the factor of the fine term is 1, as in the
    paper; the authors' code for CIFAR has τ_base = 0.07.

    Hou, Zhang, Wang, Zhou: *Subclass-balancing Contrastive Learning for Long-tailed Recognition* (ICCV 2023).

    Args:
        views: (V, N, D).
        labels: (N,) classes.
        subclasses: (N,) subclasses; no two classes share one.
        temperature: τ.
        class_temperature: (C,) temperatures of the coarse term.
        beta: β.
        base_temperature: τ_base.
        form: `"rank"`, or `"single_temperature"` for the authors' other coarse term.
        normalize: scale rows to length 1.
        gather: contrast against the views of all processes.
        reduction: over the anchors.

    Raises:
        InputError: shapes do not fit, or a setting is out of range.

    Example:
        >>> views, labels = torch.eye(2).repeat(2, 1, 1), torch.tensor([0, 1])
        >>> subclass_contrastive_loss(views, labels, labels, temperature=1.0, beta=0.0)
        tensor(0.5514)
    """
    check_at_least(beta, 0, "beta")
    factor = 1.0
    if base_temperature is not None:
        check_temperature(base_temperature, "base_temperature")
        factor = temperature / base_temperature
    found = subclass_log_probabilities(
        views,
        labels,
        subclasses,
        temperature=temperature,
        class_temperature=class_temperature,
        form=form,
        normalize=normalize,
        gather=gather,
    )
    return reduce(-factor * found.subclass - beta * found.label, reduction)


@public
def subclass_contrastive_queue_loss(
    queries: Float[Tensor, "n d"],
    keys: Float[Tensor, "n d"],
    queue: Float[Tensor, "m d"],
    labels: Int[Tensor, "n"],
    queue_labels: Int[Tensor, "m"],
    subclasses: Int[Tensor, "n"],
    queue_subclasses: Int[Tensor, "m"],
    *,
    temperature: float = 0.07,
    class_temperature: float = 0.12,
    beta: float = 0.2,
    normalize: bool = True,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "n"]:
    """Compute SBCL's loss against a queue: the key is a positive of both levels, and the loss `fine + β · coarse`.

    Fine: positives of the subclass against the key and the whole queue at τ. Coarse: positives of the class against the
    key and the entries of other subclasses at the class temperature. Entries with the label −1 match nothing.

    Args:
        queries: (N, D).
        keys: (N, D), without gradient.
        queue: (M, D), without gradient.
        labels: (N,) classes.
        queue_labels: (M,), −1 where unknown.
        subclasses: (N,).
        queue_subclasses: (M,), −1 where unknown.
        temperature: of the fine term.
        class_temperature: of the coarse term.
        beta: β.
        normalize: scale rows to length 1.
        reduction: over the queries.

    Raises:
        InputError: shapes do not fit, or a setting is out of range.

    Example:
        >>> q, queue = torch.eye(3)[:1], torch.eye(3)[1:]
        >>> zero, one = torch.tensor([0]), torch.tensor([1, 1])
        >>> loss = subclass_contrastive_queue_loss(q, q, queue, zero, one, zero, one, temperature=1.0, beta=0.0)
        >>> loss  # log(e + 2) − 1
        tensor(0.5514)
    """
    check_temperature(temperature)
    check_temperature(class_temperature, "class_temperature")
    check_at_least(beta, 0, "beta")
    q, k, bank = _against_queue(queries, keys, queue, normalize)
    positive = (q * k).sum(dim=1)

    def level(own: tuple[Tensor, Tensor], tau: float, left_out: Tensor | None) -> Tensor:
        """Minus the mean log probability of the key and the positives of the queue."""
        normaliser = torch.logaddexp(positive / tau, pairwise_logsumexp(q, bank, 1 / tau, exclude=left_out))
        return normaliser - (positive + (q * own[0]).sum(dim=1)) / (1 + own[1]) / tau

    same = sums_of_label(bank, queue_subclasses, subclasses)
    of_class = torch.where(queue_subclasses[None] == subclasses[:, None], -1, queue_labels)
    kin = of_class == labels[:, None]
    other = (kin.to(q.dtype) @ bank, kin.sum(dim=1).to(q.dtype))
    fine = level(same, temperature, None)
    coarse = level(other, class_temperature, queue_subclasses[None] == subclasses[:, None])
    return reduce(fine + beta * coarse, reduction)


def _against_queue(queries: Tensor, keys: Tensor, queue: Tensor, normalize: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Checked rows; keys and queue without gradient."""
    check_embeddings(queries=queries, keys=keys, queue=queue)
    if queries.shape != keys.shape:
        raise InputError(f"{len(queries)} queries came with {len(keys)} keys: expected one key for each query.")
    return unit_rows(queries, normalize), unit_rows(keys.detach(), normalize), unit_rows(queue.detach(), normalize)


@public
def k_positive_loss(
    queries: Float[Tensor, "n d"],
    keys: Float[Tensor, "n d"],
    queue: Float[Tensor, "m d"],
    labels: Int[Tensor, "n"],
    queue_labels: Int[Tensor, "m"],
    draws: Float[Tensor, "k n"],
    *,
    temperature: float = 0.07,
    normalize: bool = True,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "n"]:
    """Compute KCL: the key and k entries of the class, drawn from the queue, as positives against key and queue.

        ℓ_i = log(exp(s_i⁺/τ) + Σ_a exp(s_ia/τ)) − mean_{p∈P_i} s_ip/τ

    Draw u picks the entry ⌊u · n⌋ of the n entries of the class, in the order of the queue; an entry drawn twice is one
    positive.

    Kang, Li, Xie, Yuan, Feng: *Exploring Balanced Feature Spaces for Representation Learning* (ICLR 2021).

    Args:
        queries: (N, D).
        keys: (N, D), without gradient.
        queue: (M, D), without gradient.
        labels: (N,).
        queue_labels: (M,), −1 where unknown.
        draws: u (K, N) from [0, 1).
        temperature: τ.
        normalize: scale rows to length 1.
        reduction: over the queries.

    Raises:
        InputError: shapes do not fit, or a setting is out of range.

    Example:
        >>> q, queue = torch.eye(3)[:1], torch.eye(3)[1:]
        >>> one = torch.tensor([1, 1])
        >>> k_positive_loss(q, q, queue, torch.tensor([0]), one, torch.zeros(2, 1), temperature=1.0)
        tensor(0.5514)
    """
    check_temperature(temperature)
    q, k, bank = _against_queue(queries, keys, queue, normalize)
    order = torch.sort(queue_labels, stable=True).indices
    ordered = queue_labels[order].contiguous()
    first = torch.searchsorted(ordered, labels)
    number = torch.searchsorted(ordered, labels, right=True) - first
    number = torch.where(labels >= 0, number, 0)
    places = first + (draws * number).long().minimum((number - 1).clamp_min(0))
    chosen = order[places.clamp_max(len(order) - 1)].T  # (N, K)
    again = (chosen[:, :, None] == chosen[:, None, :]).tril(diagonal=-1).any(dim=2)
    kept = (~again & (number > 0)[:, None]).to(q.dtype)
    positive = (q * k).sum(dim=1)
    drawn = (torch.einsum("nd,nkd->nk", q, bank[chosen]) * kept).sum(dim=1)
    normaliser = torch.logaddexp(positive / temperature, pairwise_logsumexp(q, bank, 1 / temperature))
    return reduce(normaliser - (positive + drawn) / (1 + kept.sum(dim=1)) / temperature, reduction)
