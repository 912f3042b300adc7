"""InfoNCE of tuples: a query, its positive and hard negatives of its own, which may serve the whole batch."""

import math
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import Reduction, gathered_keys, reduce, unit_rows
from dipole.losses.info_nce import check_has_negatives
from dipole.ops import pairwise_logsumexp
from dipole.ops.checks import check_choice, check_embeddings, check_same_rows, check_temperature
from dipole.ops.door import looking, public

Scope = Literal["batch", "own_negatives", "own"]


@public
def tuple_info_nce_loss(
    queries: Float[Tensor, "n d"],
    positives: Float[Tensor, "n d"],
    negatives: Float[Tensor, "n k d"],
    *,
    valid: Bool[Tensor, "n k"] | None = None,
    exclude: Bool[Tensor, "n c"] | None = None,
    scope: Scope = "batch",
    temperature: float | Float[Tensor, ""] = 0.05,
    normalize: bool = True,
    gather: bool = False,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "n"]:
    """Compute InfoNCE of a query and its positive against other positives and hard negatives:

        ℓ_i = −s_ii⁺ / τ + log( exp(s_ii⁺ / τ) + Σ_{x∈N_i} exp(s_ix / τ) )

        batch           N_i = the other positives, and the hard negatives of all queries (supervised SimCSE)
        own_negatives   N_i = the other positives, and the hard negatives of query i
        own             N_i = the hard negatives of query i (second stage of NV-Embed)

    Conventions: rows are normalised here; one direction, from queries to keys; mean over the N queries; gradients reach
    all three. A query without any negative has the loss 0. Without `exclude` memory grows with N + N·K, not with N².

    Gao, Yao, Chen: *SimCSE* (EMNLP 2021), eq. 5; DebCSE (CIKM 2023), MultiCSR (NAACL 2024) and NV-Embed (ICLR 2025).

    Args:
        queries: (N, D).
        positives: (N, D); row i is the positive of query i.
        negatives: (N, K, D), the hard negatives of each query; K may be 0.
        valid: (N, K), False for entries that only fill up.
        exclude: (N, C), True where a candidate is no negative of a query, for example a false one. The candidates are
            all positives, then the hard negatives of query 0, 1, …: C = N + N·K, of all processes with `gather`. A
            query's own positive always counts.
        scope: see above.
        temperature: τ > 0.
        normalize: False if all rows are of unit length already, or to contrast plain inner products.
        gather: contrast against the positives and hard negatives of all processes.
        reduction: over the queries.

    Returns:
        The loss, or (N,) values.

    Raises:
        InputError: shapes differ, a value is not finite, the temperature is not positive, or there are no negatives.

    Example:
        >>> queries, negatives = torch.eye(4)[:2], torch.eye(4)[2:, None]
        >>> tuple_info_nce_loss(queries, queries, negatives, temperature=1.0)  # log(e + 3) − 1
        tensor(0.7437)
        >>> tuple_info_nce_loss(queries, queries, negatives, temperature=1.0, scope="own")  # log(e + 1) − 1
        tensor(0.3133)
    """
    check_same_rows(queries=queries, positives=positives)
    check_temperature(temperature)
    check_choice(scope, ("batch", "own_negatives", "own"), "scope")
    used = _used(queries, negatives, valid)
    queries, positives, negatives = (unit_rows(rows, normalize) for rows in (queries, positives, negatives))
    golds, own = gathered_keys(positives, gather)
    if exclude is not None:
        exclude = _never_own(exclude, own, len(golds) * (1 + negatives.shape[1]))
    positive = (queries * positives).sum(dim=1) / temperature
    if scope == "batch":
        flat, flags = negatives.flatten(0, 1), used.flatten().to(queries.dtype)
        # Marks travel with their rows, in one communication.
        marked = gathered_keys(torch.cat([flat, flags[:, None]], dim=1), gather)[0]
        keys, marks = torch.cat([golds, marked[:, :-1]]), torch.cat([torch.ones_like(golds[:, 0]), marked[:, -1]])
        check_has_negatives(int(marks.sum()) if looking() else len(marks))
        denominator = pairwise_logsumexp(
            queries, keys, 1 / temperature, exclude=exclude, log_weight=marks.detach().log()
        )
        return reduce(denominator - positive, reduction)
    known = int(used.sum()) if looking() else used.numel()
    check_has_negatives(1 + known + (len(golds) - 1 if scope == "own_negatives" else 0))
    with torch.autocast(queries.device.type, enabled=False):
        hard = (negatives @ queries[..., None])[..., 0] / temperature
    left_out = ~used
    if exclude is not None:
        left_out = left_out | _own_columns(exclude[:, len(golds) :], own, negatives.shape[1])
    logits = [positive[:, None], hard.masked_fill(left_out, -math.inf)]
    if scope == "own_negatives":
        others = own[:, None] if exclude is None else exclude[:, : len(golds)].scatter(1, own[:, None], True)
        logits.append(pairwise_logsumexp(queries, golds, 1 / temperature, exclude=others)[:, None])
    return reduce(torch.cat(logits, dim=1).logsumexp(dim=1) - positive, reduction)


def _used(queries: Tensor, negatives: Tensor, valid: Tensor | None) -> Tensor:
    """Which hard negatives count, (N, K)."""
    if negatives.ndim != 3 or negatives.shape[::2] != queries.shape:
        rows, width = queries.shape
        raise InputError(f"negatives are {tuple(negatives.shape)}: expected ({rows}, K, {width}), K for each query.")
    if negatives.shape[1]:
        check_embeddings(queries=queries, negatives=negatives.flatten(0, 1))
    if valid is None:
        return torch.ones(negatives.shape[:2], dtype=torch.bool, device=negatives.device)
    if valid.shape != negatives.shape[:2] or valid.dtype != torch.bool:
        raise InputError(
            f"valid is {str(valid.dtype).removeprefix('torch.')} {tuple(valid.shape)}: expected bool "
            f"{tuple(negatives.shape[:2])}, one entry for each hard negative."
        )
    return valid


def _never_own(exclude: Tensor, own: Tensor, candidates: int) -> Tensor:
    """The mask of left-out candidates without the queries' own positives."""
    if exclude.shape != (len(own), candidates) or exclude.dtype != torch.bool:
        raise InputError(
            f"exclude is {str(exclude.dtype).removeprefix('torch.')} {tuple(exclude.shape)}: expected bool "
            f"{(len(own), candidates)}: all positives, then the hard negatives of query 0, 1, …"
        )
    return exclude.scatter(1, own[:, None], False)


def _own_columns(of_negatives: Tensor, own: Tensor, count: int) -> Tensor:
    """The columns of a query's own hard negatives, (N, K)."""
    columns = own[:, None] * count + torch.arange(count, device=own.device)
    return of_negatives.gather(1, columns)
