"""Items that the same users have used."""

from typing import Any, ClassVar

import numpy as np
from scipy import sparse
from torch import Tensor

from dipole.data.recommendation import SequenceSet
from dipole.evaluation.next_items import history_matrix, ranks_by_scores, training_matrix
from dipole.evaluation.protocol import Baseline

NEIGHBOURS = 100
BLOCK = 1024  # items whose neighbours are sought at once


class ItemKNN(Baseline):
    """`score(j) = Σ_{i in the history} cos(i, j)` over the nearest items j of i.

    An item is the vector of the users who have used it, each weighted by how little else the user has used (TF-IDF). An
    item is no neighbour of itself. Deshpande, Karypis: *Item-Based Top-N Recommendation Algorithms* (TOIS 2004).
    """

    name: ClassVar[str] = "item-kNN"
    domains = ("recommendation",)

    def rank_items(self, test: SequenceSet, exclude_seen: bool) -> Tensor:
        """Return the ranks (N,) of the next items, see `item_knn_ranks`."""
        return item_knn_ranks(test, exclude_seen=exclude_seen)


def item_knn_ranks(test: SequenceSet, *, neighbours: int = NEIGHBOURS, exclude_seen: bool = False) -> Tensor:
    """Return the ranks (N,) of the next items by the similarity of items to those of the history.

    Args:
        test: histories and their next items.
        neighbours: of each item that count.
        exclude_seen: items that the user has used before are no candidates.
    """
    similarity = item_similarity(training_matrix(test), neighbours)
    history = history_matrix(test)
    return ranks_by_scores(test, lambda part: (history[part] @ similarity).toarray(), exclude_seen=exclude_seen)


def item_similarity(used: sparse.csr_matrix, neighbours: int) -> Any:
    """Return the cosines (items, items) of an item's nearest neighbours, others 0.

    Args:
        used: (users, items) counts.
        neighbours: of each item that are kept.
    """
    items = used.T.tocsr()
    rarity = np.log(items.shape[0] / np.maximum(1, np.diff(used.indptr)))  # of a user: log(items / items used)
    weighted = items.multiply(np.maximum(rarity, 0)[None]).tocsr()
    norms = np.sqrt(weighted.multiply(weighted).sum(axis=1))
    unit = sparse.csr_matrix(weighted.multiply(1 / np.maximum(np.asarray(norms), 1e-12)))
    blocks = []
    for start in range(0, unit.shape[0], BLOCK):
        block = (unit[start : start + BLOCK] @ unit.T).toarray()
        rows = np.arange(len(block))
        block[rows, start + rows] = 0
        if neighbours < block.shape[1]:
            least = np.partition(block, -neighbours, axis=1)[:, [-neighbours]]
            block[block < least] = 0
        blocks.append(sparse.csr_matrix(block.astype(np.float32)))
    return sparse.vstack(blocks, format="csr")
