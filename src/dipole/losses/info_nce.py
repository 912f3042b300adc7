"""InfoNCE: in a batch, with a bank, with hard negatives; and its form NT-Xent for two views."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import Reduction, gathered_keys, reduce, two_views, unit_rows
from dipole.losses.one_tile import small_nt_xent
from dipole.ops import pairwise_logsumexp
from dipole.ops.checks import check_embeddings, check_same_rows, check_temperature
from dipole.ops.door import looking, public


@public
def nt_xent_loss(
    z1: Float[Tensor, "n d"],
    z2: Float[Tensor, "n d"],
    *,
    temperature: float | Float[Tensor, ""] = 0.1,
    normalize: bool = True,
    gather: bool = False,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "anchors"]:
    """Compute the normalised temperature-scaled cross entropy of SimCLR.

    For anchor i among the 2N embeddings, with its other view p(i) and cosine similarities s:

        ℓ_i = −s_{i,p(i)} / τ + log Σ_{j≠i} exp(s_ij / τ)

    Conventions: rows are normalised here; all 2N embeddings are anchors; the mean is over the 2N anchors. The negatives
    are the other samples of **both** views. Memory grows with N, not N².

    Chen, Kornblith, Norouzi, Hinton: *A Simple Framework for Contrastive Learning of Visual Representations*
    (ICML 2020), eq. 1.

    Args:
        z1: (N, D) embeddings of the first view.
        z2: (N, D) embeddings of the second view; row i belongs to the same sample as row i of `z1`.
        temperature: τ > 0; a number or a learnable scalar.
        normalize: False if the rows are of unit length already.
        gather: contrast against the embeddings of all processes.
        reduction: `"mean"` or `"sum"` over the anchors, or `"none"` for all 2N values (view 1, then view 2).

    Returns:
        The loss, or (2N,) values.

    Raises:
        InputError: shapes differ, a value is not finite, the temperature is not positive, or N = 1.

    Example:
        >>> z = torch.eye(4)
        >>> nt_xent_loss(z, z, temperature=0.5)  # positives at 1, six negatives at 0
        tensor(0.5944)
    """
    values = small_nt_xent(z1, z2, temperature, gather) if normalize else None
    if values is not None:
        return reduce(values, reduction)
    check_same_rows(z1=z1, z2=z2)
    check_temperature(temperature)
    views = two_views(z1, z2, gather, normalize)
    denominator = pairwise_logsumexp(views.anchors, views.candidates, 1 / temperature, exclude=views.excluded)
    return reduce(denominator - views.positives / temperature, reduction)


@public
def info_nce_loss(
    queries: Float[Tensor, "n d"],
    positives: Float[Tensor, "n d"],
    negatives: Float[Tensor, "m d"] | None = None,
    *,
    temperature: float | Float[Tensor, ""] = 0.1,
    label_smoothing: float = 0.0,
    normalize: bool = True,
    gather: bool = False,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "n"]:
    """Compute InfoNCE: the cross entropy of finding each query's positive among candidates.

        ℓ_i = −s_i⁺ / τ + log( exp(s_i⁺ / τ) + Σ_{k∈negatives} exp(s_ik / τ) )

    Without `negatives` the positives of the other queries serve (in-batch). With `negatives`, for example a queue, only
    those serve, as in MoCo. Label smoothing ε replaces −s_i⁺ / τ by −(1 − ε) s_i⁺ / τ − ε · mean_k s_ik / τ over all
    candidates, the positive among them.

    Conventions: rows are normalised here; one direction, from queries to keys; mean over the N queries.

    van den Oord, Li, Vinyals: *Representation Learning with Contrastive Predictive Coding* (2018), eq. 4; He et al.:
    *Momentum Contrast* (CVPR 2020), eq. 1.

    Args:
        queries: (N, D).
        positives: (N, D); row i is the positive of query i.
        negatives: (M, D) bank shared by all queries.
        temperature: τ > 0.
        label_smoothing: ε, from 0 to below 1.
        normalize: False if all rows are of unit length already, or to contrast plain inner products.
        gather: in-batch: contrast against the positives of all processes. A bank is used as it is.
        reduction: over the queries.

    Returns:
        The loss, or (N,) values.

    Raises:
        InputError: shapes differ, a value is not finite, the temperature is not positive, the label smoothing is out of
            range, or there are no negatives.

    Example:
        >>> queries, bank = torch.eye(4)[:2], torch.eye(4)[2:]
        >>> info_nce_loss(queries, queries, bank, temperature=1.0)  # log(e + 2) − 1
        tensor(0.5514)
    """
    check_same_rows(queries=queries, positives=positives)
    check_temperature(temperature)
    check_label_smoothing(label_smoothing)
    queries, positives = unit_rows(queries, normalize), unit_rows(positives, normalize)
    positive = (queries * positives).sum(dim=1) / temperature
    if negatives is None:
        keys, _ = gathered_keys(positives, gather)
        check_has_negatives(len(keys))
        denominator = pairwise_logsumexp(queries, keys, 1 / temperature)
    else:
        check_embeddings(queries=queries, negatives=negatives)
        keys = unit_rows(negatives, normalize)
        denominator = torch.logaddexp(positive, pairwise_logsumexp(queries, keys, 1 / temperature))
    if label_smoothing:
        # The mean logit needs the sum of the candidates, not one logit for each. A bank does not hold the positive.
        own = 0 if negatives is None else 1
        total = keys.sum(dim=0) + own * positives
        mean = (queries * total).sum(dim=1) / ((len(keys) + own) * temperature)
        positive = torch.lerp(positive, mean, label_smoothing)
    return reduce(denominator - positive, reduction)


@public
def hard_negatives_info_nce_loss(
    queries: Float[Tensor, "n d"],
    positives: Float[Tensor, "n d"],
    hard_negatives: Float[Tensor, "m d"],
    *,
    valid: Bool[Tensor, "m"] | None = None,
    temperature: float | Float[Tensor, ""] = 0.05,
    label_smoothing: float = 0.0,
    normalize: bool = True,
    gather: bool = False,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "n"]:
    """Compute in-batch InfoNCE with further negatives, which serve all queries of the batch:

        ℓ_i = −s_i⁺ / τ + log( Σ_{j∈positives} exp(s_ij / τ) + Σ_{k∈hard negatives} exp(s_ik / τ) )

    Conventions: rows are normalised here; one direction, from queries to passages; mean over the N queries; gradients
    reach all three. Memory grows with N + M, not with N (N + M).

    Karpukhin et al.: *Dense Passage Retrieval* (EMNLP 2020), sec. 3.2; the fine-tuning of Contriever (TMLR 2022).

    Args:
        queries: (N, D).
        positives: (N, D); row i is the positive of query i.
        hard_negatives: (M, D), of all queries.
        valid: (M,) False for rows that only fill up, so that every process holds as many.
        temperature: τ > 0.
        label_smoothing: ε over all valid candidates, as for `info_nce_loss`.
        normalize: False if all rows are of unit length already, or to contrast plain inner products.
        gather: contrast against the positives and hard negatives of all processes.
        reduction: over the queries.

    Returns:
        The loss, or (N,) values.

    Raises:
        InputError: shapes differ, a value is not finite, the temperature is not positive, the label smoothing is out of
            range, or there are no negatives.

    Example:
        >>> queries, passages = torch.eye(4)[:2], torch.eye(4)
        >>> hard_negatives_info_nce_loss(queries, passages[:2], passages[2:], temperature=1.0)  # log(e + 3) − 1
        tensor(0.7437)
    """
    check_same_rows(queries=queries, positives=positives)
    check_embeddings(queries=queries, hard_negatives=hard_negatives)
    check_temperature(temperature)
    check_label_smoothing(label_smoothing)
    if valid is None:
        valid = torch.ones(len(hard_negatives), dtype=torch.bool, device=hard_negatives.device)
    if valid.shape != hard_negatives.shape[:1]:
        raise InputError(f"valid has shape {tuple(valid.shape)}: expected one entry for each hard negative.")
    queries, positives = unit_rows(queries, normalize), unit_rows(positives, normalize)
    positive = (queries * positives).sum(dim=1) / temperature
    golds, _ = gathered_keys(positives, gather)
    hard_negatives = unit_rows(hard_negatives, normalize)
    # Marks travel with their rows, in one communication.
    marked = torch.cat([hard_negatives, valid.to(hard_negatives.dtype)[:, None]], dim=1)
    negatives, marks = gathered_keys(marked, gather)[0].split([marked.shape[1] - 1, 1], dim=1)
    keys = torch.cat([golds, negatives])
    used = torch.cat([torch.ones_like(golds[:, 0]), marks[:, 0]]).detach()
    candidates = used.sum()
    check_has_negatives(int(candidates) if looking() else len(keys))
    denominator = pairwise_logsumexp(queries, keys, 1 / temperature, log_weight=used.log())
    if label_smoothing:
        mean = (queries * (used[:, None] * keys).sum(dim=0)).sum(dim=1) / (candidates * temperature)
        positive = torch.lerp(positive, mean, label_smoothing)
    return reduce(denominator - positive, reduction)


def check_has_negatives(candidates: int) -> None:
    """Require a batch in which a query finds a key that is not its own.

    Raises:
        InputError: there is one key in all.
    """
    if candidates < 2:
        raise InputError("a batch of 1 sample has no negatives: use a batch of 2 or more, or a bank of negatives.")


def check_label_smoothing(value: float) -> None:
    """Require a share of the target that is spread over all candidates.

    Raises:
        InputError: it is below 0, or 1 and more.
    """
    if not 0 <= value < 1:
        raise InputError(f"label_smoothing is {value}: expected a number from 0 to below 1.")
