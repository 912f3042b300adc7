"""Retrieval between modalities, where several items may belong together: the captions of an image, say."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dipole.errors import InputError
from dipole.ops.door import public

CHUNK = 1024  # queries that are scored at a time
KS = (1, 5, 10)


@public
def retrieval_ranks(
    score: Callable[[slice], Float[Tensor, "q k"]], relevant: Sequence[Sequence[int]]
) -> Int[Tensor, "n"]:
    """Count for each query how many keys stand before its best relevant one; ties count against it.

    Args:
        score: of some queries with all keys, (n, K).
        relevant: the keys that belong to each query, one or more.

    Returns:
        (N,) from 0, the best.

    Raises:
        InputError: a query to which no key belongs, or no query at all.

    Example:
        >>> scores = torch.tensor([[0.1, 0.9, 0.5], [0.3, 0.3, 0.3]])
        >>> retrieval_ranks(lambda part: scores[part], [[0, 2], [1]])
        tensor([1, 2])
    """
    if not relevant or not all(relevant):
        raise InputError(f"{len(relevant)} queries: expected one or more, each with a key that belongs to it.")
    width = max(map(len, relevant))
    # Rows are filled up with their own first key.
    own = torch.tensor([[*keys, *[keys[0]] * (width - len(keys))] for keys in relevant])
    ranks = []
    for start in range(0, len(relevant), CHUNK):
        part = slice(start, start + CHUNK)
        scores = score(part)
        columns = own[part].to(scores.device)
        best = scores.gather(1, columns).amax(dim=1, keepdim=True)
        others = scores.scatter(1, columns, -torch.inf)
        ranks.append((others >= best).sum(dim=1).cpu())
    return torch.cat(ranks)


@public
def recall_at(ranks: Int[Tensor, "n"], k: int) -> float:
    """Compute the share of queries whose best relevant key is among the first k, 0 to 1.

    Example:
        >>> recall_at(torch.tensor([0, 3, 1]), 2)
        0.6666666666666666
    """
    if k < 1 or not len(ranks):
        raise InputError(f"k is {k} for {len(ranks)} queries: expected 1 or more of both.")
    return float((ranks < k).double().mean())


@public
def related(first: Sequence[Sequence[int]], second: Sequence[Sequence[int]]) -> list[list[int]]:
    """Relate the items of two modalities through the rows that they stand in.

    Args:
        first: the items of one modality in each row; empty where it is missing.
        second: those of the other modality.

    Returns:
        For each item of the first, in order, the items of the second that stand in a row with it; maybe none.

    Example:
        >>> related([[0], [1], [0]], [[0, 1], [], [2]])
        [[0, 1, 2], []]
    """
    count = 1 + max((item for row in first for item in row), default=-1)
    found: list[dict[int, None]] = [{} for _ in range(count)]
    for items, others in zip(first, second, strict=True):
        for item in items:
            found[item].update(dict.fromkeys(others))
    return [list(others) for others in found]


def chance_at(counts: Sequence[int], total: int, k: int) -> float:
    """Compute the recall at k of a random order of the keys.

    Args:
        counts: number of keys that belong to each query.
        total: number of keys.
        k: how many are looked at.

    Example:
        >>> chance_at([1, 2], total=4, k=2)  # 1/2 and 1 − 2/4 · 1/3
        0.6666666666666667
    """
    missed = {}
    for count in set(counts):
        missed[count] = 1.0
        for drawn in range(min(k, total)):
            missed[count] *= max(0, total - count - drawn) / (total - drawn)
    return sum(1 - missed[count] for count in counts) / len(counts)
