"""Histories and the item that follows, and which of them train, tune and judge."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from dipole.ops.checks import check_at_least


class Prefixes(NamedTuple):
    """Rows `(history, next item)`, as places in a table of interactions."""

    user: Int64[np.ndarray, " rows"]
    start: Int64[np.ndarray, " rows"]  # the first interaction of the history
    end: Int64[np.ndarray, " rows"]  # the first one after it
    target: Int64[np.ndarray, " rows"]  # what is to be predicted


def expand_prefixes(user: Int64[np.ndarray, " n"], max_length: int) -> Prefixes:
    """Return a row for every interaction but a user's first: what came before it, and itself.

    As RecBole's data augmentation, with which MCLRec is trained.

    Args:
        user: (n,) the user of every interaction; users are contiguous and sorted by time within.
        max_length: a history holds the latest so many interactions.

    Returns:
        Rows in the order of the table.

    Example:
        >>> rows = expand_prefixes(np.array([7, 7, 7, 9]), max_length=50)
        >>> rows.start.tolist(), rows.end.tolist(), rows.target.tolist()
        ([0, 0], [1, 2], [1, 2])
    """
    check_at_least(max_length, 1, "max_length")
    places = np.arange(len(user))
    begins = np.flatnonzero(np.diff(user, prepend=user[:1] - 1))
    first = begins[np.searchsorted(begins, places, side="right") - 1]
    target = places[places > first]
    return Prefixes(user[target], np.maximum(first[target], target - max_length), target, target)


class Split(NamedTuple):
    """Places of rows."""

    train: Int64[np.ndarray, " a"]
    validation: Int64[np.ndarray, " b"]
    test: Int64[np.ndarray, " c"]


def leave_one_out(user: Int64[np.ndarray, " rows"]) -> Split:
    """Split rows: the last of every user is for the test, the one before for validation, the rest for training.

    A user keeps at least one row for training: of two rows none validates, and a single one trains.

    Args:
        user: (rows,) the user of every row, as `expand_prefixes` returns it.

    Example:
        >>> split = leave_one_out(np.array([1, 1, 1, 2, 2, 3]))
        >>> split.train.tolist(), split.validation.tolist(), split.test.tolist()
        ([0, 3, 5], [1], [2, 4])
    """
    places = np.arange(len(user))
    before = places - np.searchsorted(user, user)
    after = np.searchsorted(user, user, side="right") - 1 - places
    rows = before + after + 1
    test = (after == 0) & (rows >= 2)
    validation = (after == 1) & (rows >= 3)
    return Split(*(np.flatnonzero(mask) for mask in (~(test | validation), validation, test)))


def last_of_parts(user: Int64[np.ndarray, " rows"], max_length: int) -> Int64[np.ndarray, " parts"]:
    """Return the rows that end the parts of histories: the last of each user, and every `max_length`-th before it.

    Every target then stands in the history of one of these rows, or follows it, exactly once.

    Args:
        user: (rows,) the user of every row, as `expand_prefixes` returns it.
        max_length: items of a history.

    Example:
        >>> last_of_parts(np.array([1, 1, 1, 2, 2]), 2).tolist()
        [0, 2, 4]
    """
    check_at_least(max_length, 1, "max_length")
    left = np.searchsorted(user, user, side="right") - 1 - np.arange(len(user))
    return np.flatnonzero(left % max_length == 0)
