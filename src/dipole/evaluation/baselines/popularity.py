"""What is used most."""

from typing import ClassVar

import numpy as np
from torch import Tensor

from dipole.data.recommendation import SequenceSet
from dipole.evaluation.next_items import ranks_by_scores, training_matrix
from dipole.evaluation.protocol import Baseline


class Popularity(Baseline):
    """Everybody is recommended what was used most."""

    name: ClassVar[str] = "popularity"
    domains = ("recommendation",)

    def rank_items(self, test: SequenceSet, exclude_seen: bool) -> Tensor:
        """Return the ranks (N,) of the next items, see `popularity_ranks`."""
        return popularity_ranks(test, exclude_seen=exclude_seen)


def popularity_ranks(test: SequenceSet, *, exclude_seen: bool = False) -> Tensor:
    """Return the ranks (N,) of the next items if everybody is recommended what was used most in training.

    Args:
        test: histories and their next items.
        exclude_seen: items that the user has used before are no candidates.
    """
    used = np.asarray(training_matrix(test).sum(axis=0))
    return ranks_by_scores(
        test, lambda part: used.repeat(len(test.rows.target[part]), axis=0), exclude_seen=exclude_seen
    )
