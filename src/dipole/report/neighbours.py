"""Nearest neighbours of a few samples."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


class Neighbours(NamedTuple):
    """Samples and their nearest neighbours by cosine similarity."""

    queries: Int[Tensor, "q"]
    nearest: Int[Tensor, "q k"]
    similarity: Float[Tensor, "q k"]


def find_neighbours(
    x: Float[Tensor, "n d"], labels: Int[Tensor, "n"] | None, samples: int, count: int, seed: int
) -> Neighbours:
    """Choose samples, of different classes as far as possible, and find the nearest others of each.

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
        >>> found = find_neighbours(x, torch.tensor([0, 0, 1, 1]), samples=4, count=1, seed=0)
        >>> dict(zip(found.queries.tolist(), found.nearest[:, 0].tolist())) == {0: 1, 1: 0, 2: 3, 3: 2}
        True
    """
    queries = _spread(labels, len(x), samples, seed)
    z = F.normalize(x, dim=1)
    similarity = z[queries] @ z.T
    similarity[torch.arange(len(queries)), queries] = -torch.inf
    best = similarity.topk(min(count, len(x) - 1), dim=1)
    return Neighbours(queries, best.indices, best.values)


def _spread(labels: Tensor | None, total: int, samples: int, seed: int) -> Tensor:
    """Samples in random order, the first of every class before the second of any."""
    order = torch.randperm(total, generator=torch.Generator().manual_seed(seed))
    if labels is None:
        return order[:samples]
    seen: dict[int, int] = {}
    turns = []
    for label in labels[order].tolist():
        seen[label] = seen.get(label, -1) + 1
        turns.append(seen[label])
    chosen = order[torch.tensor(turns).argsort(stable=True)[:samples]]
    return chosen[labels[chosen].argsort(stable=True)]
