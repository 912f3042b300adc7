"""InfoNCE and its in-batch form NT-Xent."""

import torch
from jaxtyping import Float
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import Reduction, gathered_keys, reduce, two_views, unit_rows
from dipole.ops import pairwise_logsumexp
from dipole.ops.checks import check_embeddings, check_same_rows, check_temperature


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
    check_same_rows(z1=z1, z2=z2)
    check_temperature(temperature)
    views = two_views(z1, z2, gather, normalize)
    denominator = pairwise_logsumexp(views.anchors, views.candidates, 1 / temperature, exclude=views.own)
    return reduce(denominator - views.positives / temperature, reduction)


def info_nce_loss(
    queries: Float[Tensor, "n d"],
    positives: Float[Tensor, "n d"],
    negatives: Float[Tensor, "m d"] | None = None,
    *,
    temperature: float | Float[Tensor, ""] = 0.1,
    normalize: bool = True,
    gather: bool = False,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "n"]:
    """Compute InfoNCE: the cross entropy of finding each query's positive among candidates.

        ℓ_i = −s_i⁺ / τ + log( exp(s_i⁺ / τ) + Σ_{k∈negatives} exp(s_ik / τ) )

    Without `negatives` the positives of the other queries serve (in-batch). With `negatives`, for example a queue, only
    those serve, as in MoCo. Conventions: rows are normalised here; one direction, from queries to keys; mean over the N
    queries.

    van den Oord, Li, Vinyals: *Representation Learning with Contrastive Predictive Coding* (2018), eq. 4; He et al.:
    *Momentum Contrast* (CVPR 2020), eq. 1.

    Args:
        queries: (N, D).
        positives: (N, D); row i is the positive of query i.
        negatives: (M, D) bank shared by all queries.
        temperature: τ > 0.
        normalize: False if all rows are of unit length already.
        gather: in-batch: contrast against the positives of all processes. A bank is used as it is.
        reduction: over the queries.

    Returns:
        The loss, or (N,) values.

    Raises:
        InputError: shapes differ, a value is not finite, the temperature is not positive, or there are no negatives.

    Example:
        >>> queries, bank = torch.eye(4)[:2], torch.eye(4)[2:]
        >>> info_nce_loss(queries, queries, bank, temperature=1.0)  # log(e + 2) − 1
        tensor(0.5514)
    """
    check_same_rows(queries=queries, positives=positives)
    check_temperature(temperature)
    queries, positives = unit_rows(queries, normalize), unit_rows(positives, normalize)
    positive = (queries * positives).sum(dim=1) / temperature
    if negatives is None:
        keys, _ = gathered_keys(positives, gather)
        check_has_negatives(len(keys))
        denominator = pairwise_logsumexp(queries, keys, 1 / temperature)
    else:
        check_embeddings(queries=queries, negatives=negatives)
        rest = pairwise_logsumexp(queries, unit_rows(negatives, normalize), 1 / temperature)
        denominator = torch.logaddexp(positive, rest)
    return reduce(denominator - positive, reduction)


def check_has_negatives(candidates: int) -> None:
    """Require a batch in which a query finds a key that is not its own.

    Raises:
        InputError: there is one key in all.
    """
    if candidates < 2:
        raise InputError("a batch of 1 sample has no negatives: use a batch of 2 or more, or a bank of negatives.")
