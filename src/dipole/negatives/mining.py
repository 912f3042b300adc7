"""Hard negatives that are not positives in disguise."""

import math

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from dipole.errors import InputError
from dipole.ops.checks import check_at_least
from dipole.ops.door import public


@public
def mine_positive_aware(
    scores: Float[Tensor, "n m"],
    positives: Int64[Tensor, "n"] | Float[Tensor, "n"],
    k: int,
    *,
    percentage: float | None = 0.95,
    margin: float | None = None,
    exclude: Bool[Tensor, "n m"] | None = None,
    first: int = 0,
) -> Int64[Tensor, "n k"]:
    """Take the k best-scored candidates of each query that score clearly less than its positive.

        TopK-PercPos     s_ij < percentage · s_i⁺
        TopK-MarginPos   s_ij < s_i⁺ − margin

    A candidate that scores as high as the positive is probably relevant too. Where both limits are given, both hold.
    Where the positive scores below 0, `percentage` would allow what scores higher: the limit is then
    `s_i⁺ / percentage`. Fewer than k survivors are not filled up from above the limit.

    Moreira et al.: *NV-Retriever* (2024); Lee et al.: *NV-Embed* (ICLR 2025), section on hard negatives.

    Args:
        scores: (N, M) of a teacher.
        positives: (N,) columns of the positives, or their scores.
        k: negatives of a query.
        percentage: of the positive's score, above 0 and at most 1; no such limit if None.
        margin: below the positive's score, 0 or more; no such limit if None.
        exclude: (N, M), True for other candidates that are known to be relevant.
        first: of the candidates that remain, the place of the first one that is taken: 10 leaves out the ten best.

    Returns:
        (N, k) columns, the best-scored first; −1 where there are fewer.

    Raises:
        InputError: shapes differ, a number is out of range, or a score is not finite.

    Example:
        >>> scores = torch.tensor([[0.9, 0.89, 0.5, 0.4]])
        >>> mine_positive_aware(scores, torch.tensor([0]), 2, percentage=None).tolist()
        [[1, 2]]
        >>> mine_positive_aware(scores, torch.tensor([0]), 2).tolist()
        [[2, 3]]
    """
    if scores.ndim != 2 or positives.shape != scores.shape[:1]:
        raise InputError(
            f"scores are {tuple(scores.shape)}, positives {tuple(positives.shape)}: expected (N, M), (N,)."
        )
    check_at_least(k, 1, "k")
    check_at_least(first, 0, "first")
    if not bool(scores.isfinite().all()):
        raise InputError("scores contains NaN or infinite values: look at the teacher.")
    left_out = torch.zeros(scores.shape, dtype=torch.bool, device=scores.device)
    if exclude is not None:
        if exclude.shape != scores.shape or exclude.dtype != torch.bool:
            raise InputError(f"exclude is {tuple(exclude.shape)}: expected bool {tuple(scores.shape)}.")
        left_out |= exclude
    if positives.is_floating_point():
        reached = positives.to(scores.dtype)
    else:
        if not bool(((positives >= 0) & (positives < scores.shape[1])).all()):
            raise InputError(f"positives name columns outside of 0 … {scores.shape[1] - 1}.")
        left_out = left_out.scatter(1, positives[:, None], True)
        reached = scores.gather(1, positives[:, None])[:, 0]
    left_out |= scores >= positive_limit(reached, percentage=percentage, margin=margin)[:, None]
    ranked = scores.masked_fill(left_out, -math.inf)
    order = ranked.argsort(dim=1, descending=True, stable=True)[:, first : first + k]
    found = torch.where(left_out.gather(1, order), -1, order)
    return torch.nn.functional.pad(found, (0, k - found.shape[1]), value=-1)


@public
def positive_limit(
    positives: Float[Tensor, "n"], *, percentage: float | None = 0.95, margin: float | None = None
) -> Float[Tensor, "n"]:
    """Compute the score below which a candidate may be a negative, see `mine_positive_aware`; ∞ without any limit.

    Args:
        positives: (N,) scores of the positives.
        percentage: of the positive's score.
        margin: below the positive's score.

    Raises:
        InputError: a number is out of range.

    Example:
        >>> positive_limit(torch.tensor([0.8, -0.8]), percentage=0.5, margin=0.3)
        tensor([ 0.4000, -1.6000])
    """
    limit = torch.full_like(positives, torch.finfo(positives.dtype).max)
    if percentage is not None:
        if not 0 < percentage <= 1:
            raise InputError(f"percentage is {percentage}: expected a share above 0 and at most 1.")
        limit = limit.minimum(torch.where(positives >= 0, positives * percentage, positives / percentage))
    if margin is not None:
        check_at_least(margin, 0, "margin")
        limit = limit.minimum(positives - margin)
    return limit
