"""Negatives that are mixed from the hardest ones of a query.

Kalantidis, Sariyildiz, Pion, Weinzaepfel, Larlus: *Hard Negative Mixing for Contrastive Learning* (NeurIPS 2020).
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import inner_products, unit_rows
from dipole.ops.checks import check_at_least, check_embeddings

CHUNK = 256  # queries whose similarities to all negatives are held at a time


class MixingDraws(NamedTuple):
    """What is drawn for N queries; positions count from the hardest negative of a query on."""

    first: Int[Tensor, "n s"]  # of a pair of negatives
    second: Int[Tensor, "n s"]
    share: Float[Tensor, "n s"]  # α, of the first
    negative: Int[Tensor, "n t"]  # that is mixed with the query
    query_share: Float[Tensor, "n t"]  # β


class MixedNegatives(NamedTuple):
    """Negatives of each query's own."""

    hardest: Int[Tensor, "n k"]  # rows of the bank, the most similar first
    pairs: Float[Tensor, "n s d"]  # mixed of two negatives
    with_query: Float[Tensor, "n t d"]  # mixed of the query and a negative
    valid: Bool[Tensor, "n m"]  # False where what would be mixed is excluded; of both kinds

    @property
    def all(self) -> Float[Tensor, "n m d"]:
        """Both kinds: those of pairs, then those with the query."""
        return torch.cat([self.pairs, self.with_query], dim=1)


@torch.no_grad()
def hardest_of_bank(
    queries: Float[Tensor, "n d"],
    negatives: Float[Tensor, "m d"],
    num_hard: int,
    exclude: Bool[Tensor, "n m"] | None = None,
) -> tuple[Int[Tensor, "n k"], Int[Tensor, "n"]]:
    """Find the K negatives that are most similar to each query, the most similar first.

    Args:
        queries: (N, D), of unit length.
        negatives: (M, D), of unit length.
        num_hard: K, from 1 to M.
        exclude: (N, M), True where a negative is none of this query; such ones come last.

    Returns:
        (N, K) rows of `negatives`, and (N,) how many of them are not excluded.

    Raises:
        InputError: widths or numbers do not fit.

    Example:
        >>> hardest_of_bank(torch.eye(2)[:1], torch.tensor([[0.0, 1.0], [1.0, 0.0], [-1.0, 0.0]]), 2)
        (tensor([[1, 0]]), tensor([2]))
    """
    check_embeddings(queries=queries, negatives=negatives)
    if not 1 <= num_hard <= len(negatives):
        raise InputError(f"num_hard is {num_hard}: expected a number from 1 to the {len(negatives)} negatives.")
    found, available = [], []
    for rows in torch.arange(len(queries)).split(CHUNK):
        similarity = inner_products(queries[rows], negatives)
        if exclude is not None:
            similarity.masked_fill_(exclude[rows], -math.inf)
        values, columns = similarity.topk(num_hard, dim=1)
        found.append(columns)
        available.append((values > -math.inf).sum(dim=1))
    return torch.cat(found), torch.cat(available)


def draw_mixing(
    available: Int[Tensor, "n"],
    num_pairs: int,
    num_with_query: int,
    *,
    max_query_share: float = 0.5,
    allow_repeat: bool = False,
    generator: torch.Generator | None = None,
) -> MixingDraws:
    """Draw what each query mixes: two of its hardest negatives with α ~ U(0, 1), and itself with one, β ~ U(0, β_max).

    Args:
        available: (N,) the number of negatives that a query may draw from. With too few, positions beyond are drawn.
        num_pairs: S, points of two negatives.
        num_with_query: T, points of the query and a negative.
        max_query_share: β_max, at most 0.5 so that the negative outweighs the query.
        allow_repeat: whether the two negatives of a pair may be the same one.
        generator: of random numbers, on the device of `available`.

    Raises:
        InputError: a number is negative, or `max_query_share` is not between 0 and 1.

    Example:
        >>> draws = draw_mixing(torch.tensor([4, 2]), 3, 1, generator=torch.Generator().manual_seed(0))
        >>> bool((draws.first != draws.second).all()), int(draws.first[1].max()) < 2
        (True, True)
    """
    check_at_least(num_pairs, 0, "num_pairs")
    check_at_least(num_with_query, 0, "num_with_query")
    if not 0 < max_query_share < 1:
        raise InputError(f"max_query_share is {max_query_share}: expected a share between 0 and 1, such as 0.5.")
    count = available.clamp_min(1)[:, None]

    def uniform(columns: int) -> Tensor:
        return torch.rand(len(available), columns, generator=generator, device=available.device)

    def below(limit: Tensor, columns: int) -> Tensor:
        return (uniform(columns) * limit).long().minimum(limit - 1)

    first = below(count, num_pairs)
    if allow_repeat:
        second = below(count, num_pairs)
    else:
        # A step from 1 to count − 1 leads to every other one with the same probability; with a single one, to none.
        second = (first + 1 + below((count - 1).clamp_min(1), num_pairs)) % count.clamp_min(2)
    return MixingDraws(
        first, second, uniform(num_pairs), below(count, num_with_query), uniform(num_with_query) * max_query_share
    )


