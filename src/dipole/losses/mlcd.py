"""Multi-label cluster discrimination: a sample against some of many classes, several of which are its own."""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import Reduction, inner_products, reduce, unit_rows
from dipole.ops.checks import check_at_least, check_choice, check_embeddings
from dipole.ops.door import looking, public
from dipole.ops.rows import as_scalar

Margin = Literal["cosface", "arcface", "arcface_straight_through"]
MARGINS = ("cosface", "arcface", "arcface_straight_through")
Discrimination = Literal["mlcd", "mlc", "softmax"]


@public
def margin_logits(
    cosine: Float[Tensor, "n k"],
    positive: Bool[Tensor, "n k"],
    *,
    scale: float = 64.0,
    margin: float = 0.3,
    kind: Margin = "cosface",
) -> Float[Tensor, "n k"]:
    """Compute logits of classes, in which those of a sample's own classes are made smaller by a margin m.

        own classes:    s (cos θ − m)  (`"cosface"`),   s cos(θ + m)  (`"arcface"`)
        other classes:  s cos θ

    With `"arcface_straight_through"` the values are those of ArcFace and every derivative is s, as the authors have it.

    An et al.: *Multi-label Cluster Discrimination for Visual Representation Learning* (ECCV 2024); *Unicom* (2023).

    Args:
        cosine: (N, K), cut to [−1, 1].
        positive: (N, K), True where a class is the sample's own.
        scale: s > 0.
        margin: m, 0 or more.
        kind: of margin.

    Raises:
        InputError: shapes differ or a setting is out of range.

    Example:
        >>> margin_logits(torch.tensor([[1.0, 0.5]]), torch.tensor([[True, False]]), scale=2.0, margin=0.25)
        tensor([[1.5000, 1.0000]])
    """
    check_at_least(scale, 0, "scale")
    check_at_least(margin, 0, "margin")
    check_choice(kind, MARGINS, "kind")
    if cosine.shape != positive.shape:
        raise InputError(
            f"cosine is {tuple(cosine.shape)}, positive {tuple(positive.shape)}: expected the same (N, K)."
        )
    cosine = cosine.clamp(-1, 1)
    if kind == "cosface":
        return scale * torch.where(positive, cosine - margin, cosine)
    angle = as_scalar(margin, cosine)
    # cos(θ + m) = cos θ cos m − sin θ sin m; the slope of sin θ in cos θ is infinite at the ends.
    sine = (1 - cosine.square()).clamp_min(torch.finfo(cosine.dtype).eps).sqrt()
    turned = cosine * angle.cos() - sine * angle.sin()
    if kind == "arcface_straight_through":
        turned = cosine + (turned - cosine).detach()
    return scale * torch.where(positive, turned, cosine)


class ClassTerms(NamedTuple):
    """What a sample has to do with its own classes and with the others; −inf where there are none.

    Attributes:
        attraction: (N,) `log A = log Σ_i exp(−s_i)` over its own classes.
        repulsion: (N,) `log B = log Σ_j exp(s_j)` over the others.
    """

    attraction: Tensor
    repulsion: Tensor


def class_terms(
    logits: Float[Tensor, "n k"], positive: Bool[Tensor, "n k"], negative: Bool[Tensor, "n k"]
) -> ClassTerms:
    """Reduce logits along the rows: over a part of the classes, terms of parts are joined by `masked_logsumexp`."""
    return ClassTerms(masked_logsumexp(-logits, positive), masked_logsumexp(logits, negative))


def masked_logsumexp(x: Float[Tensor, "n k"], mask: Bool[Tensor, "n k"]) -> Float[Tensor, "n"]:
    """Compute `log Σ exp(x)` where the mask is True; −inf, without a gradient, for rows in which it nowhere is."""
    some = mask.any(dim=1)
    kept = x.masked_fill(~mask, -torch.inf).masked_fill(~some[:, None], 0)
    return torch.where(some, kept.logsumexp(dim=1), -torch.inf)


def discrimination(terms: ClassTerms, mode: Discrimination) -> Float[Tensor, "n"]:
    """Compute `log(1 + A + B + AB)` (MLCD, eq. 5), or `log(1 + AB)` (eq. 4; with one own class it is the softmax)."""
    nothing = torch.zeros_like(terms.attraction)
    if mode == "mlcd":
        return torch.logaddexp(nothing, terms.attraction) + torch.logaddexp(nothing, terms.repulsion)
    return torch.logaddexp(nothing, terms.attraction + terms.repulsion)


