"""What is used most."""

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from dipole.data.recommendation import SequenceSet
from dipole.evaluation.protocol import Baseline
from dipole.evaluation.ranking import full_ranking


class Popularity(Baseline):
    """Everybody is recommended what was used most."""

    name: ClassVar[str] = "popularity"
    domains = ("recommendation",)

    def rank_items(self, test: SequenceSet, exclude_seen: bool) -> Tensor:
        """Return the ranks (N,) of the next items, see `popularity_ranks`."""
        return popularity_ranks(test, exclude_seen=exclude_seen)


def popularity_ranks(test: SequenceSet, *, exclude_seen: bool = False) -> Tensor:
    """Return the ranks (N,) of the next items if everybody is recommended what was used most.

    Args:
        test: histories; their next items are not counted.
        exclude_seen: items that the user has used before are no candidates.
    """
    table = test.interactions
    held_out = np.zeros(len(table), dtype=bool)
    held_out[test.rows.target] = True
    counts = np.bincount(table.item[~held_out], minlength=len(table.items) + 1)
    indices = torch.arange(len(test))
    exclude = test.seen(indices) if exclude_seen else None
    popularity = torch.from_numpy(counts).float()[:, None]
    return full_ranking(torch.ones(len(test), 1), popularity, test.fetch(indices)["target"], exclude=exclude)
