"""Rows (history, next item) that are read from a table of interactions when they are asked for."""

from typing import TypedDict

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from dipole.data.recommendation.interactions import Interactions
from dipole.data.recommendation.splits import Prefixes, expand_prefixes, leave_one_out
from dipole.errors import InputError


class Sequences(TypedDict):
    """Some rows as tensors."""

    user: Int64[Tensor, " n"]
    history: Int64[Tensor, "n l"]  # items in the order of time, then 0
    length: Int64[Tensor, " n"]
    target: Int64[Tensor, " n"]


class SequenceSet:
    """Rows of a table, for one part of the split.

    Args:
        interactions: the table.
        rows: see `expand_prefixes`.
        max_length: columns L of a history.

    Example:
        >>> from dipole.data.recommendation import interactions_of
        >>> table = interactions_of(["ann"] * 4, ["tea", "milk", "tea", "rice"])
        >>> train, validation, test = split_sequences(table, max_length=3)
        >>> test.fetch(torch.tensor([0]))["history"], len(train)
        (tensor([[1, 2, 1]]), 1)
    """

    columns = ("user", "history", "length", "target")

    def __init__(self, interactions: Interactions, rows: Prefixes, max_length: int) -> None:
        self.name = interactions.name
        self.interactions = interactions
        self.rows = rows
        self.max_length = max_length
        self._items = torch.from_numpy(interactions.item)

    def __len__(self) -> int:
        return len(self.rows.target)

    def fetch(self, indices: Int64[Tensor, " n"]) -> Sequences:
        """Return some rows, histories as `(n, max_length)`."""
        user, start, end, target = (torch.from_numpy(column[indices.numpy()]) for column in self.rows)
        places = start[:, None] + torch.arange(self.max_length)
        inside = places < end[:, None]
        history = torch.where(inside, self._items[torch.where(inside, places, 0)], 0)
        return {"user": user, "history": history, "length": end - start, "target": self._items[target]}

    def head(self, most: int) -> "SequenceSet":
        """Return the first rows."""
        return SequenceSet(self.interactions, Prefixes(*(column[:most] for column in self.rows)), self.max_length)

    def seen(self, indices: Int64[Tensor, " n"]) -> Int64[Tensor, "n k"]:
        """Return all items of some rows' users before the target, longer ago than the history too; then 0."""
        user, _, end, _ = (column[indices.numpy()] for column in self.rows)
        start = np.searchsorted(self.interactions.user, user)
        places = torch.arange(int((end - start).max(initial=0)))
        inside = places < torch.from_numpy(end - start)[:, None]
        return torch.where(inside, self._items[torch.where(inside, torch.from_numpy(start)[:, None] + places, 0)], 0)

    def set_epoch(self, epoch: int) -> None:
        """Do nothing: rows are the same in every epoch."""

    def require(self, *columns: str) -> None:
        """Check that every row has these columns.

        Raises:
            InputError: a column is missing.
        """
        for column in columns:
            if column not in self.columns:
                raise InputError(f"{self.name} has no column {column!r}: a row has {', '.join(self.columns)}.")


def split_sequences(
    interactions: Interactions, *, max_length: int = 50
) -> tuple[SequenceSet, SequenceSet, SequenceSet]:
    """Return the rows for training, validation and test, by leaving out the last two of every user.

    Users with one interaction have no row.

    Args:
        interactions: the table.
        max_length: items of a history.

    Raises:
        InputError: no user has two interactions.
    """
    rows = expand_prefixes(interactions.user, max_length)
    if not len(rows.target):
        raise InputError(f"{interactions.name}: no user has two interactions, so there is no next item to learn from.")
    parts = (Prefixes(*(column[part] for column in rows)) for part in leave_one_out(rows.user))
    train, validation, test = (SequenceSet(interactions, part, max_length) for part in parts)
    return train, validation, test


def whole_histories(interactions: Interactions, users: Int64[np.ndarray, " n"], max_length: int) -> Sequences:
    """Return everything that some users have used, without a next item: their targets are 0.

    Args:
        interactions: the table.
        users: (n,) their indices.
        max_length: the latest so many items are read.
    """
    history = torch.zeros(len(users), max_length, dtype=torch.int64)
    length = torch.zeros(len(users), dtype=torch.int64)
    for row, user in enumerate(users.tolist()):
        items = torch.from_numpy(interactions.history(user)[-max_length:])
        history[row, : len(items)], length[row] = items, len(items)
    return {
        "user": torch.from_numpy(users),
        "history": history,
        "length": length,
        "target": torch.zeros(len(users), dtype=torch.int64),
    }
