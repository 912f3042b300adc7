"""What every set of texts offers, whatever it is stored in."""

import copy
import difflib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor
from torch.utils.data import Dataset

from dipole.errors import InputError

Record = dict[str, Any]


@dataclass(frozen=True)
class LineNote:
    """What happened to some lines or rows of a file while it was read.

    Attributes:
        reason: in words.
        count: number of lines.
        first: the first of them, counted from 1.

    Example:
        >>> print(LineNote("empty", 3, 17))
        3 lines empty (first: line 17)
    """

    reason: str
    count: int
    first: int

    def __str__(self) -> str:
        return f"{self.count} {'line' if self.count == 1 else 'lines'} {self.reason} (first: line {self.first})"


class TextSet(Dataset[Record], ABC):
    """Records of text that are read when they are asked for.

    A record is a dictionary with one entry per column. The main text is the column `"text"`; pairs, triplets and
    passages with negatives have columns of their own. A `DataLoader` asks for whole batches (`__getitems__`), which
    come as a list of records.

    Attributes:
        name: name of the set, e.g. `"toy-sentences"`, or of its file.
        columns: the entries that every record has.
        skipped: what was left out, with reasons and counts.
        repaired: what was kept but had to be changed, with reasons and counts.

    Args:
        name: see above.
        columns: see above.
        rows: (n,) where the records are in the source, in the order of the set: 8 bytes a record is all that a set
            holds of it.
        skipped: see above.
        repaired: see above.
    """

    def __init__(
        self,
        name: str,
        columns: Sequence[str],
        rows: Int64[np.ndarray, " n"],
        skipped: Sequence[LineNote] = (),
        repaired: Sequence[LineNote] = (),
    ) -> None:
        self.name = name
        self.columns = tuple(columns)
        self.skipped = tuple(skipped)
        self.repaired = tuple(repaired)
        self._rows = rows

    @abstractmethod
    def _read(self, row: int) -> Record:
        """Return the record at a place of the source."""

    def set_epoch(self, epoch: int) -> None:
        """Move to an epoch of training, for sets whose records change with it; here nothing happens."""

    def id(self, index: int) -> str:
        """Name of a record, unique within the data: where it is in the source unless the source names it."""
        return str(self._rows[index])

    def fetch(self, indices: Int64[Tensor, " n"]) -> list[Record]:
        """Return the records at `indices`, in that order."""
        return [self._read(row) for row in self._rows[indices.numpy()].tolist()]

    def select(self, indices: Int64[Tensor, " n"]) -> "TextSet":
        """Return the set of the records at `indices`, in that order; the source is shared, not copied."""
        selected = copy.copy(self)
        selected._rows = self._rows[indices.numpy()]
        return selected

    def sample(self, most: int, seed: int = 0) -> "TextSet":
        """Return at most `most` records, drawn at random without repetition and kept in the order of the set."""
        if len(self) <= most:
            return self
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        return self.select(order[:most].sort().values)

    def require(self, *columns: str) -> None:
        """Check that every record has these columns.

        Raises:
            InputError: a column is missing; the message names those that exist.
        """
        for column in columns:
            if column not in self.columns:
                raise missing_column(self.name, column, self.columns)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Record:
        return self._read(int(self._rows[index]))

    def __getitems__(self, indices: list[int]) -> list[Record]:
        return self.fetch(torch.as_tensor(indices, dtype=torch.long))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {len(self)} records, columns {', '.join(self.columns)})"


def missing_column(name: str, column: str, columns: Sequence[str]) -> InputError:
    """The error for a column that does not exist."""
    near = difflib.get_close_matches(column, columns, 1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return InputError(
        f"{name} has no column {column!r}. Columns: {', '.join(columns)}.{hint} Choose the main text with --column."
    )
