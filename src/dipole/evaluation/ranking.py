"""Ranking all items for every user: hit rate, NDCG and reciprocal rank of the one item that followed."""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dipole.errors import InputError
from dipole.ops.checks import check_choice, check_embeddings

ENTRIES = 1 << 23  # scores held at once: 32 MiB in float32
CUTOFFS = (5, 10, 20)
Ties = Literal["best", "worst"]


def target_ranks(
    scores: Float[Tensor, "n items"],
    targets: Int[Tensor, " n"],
    *,
    exclude: Int[Tensor, "n k"] | Bool[Tensor, "n items"] | None = None,
    ties: Ties = "best",
) -> Int[Tensor, " n"]:
    """Return the rank of each target among all items: 1 + the number of larger scores.

    Column 0 is padding and never a candidate.

    Args:
        scores: (N, 1 + items).
        targets: (N,) column of the item that followed, 1 or more.
        exclude: columns that are no candidates: indices (N, K), of which 0 stands for none, or a mask. A target stays
            one, also if it is excluded.
        ties: `"worst"` counts the others that score like the target before it, `"best"` behind it.

    Raises:
        InputError: a score is NaN, a target is no item, the shapes do not fit, or `ties` is something else.

    Example:
        >>> scores, target = torch.tensor([[9.0, 0.3, 0.8, 0.5]]), torch.tensor([3])
        >>> target_ranks(scores, target), target_ranks(scores, target, exclude=torch.tensor([[2]]))
        (tensor([2]), tensor([1]))
    """
    if scores.ndim != 2:
        raise InputError(f"scores have shape {tuple(scores.shape)}: expected (N, 1 + items).")
    check_targets(targets, *scores.shape)
    if bool(scores.isnan().any()):
        raise InputError("scores contain NaN: look at the learning rate and at the histories.")
    check_choice(ties, get_args(Ties), "ties")
    return _ranks(scores.clone(), targets, exclude, ties)


def full_ranking(
    queries: Float[Tensor, "n d"],
    items: Float[Tensor, "m d"],
    targets: Int[Tensor, " n"],
    *,
    exclude: Int[Tensor, "n k"] | None = None,
    ties: Ties = "worst",
) -> Int[Tensor, " n"]:
    """Rank the targets among all items by inner products, some users at a time.

    Memory does not grow with users times items. By default ties count against the target, or a model that scores all
    items alike would be the best of all.

    Args:
        queries: (N, D) states of users.
        items: (1 + items, D), row 0 for the padding.
        targets: see `target_ranks`.
        exclude: (N, K) items that are no candidates, 0 for none.
        ties: see `target_ranks`.

    Raises:
        InputError: see `target_ranks`.

    Example:
        >>> full_ranking(torch.eye(3), torch.eye(3), torch.tensor([1, 2, 1]))
        tensor([2, 2, 2])
    """
    check_embeddings(queries=queries, items=items)
    check_targets(targets, len(queries), len(items))
    check_choice(ties, get_args(Ties), "ties")
    ranks = [
        _ranks(scores, targets[rows], None if exclude is None else exclude[rows], ties)
        for rows, scores in _score_blocks(queries, items)
    ]
    return torch.cat(ranks) if ranks else targets.new_empty(0)


class TopItems(NamedTuple):
    """The items with the largest scores."""

    items: Int[Tensor, "n k"]  # 0 where there are fewer candidates than k
    scores: Float[Tensor, "n k"]


def top_items(
    queries: Float[Tensor, "n d"], items: Float[Tensor, "m d"], k: int, *, exclude: Int[Tensor, "n e"] | None = None
) -> TopItems:
    """Return the k best items for every user, the best first.

    Args:
        queries: (N, D).
        items: (1 + items, D).
        k: 1 or more; at most all items are returned.
        exclude: (N, E) items that are no candidates, 0 for none.

    Raises:
        InputError: k is below 1.

    Example:
        >>> top_items(torch.eye(3)[1:2], torch.eye(3), 1).items
        tensor([[1]])
    """
    if k < 1:
        raise InputError(f"k is {k}: expected 1 or more items.")
    found = []
    for rows, scores in _score_blocks(queries, items):
        _leave_out(scores, None if exclude is None else exclude[rows])
        values, places = scores.topk(min(k, scores.shape[1] - 1), dim=1)
        found.append((torch.where(values == -torch.inf, 0, places), values))
    return TopItems(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def ranking_metrics(ranks: Int[Tensor, " n"], cutoffs: Sequence[int] = CUTOFFS) -> dict[str, float]:
    """Return HR@K, NDCG@K and MRR@K, means over users, for one relevant item each.

        HR@K = [rank ≤ K]      NDCG@K = [rank ≤ K] / log₂(1 + rank)      MRR@K = [rank ≤ K] / rank

    Args:
        ranks: (N,) from 1.
        cutoffs: values of K.

    Raises:
        InputError: there are no ranks, or a cutoff is below 1.

    Example:
        >>> {name: round(value, 3) for name, value in ranking_metrics(torch.tensor([1, 3, 9]), [5]).items()}
        {'HR@5': 0.667, 'NDCG@5': 0.5, 'MRR@5': 0.444}
    """
    if not len(ranks) or min(cutoffs, default=0) < 1:
        raise InputError(f"{len(ranks)} ranks and cutoffs {list(cutoffs)}: expected one or more, and cutoffs from 1.")
    rank = ranks.double()
    values = {"HR": torch.ones_like(rank), "NDCG": 1 / (1 + rank).log2(), "MRR": 1 / rank}
    return {
        f"{name}@{cutoff}": float((value * (rank <= cutoff)).mean())
        for name, value in values.items()
        for cutoff in cutoffs
    }


def check_targets(targets: Tensor, users: int, columns: int) -> None:
    """Require one item for each user.

    Raises:
        InputError: another shape, or a column that is no item.
    """
    if targets.shape != (users,):
        raise InputError(f"targets have shape {tuple(targets.shape)}: expected one item for each of {users} users.")
    if users and not 1 <= int(targets.min()) <= int(targets.max()) < columns:
        raise InputError(f"targets are {int(targets.min())} to {int(targets.max())}: expected 1 to {columns - 1}.")


def _ranks(scores: Tensor, targets: Tensor, exclude: Tensor | None, ties: Ties) -> Tensor:
    """Ranks (N,); writes −inf into scores where there is no candidate."""
    own = scores.gather(1, targets[:, None])  # read first: a target that is excluded stays a candidate
    _leave_out(scores, exclude)
    scores.scatter_(1, targets[:, None], -torch.inf)
    before = scores > own if ties == "best" else scores >= own
    # Bytes are counted three times as fast as booleans.
    return 1 + before.view(torch.uint8).sum(dim=1, dtype=torch.int32).long()


def _leave_out(scores: Tensor, exclude: Tensor | None) -> None:
    """Write −inf for the padding and for what is excluded."""
    scores[:, 0] = -torch.inf
    if exclude is None:
        return
    if exclude.dtype == torch.bool:
        scores.masked_fill_(exclude, -torch.inf)
    else:
        scores.scatter_(1, exclude, -torch.inf)


def _score_blocks(queries: Tensor, items: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Scores of some users at a time with all items, in one buffer that the next block overwrites."""
    queries, items = queries.detach(), items.detach()
    rows = max(1, ENTRIES // len(items))
    buffer = queries.new_empty(min(rows, len(queries)), len(items))
    for start in range(0, len(queries), rows):
        part = slice(start, start + rows)
        yield part, torch.mm(queries[part], items.T, out=buffer[: len(queries[part])])
