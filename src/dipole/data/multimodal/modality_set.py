"""Rows of several modalities, of which any may be missing."""

import copy
import difflib
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from dipole.data.multimodal.columns import Column
from dipole.errors import InputError

Row = dict[str, Any]
AT_ONCE = 4096  # texts


class ModalitySet:
    """A table whose columns are modalities: images, texts, sounds, vectors, categories.

    A row is a dictionary with an entry for each modality; what is missing is None.

    Attributes:
        name: name of the set.
        columns: by name, in their order.
        skipped: `(cell, reason)` of files that were left out; their cells count as missing.

    Args:
        name: see above.
        columns: see above; all of one length.
        ids: one name a row; numbered when not given.
        labels: class of each row, None where it is not known; for evaluation alone.
        skipped: see above.

    Raises:
        InputError: there is no column or no row, or the lengths differ.

    Example:
        >>> from dipole.data.multimodal.columns import Texts, Vectors
        >>> vectors = Vectors(torch.tensor([[1.0], [2.0]]), torch.tensor([True, False]))
        >>> pairs = ModalitySet("pairs", {"caption": Texts([["one"], ["two"]]), "sensor": vectors})
        >>> pairs[1]
        {'caption': ['two'], 'sensor': None}
    """

    def __init__(
        self,
        name: str,
        columns: Mapping[str, Column],
        ids: Sequence[str] | None = None,
        labels: Sequence[str | None] | None = None,
        skipped: Sequence[tuple[str, str]] = (),
    ) -> None:
        lengths = {key: len(column) for key, column in columns.items()}
        if not lengths or len(set(lengths.values())) > 1 or not next(iter(lengths.values())):
            raise InputError(f"{name} has columns of lengths {lengths}: expected one or more, of one length above 0.")
        count = next(iter(lengths.values()))
        for what, given in (("ids", ids), ("labels", labels)):
            if given is not None and len(given) != count:
                raise InputError(f"{name}: {len(given)} {what} for {count} rows: give one each.")
        self.name = name
        self.columns = dict(columns)
        self.skipped = list(skipped)
        self._ids, self._labels = ids, labels
        self._rows = torch.arange(count)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Row:
        return self._read(int(self._rows[index]))

    def __repr__(self) -> str:
        kinds = ", ".join(f"{name}: {column.kind}" for name, column in self.columns.items())
        return f"{type(self).__name__}({self.name!r}, {len(self)} rows, {kinds})"

    def _read(self, row: int) -> Row:
        return {name: column.read(row) if bool(column.present[row]) else None for name, column in self.columns.items()}

    def fetch(self, indices: Int64[Tensor, " n"]) -> list[Row]:
        """Return the rows at `indices`, in that order."""
        return [self._read(row) for row in self._rows[indices].tolist()]

    def cell(self, name: str, index: int) -> Any:
        """Return what a row has of a modality, which must be there."""
        return self.columns[name].read(int(self._rows[index]))

    def windows(self, name: str, index: int) -> list[tuple[float, float]]:
        """Return where the parts of a sound begin and end, in seconds, of a modality of sounds that must be there."""
        column: Any = self.columns[name]
        return column.windows(int(self._rows[index]))

    def window(self, name: str, index: int, start: float) -> Tensor:
        """Return the part of a sound that begins at a second."""
        column: Any = self.columns[name]
        return column.window(int(self._rows[index]), start)

    def each(self, name: str) -> Iterator[Any]:
        """Yield the contents of a column, all of which must be there, one by one."""
        column = self.columns[name]
        return (column.read(row) for row in self._rows.tolist())

    def letters(self, name: str) -> set[str]:
        """Return all letters of a column of texts, which is read in the order of its file."""
        cells, used = self.columns[name].cells, torch.zeros(len(self.columns[name]), dtype=torch.bool)  # type: ignore[attr-defined]
        used[self._rows] = True
        texts = (text for cell, wanted in zip(cells, used.tolist(), strict=True) if wanted for text in cell)
        found: set[str] = set()
        while part := "".join(islice(texts, AT_ONCE)):
            found.update(part)
        return found

    def only(self, name: str) -> "ModalitySet":
        """Return the same rows with a single modality."""
        one = copy.copy(self)
        one.columns = {name: self.columns[name]}
        return one

    def to_train(self) -> "ModalitySet":
        """Return the same rows as views are made of: photos are whole, see `dipole.data.multimodal.columns.Photo`."""
        whole = copy.copy(self)
        whole.columns = {name: column.to_train() for name, column in self.columns.items()}
        return whole

    def present(self, name: str) -> Bool[Tensor, " n"]:
        """Return which rows have a modality."""
        return self.columns[name].present[self._rows]

    def keys(self, name: str) -> list[Any]:
        """Return what tells apart the contents of a column; None where it is missing."""
        column = self.columns[name]
        return [column.key(row) if bool(column.present[row]) else None for row in self._rows.tolist()]

    def id(self, index: int) -> str:
        """Name of a row."""
        row = int(self._rows[index])
        return str(row) if self._ids is None else str(self._ids[row])

    @property
    def labels(self) -> list[str | None] | None:
        """The class of each row; None without labels."""
        return None if self._labels is None else [self._labels[row] for row in self._rows.tolist()]

    def facts(self) -> dict[str, dict[str, Any]]:
        """Return what encoders must know of each modality: its kind, what is particular to it, whether cells miss.

        Example:
            >>> from dipole.data.multimodal.columns import Vectors
            >>> ModalitySet("one", {"x": Vectors(torch.tensor([[1.0], [3.0]]))}).facts()
            {'x': {'kind': 'vector', 'width': 1, 'mean': [2.0], 'std': [1.0], 'missing': False}}
        """
        return {
            name: {
                "kind": column.kind,
                **column.facts(self._rows),
                "missing": not bool(column.present[self._rows].all()),
            }
            for name, column in self.columns.items()
        }

    def select(self, indices: Int64[Tensor, " n"]) -> "ModalitySet":
        """Return the set of the rows at `indices`, in that order; the source is shared."""
        selected = copy.copy(self)
        selected._rows = self._rows[indices]
        return selected

    def sample(self, most: int, seed: int = 0) -> "ModalitySet":
        """Return at most `most` rows, drawn at random without repetition and kept in the order of the set."""
        if len(self) <= most:
            return self
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        return self.select(order[:most].sort().values)

    def set_epoch(self, epoch: int) -> None:
        """Nothing: rows are the same in every epoch."""

    def require(self, *columns: str) -> None:
        """Check that there are these columns.

        Raises:
            InputError: one is missing; the message names those that exist.
        """
        for column in columns:
            if column not in self.columns:
                raise unknown_column(self.name, column, list(self.columns))


def unknown_column(name: str, column: str, columns: Sequence[str]) -> InputError:
    """Return the error for a column that does not exist.

    Example:
        >>> print(unknown_column("pairs.csv", "captoin", ["image", "caption"]))
        pairs.csv has no column 'captoin'. Did you mean 'caption'? Columns: image, caption.
    """
    near = difflib.get_close_matches(column, columns, 1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return InputError(f"{name} has no column {column!r}.{hint} Columns: {', '.join(columns)}.")
