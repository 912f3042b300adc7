"""How hard it is to find a positive among negatives, and how many of the hardest are false.

Kalantidis, Sariyildiz, Pion, Weinzaepfel, Larlus: *Hard Negative Mixing for Contrastive Learning* (NeurIPS 2020).
"""

import math

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from dipole.diagnostics.rows import check_labels
from dipole.losses.common import inner_products, unit_rows
from dipole.negatives.mixing import CHUNK, hardest_of_bank
from dipole.ops.checks import check_embeddings, check_same_rows
from dipole.ops.door import public


@public
@torch.no_grad()
def proxy_accuracy(
    queries: Float[Tensor, "n d"],
    positives: Float[Tensor, "n d"],
    negatives: Float[Tensor, "m d"],
    own_negatives: Float[Tensor, "n s d"] | None = None,
    *,
    exclude: Bool[Tensor, "n m"] | None = None,
    valid: Bool[Tensor, "n s"] | None = None,
) -> Float[Tensor, ""]:
    """Compute the share of queries whose positive is at least as similar as every negative.

    It is the accuracy of the task on which a contrastive method trains: the lower it is, the harder the task. Rows are
    normalised here.

    Args:
        queries: (N, D).
        positives: (N, D); row i is the positive of query i.
        negatives: (M, D) of all queries.
        own_negatives: (N, S, D) of each query alone, as MoCHi mixes them.
        exclude: (N, M), True where an entry is no negative of this query.
        valid: (N, S), False where there is no own negative.

    Returns:
        From 0 to 1.

    Raises:
        InputError: shapes differ or a value is not finite.

    Example:
        >>> proxy_accuracy(torch.eye(2), torch.eye(2), torch.tensor([[0.0, 1.0]]), torch.eye(2)[None].flip(1)[[0, 0]])
        tensor(1.)
        >>> proxy_accuracy(torch.eye(2), torch.ones(2, 2), torch.tensor([[0.0, 1.0]]))
        tensor(0.5000)
    """
    check_same_rows(queries=queries, positives=positives)
    check_embeddings(queries=queries, negatives=negatives)
    queries, positives, negatives = unit_rows(queries), unit_rows(positives), unit_rows(negatives)
    positive = (queries * positives).sum(dim=1)
    found = []
    for rows in torch.arange(len(queries)).split(CHUNK):
        similarity = inner_products(queries[rows], negatives)
        if exclude is not None:
            similarity.masked_fill_(exclude[rows], -math.inf)
        hardest = similarity.amax(dim=1)
        if own_negatives is not None and own_negatives.shape[1]:
            own = (unit_rows(own_negatives[rows]) * queries[rows, None]).sum(dim=2)
            hardest = hardest.maximum((own if valid is None else own.masked_fill(~valid[rows], -math.inf)).amax(dim=1))
        found.append(positive[rows] >= hardest)
    return torch.cat(found).to(positive.dtype).mean()


@public
@torch.no_grad()
def false_negative_share(
    queries: Float[Tensor, "n d"],
    negatives: Float[Tensor, "m d"],
    query_labels: Int[Tensor, "n"],
    negative_labels: Int[Tensor, "m"],
    num_hard: int,
) -> Float[Tensor, ""]:
    """Compute which share of each query's hardest negatives have its class, averaged over the queries.

    Args:
        queries: (N, D); normalised here.
        negatives: (M, D).
        query_labels: (N,) classes.
        negative_labels: (M,) classes.
        num_hard: how many of the most similar negatives are looked at.

    Returns:
        From 0 to 1.

    Raises:
        InputError: shapes or numbers do not fit, or a value is not finite.

    Example:
        >>> bank = torch.tensor([[1.0, 0.1], [1.0, 0.2], [-1.0, 0.0]])
        >>> false_negative_share(torch.eye(2)[:1], bank, torch.tensor([5]), torch.tensor([5, 1, 5]), 2)
        tensor(0.5000)
    """
    check_embeddings(queries=queries, negatives=negatives)
    check_labels(query_labels, len(queries))
    check_labels(negative_labels, len(negatives))
    hardest, _ = hardest_of_bank(unit_rows(queries), unit_rows(negatives), num_hard)
    same: Shaped[Tensor, "n k"] = negative_labels[hardest] == query_labels[:, None]
    return same.to(queries.dtype).mean()