@public
def multilabel_cluster_loss(
    embeddings: Float[Tensor, "n d"],
    class_weights: Float[Tensor, "k d"],
    positive: Bool[Tensor, "n k"],
    negative: Bool[Tensor, "n k"] | None = None,
    *,
    scale: float = 64.0,
    margin: float = 0.3,
    kind: Margin = "cosface",
    mode: Literal["mlcd", "mlc"] = "mlcd",
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "n"]:
    """Compute, with A = Σ_{own i} exp(−s_i) and B = Σ_{other j} exp(s_j) of the logits of `margin_logits`,

        MLCD (eq. 5):  log(1 + A) + log(1 + B)
        MLC  (eq. 4):  log(1 + A B)

    In MLCD the two groups do not interact: the hardest of each have the largest gradients.

    Conventions: rows are normalised here; mean over the samples; scale 1 and margin 0 are the paper's formula
    verbatim, which saturates at log(1 + l/e). A sample without own classes contributes log(1 + B), to MLC 0.

    An et al.: *Multi-label Cluster Discrimination for Visual Representation Learning* (ECCV 2024), eq. 3 to 5.

    Args:
        embeddings: (N, D).
        class_weights: (K, D), such as the sampled rows of a `dipole.nn.PartialClassifier`.
        positive: (N, K), True for a sample's own classes.
        negative: (N, K), True for the classes that repel it; all others if it is None.
        scale: s.
        margin: m.
        kind: see `margin_logits`.
        mode: which of the two.
        reduction: `"mean"`, `"sum"` or `"none"`.

    Returns:
        The loss, or (N,) values.

    Raises:
        InputError: shapes do not fit, a value is not finite, or a setting is out of range.

    Example:
        >>> own = torch.tensor([[True, True, False]])
        >>> z = torch.tensor([[0.0, 0.0, 0.0, 1.0]])  # every cosine is 0: log(1 + 2) + log(1 + 1)
        >>> multilabel_cluster_loss(z, torch.eye(4)[:3], own, scale=1.0, margin=0.0)
        tensor(1.7918)
    """
    check_embeddings(embeddings=embeddings, class_weights=class_weights)
    check_choice(mode, ("mlcd", "mlc"), "mode")
    negative = ~positive if negative is None else negative
    shape = (len(embeddings), len(class_weights))
    if positive.shape != shape or negative.shape != shape:
        raise InputError(f"masks are {tuple(positive.shape)} and {tuple(negative.shape)}: expected {shape}.")
    if looking() and bool((positive & negative).any()):
        raise InputError("a class is marked as a sample's own and as another one: leave one of the marks out.")
    cosine = inner_products(unit_rows(embeddings), unit_rows(class_weights))
    logits = margin_logits(cosine, positive, scale=scale, margin=margin, kind=kind)
    return reduce(discrimination(class_terms(logits, positive, negative), mode), reduction)


@public
def margin_softmax_loss(
    cosine: Float[Tensor, "n k"],
    labels: Int64[Tensor, "n"],
    *,
    scale: float = 64.0,
    margin: float = 0.3,
    kind: Margin = "cosface",
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "n"]:
    """Compute the cross entropy of one class of each sample, whose logit is made smaller by a margin.

    An et al.: *Unicom: Universal and Compact Representation Learning for Image Retrieval* (ICLR 2023).

    Args:
        cosine: (N, K).
        labels: (N,) from 0 to K − 1.
        scale: s.
        margin: m.
        kind: see `margin_logits`.
        reduction: `"mean"`, `"sum"` or `"none"`.

    Raises:
        InputError: shapes do not fit, or a label or a setting is out of range.

    Example:
        >>> margin_softmax_loss(torch.zeros(1, 4), torch.tensor([2]), scale=1.0, margin=0.0)  # log 4
        tensor(1.3863)
    """
    outside = looking() and not 0 <= int(labels.min()) <= int(labels.max()) < cosine.shape[1]
    if labels.shape != cosine.shape[:1] or outside:
        raise InputError(f"labels of shape {tuple(labels.shape)}: expected one from 0 to K − 1 of each sample.")
    own = torch.zeros_like(cosine, dtype=torch.bool).scatter_(1, labels[:, None], True)
    logits = margin_logits(cosine, own, scale=scale, margin=margin, kind=kind)
    return reduce(logits.logsumexp(dim=1) - logits.gather(1, labels[:, None])[:, 0], reduction)


def sample_classes(
    labels: Int64[Tensor, "n l"], classes: int, ratio: float, *, uniform: Float[Tensor, "classes"] | None = None
) -> tuple[Int64[Tensor, "kept"], Int64[Tensor, "n l"]]:
    """Draw a share of the classes for a batch, those that are anyone's own first of all (PartialFC).

    Args:
        labels: (N, L) classes of each sample; negative ones stand for none.
        classes: K.
        ratio: share of the K classes that is kept, the batch's own included. Where those alone are more, they are kept.
        uniform: (K,) random numbers in [0, 1) to draw by; from torch's global generator if it is None.

    Returns:
        The classes that are kept (k',), in ascending order, and the labels as places among them (N, L), −1 for none.

    Raises:
        InputError: a label or the ratio is out of range.

    Example:
        >>> kept, own = sample_classes(torch.tensor([[4], [1]]), 5, 0.6, uniform=torch.tensor([0.1, 0, 0.9, 0.2, 0]))
        >>> kept, own.tolist()
        (tensor([1, 2, 4]), [[2], [0]])
    """
    if not 0 < ratio <= 1:
        raise InputError(f"the share of the classes that is kept is {ratio}: expected above 0, up to 1.")
    own = labels[labels >= 0].unique()
    if len(own) and int(own[-1]) >= classes:
        raise InputError(f"a label is {int(own[-1])}: expected those of {classes} classes.")
    budget = int(ratio * classes)
    if len(own) >= budget:
        kept = own
    else:
        scores = torch.rand(classes, device=labels.device) if uniform is None else uniform.clone()
        scores[own] = 2
        kept = scores.topk(budget).indices.sort().values
    places = torch.searchsorted(kept, labels.clamp_min(0))
    return kept, torch.where(labels >= 0, places, -1)


def own_classes(labels: Int64[Tensor, "n l"], classes: int) -> Bool[Tensor, "n k"]:
    """Return a mask that is True for the classes of each sample; a negative label is none, one twice is one.

    Example:
        >>> own_classes(torch.tensor([[0, -1], [2, 2]]), 3)
        tensor([[ True, False, False],
                [False, False,  True]])
    """
    mask = torch.zeros(len(labels), classes + 1, dtype=torch.bool, device=labels.device)
    return mask.scatter_(1, torch.where(labels < 0, classes, labels), True)[:, :classes]
