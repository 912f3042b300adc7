"""Rank next items by scores that are mostly zero: those of counts and of neighbours."""

from collections.abc import Callable

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from dipole.data.recommendation import SequenceSet
from dipole.data.recommendation.splits import expand_prefixes, leave_one_out

ENTRIES = 1 << 23  # scores held at once: 64 MiB
Scores = Callable[[slice], np.ndarray]


def training_places(test: SequenceSet) -> np.ndarray:
    """Return the places (n,) of the interactions that a method is trained on: all but the last two of most users.

    Args:
        test: the rows that are predicted.
    """
    user = test.interactions.user
    rows = expand_prefixes(user, max_length=1)
    split = leave_one_out(rows.user)
    held_out = np.zeros(len(user), dtype=bool)
    held_out[rows.target[np.concatenate([split.validation, split.test])]] = True
    return np.flatnonzero(~held_out)


def training_matrix(test: SequenceSet) -> sparse.csr_matrix:
    """Return how often users (U) have used items (1 + I) in training, column 0 for the padding."""
    table, places = test.interactions, training_places(test)
    shape = len(table.users), 1 + len(table.items)
    ones = np.ones(len(places), dtype=np.float32)
    return sparse.csr_matrix((ones, (table.user[places], table.item[places])), shape=shape)


def history_matrix(test: SequenceSet) -> sparse.csr_matrix:
    """Return how often each row (N) has used items (1 + I) before its target, however long ago."""
    table, rows = test.interactions, test.rows
    start = np.searchsorted(table.user, rows.user)
    length = rows.end - start
    row = np.repeat(np.arange(len(length)), length)
    place = np.arange(len(row)) - np.repeat(np.cumsum(length) - length, length) + np.repeat(start, length)
    ones = np.ones(len(row), dtype=np.float32)
    return sparse.csr_matrix((ones, (row, table.item[place])), shape=(len(length), 1 + len(table.items)))


def ranks_by_scores(test: SequenceSet, scores: Scores, *, exclude_seen: bool = False) -> Tensor:
    """Return the ranks (N,) of next items: of equal scores, the item used more often in training comes first.

    Without that rule a target whose score is zero, as most are, would come before all others of score zero.

    Args:
        test: histories and their next items.
        scores: of some rows, an array (n, 1 + items) that may be written to.
        exclude_seen: items that the user has used before are no candidates.
    """
    used = np.asarray(training_matrix(test).sum(axis=0)).ravel()
    order = np.argsort(-used, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    history = history_matrix(test)
    target = test.interactions.item[test.rows.target]
    step = max(1, ENTRIES // len(used))
    ranks = []
    for start in range(0, len(target), step):
        part = slice(start, start + step)
        found, own = scores(part), target[part][:, None]
        score = np.take_along_axis(found, own, axis=1)
        better = (found > score) | ((found == score) & (place[None] < place[own]))
        better[:, 0] = False
        if exclude_seen:
            better[history[part].nonzero()] = False
        ranks.append(1 + better.sum(axis=1))
    return torch.from_numpy(np.concatenate(ranks))