@torch.no_grad()
def mix_hard_negatives(
    queries: Float[Tensor, "n d"],
    negatives: Float[Tensor, "m d"],
    *,
    num_hard: int = 1024,
    num_pairs: int = 1024,
    num_with_query: int = 128,
    max_query_share: float = 0.5,
    allow_repeat: bool = False,
    exclude: Bool[Tensor, "n m"] | None = None,
    normalize: bool = True,
    draws: MixingDraws | None = None,
    generator: torch.Generator | None = None,
) -> MixedNegatives:
    """Mix further negatives for every query, of two of its hardest ones and of itself with one of them:

        h = norm(α n_i + (1 − α) n_j),  α ~ U(0, 1);        h' = norm(β q + (1 − β) n_j),  β ~ U(0, ½)

    where n_i ≠ n_j are among the K negatives that are most similar to q. They are constants: no gradient reaches the
    query inside h'.

    Kalantidis et al.: *Hard Negative Mixing for Contrastive Learning* (NeurIPS 2020).

    Args:
        queries: (N, D).
        negatives: (M, D), for example a queue.
        num_hard: K, how many of the hardest are mixed.
        num_pairs: S, points of two negatives for each query.
        num_with_query: T, points of the query and a negative.
        max_query_share: upper end of β.
        allow_repeat: whether i = j may be drawn, as in a third party's code.
        exclude: (N, M), True where a negative is none of this query; it is not mixed either.
        normalize: False if all rows are of unit length already.
        draws: in place of random ones, which make the numbers S and T superfluous.
        generator: of random numbers.

    Returns:
        The hardest (N, K), the mixtures (N, S, D) and (N, T, D), and which of them are valid (N, S + T): a query with
        fewer than two negatives left has no pairs.

    Raises:
        InputError: shapes or numbers do not fit, or pairs of one negative are asked for.

    Example:
        >>> queue = torch.tensor([[0.0, 1.0], [0.6, 0.8], [-1.0, 0.0]])
        >>> draws = MixingDraws(*map(torch.tensor, ([[0]], [[1]], [[0.5]], [[0]], [[0.25]])))
        >>> mixed = mix_hard_negatives(torch.eye(2)[:1], queue, num_hard=2, draws=draws)
        >>> mixed.hardest, mixed.pairs
        (tensor([[1, 0]]), tensor([[[0.3162, 0.9487]]]))
        >>> mixed.with_query
        tensor([[[0.7593, 0.6508]]])
    """
    queries, negatives = unit_rows(queries, normalize), unit_rows(negatives, normalize)
    if num_hard == 1 and not allow_repeat and (num_pairs if draws is None else draws.first.shape[1]):
        raise InputError("num_hard is 1: no two negatives to mix. Take more, num_pairs=0 or allow_repeat=True.")
    hardest, available = hardest_of_bank(queries, negatives, num_hard, exclude)
    if draws is None:
        draws = draw_mixing(
            available,
            num_pairs,
            num_with_query,
            max_query_share=max_query_share,
            allow_repeat=allow_repeat,
            generator=generator,
        )

    def drawn(positions: Tensor) -> Tensor:
        return negatives[hardest.gather(1, positions)]

    share, query_share = draws.share[..., None].to(queries), draws.query_share[..., None].to(queries)
    pairs = share * drawn(draws.first) + (1 - share) * drawn(draws.second)
    with_query = query_share * queries[:, None] + (1 - query_share) * drawn(draws.negative)
    left = available[:, None]
    valid = torch.cat([draws.first.maximum(draws.second) < left, draws.negative < left], dim=1)
    return MixedNegatives(hardest, F.normalize(pairs, dim=-1), F.normalize(with_query, dim=-1), valid)
