"""InfoNCE with negatives that belong to a single query, beside those of a queue."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import Reduction, reduce, unit_rows
from dipole.ops import pairwise_logsumexp
from dipole.ops.checks import check_embeddings, check_same_rows, check_temperature
from dipole.ops.door import public


@public
def own_negatives_info_nce_loss(
    queries: Float[Tensor, "n d"],
    positives: Float[Tensor, "n d"],
    negatives: Float[Tensor, "m d"],
    own_negatives: Float[Tensor, "n s d"],
    *,
    exclude: Bool[Tensor, "n m"] | None = None,
    valid: Bool[Tensor, "n s"] | None = None,
    temperature: float | Float[Tensor, ""] = 0.2,
    normalize: bool = True,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "n"]:
    """Compute InfoNCE against a bank that all queries share and against negatives of each query's own:

        ℓ_i = −s_i⁺ / τ + log( exp(s_i⁺ / τ) + Σ_{j∈bank} exp(s_ij / τ) + Σ_k exp(⟨q_i, h_ik⟩ / τ) )

    With the mixtures of `dipole.negatives.mix_hard_negatives` it is the loss of MoCHi, which adds them to the queue
    rather than to replace it.

    Conventions: rows are normalised here; one direction, from queries to keys; mean over the N queries; gradients reach
    whatever needs them. Memory grows with N · S, what the negatives themselves take, and not with N · M.

    Kalantidis et al.: *Hard Negative Mixing for Contrastive Learning* (NeurIPS 2020).

    Args:
        queries: (N, D).
        positives: (N, D); row i is the positive of query i.
        negatives: (M, D) bank.
        own_negatives: (N, S, D); S may be 0, which leaves InfoNCE with a bank.
        exclude: (N, M), True where an entry of the bank is no negative of this query, for example of its class.
        valid: (N, S), False where there is no negative; all if None.
        temperature: τ > 0, a number or a learnable scalar.
        normalize: False if all rows are of unit length already.
        reduction: over the queries.

    Returns:
        The loss, or (N,) values; 0 for a query without any negative.

    Raises:
        InputError: shapes differ, a value is not finite, or the temperature is not positive.

    Example:
        >>> queries, bank = torch.eye(4)[:2], torch.eye(4)[2:]
        >>> own = torch.eye(4)[torch.tensor([[1], [0]])]
        >>> own_negatives_info_nce_loss(queries, queries, bank, own, temperature=1.0)  # log(e + 3) − 1
        tensor(0.7437)
    """
    check_same_rows(queries=queries, positives=positives)
    check_temperature(temperature)
    check_embeddings(queries=queries, negatives=negatives)
    rows, number, width = own_negatives.shape
    if (rows, width) != queries.shape:
        raise InputError(
            f"own_negatives are {tuple(own_negatives.shape)}: expected ({len(queries)}, S, {queries.shape[1]}), S for "
            "each query."
        )
    if number:
        check_embeddings(own_negatives=own_negatives.reshape(rows * number, width))
    queries, positives = unit_rows(queries, normalize), unit_rows(positives, normalize)
    positive = (queries * positives).sum(dim=1) / temperature
    bank = pairwise_logsumexp(queries, unit_rows(negatives, normalize), 1 / temperature, exclude=exclude)
    with torch.autocast(queries.device.type, enabled=False):
        own = (unit_rows(own_negatives, normalize) @ queries[..., None])[..., 0] / temperature
    if valid is not None:
        own = own.masked_fill(~valid, -math.inf)
    candidates = torch.cat([positive[:, None], bank[:, None], own], dim=1)
    return reduce(candidates.logsumexp(dim=1) - positive, reduction)
