"""What has followed the last item."""

from typing import ClassVar

import numpy as np
from scipy import sparse
from torch import Tensor

from dipole.data.recommendation import SequenceSet
from dipole.evaluation.next_items import ranks_by_scores, training_places
from dipole.evaluation.protocol import Baseline


class Markov(Baseline):
    """`score(j) = how often j has followed the last item of the history` in training, a chain of first order."""

    name: ClassVar[str] = "Markov chain"
    domains = ("recommendation",)

    def rank_items(self, test: SequenceSet, exclude_seen: bool) -> Tensor:
        """Return the ranks (N,) of the next items, see `markov_ranks`."""
        return markov_ranks(test, exclude_seen=exclude_seen)


def markov_ranks(test: SequenceSet, *, exclude_seen: bool = False) -> Tensor:
    """Return the ranks (N,) of the next items by how often they have followed the last item in training.

    Args:
        test: histories and their next items.
        exclude_seen: items that the user has used before are no candidates.
    """
    table, places = test.interactions, training_places(test)
    user, item = table.user[places], table.item[places]
    same = user[1:] == user[:-1]
    width = 1 + len(table.items)
    pairs = item[:-1][same], item[1:][same]
    follows = sparse.csr_matrix((np.ones(len(pairs[0]), dtype=np.float32), pairs), shape=(width, width))
    last = table.item[test.rows.end - 1]
    return ranks_by_scores(test, lambda part: follows[last[part]].toarray(), exclude_seen=exclude_seen)
