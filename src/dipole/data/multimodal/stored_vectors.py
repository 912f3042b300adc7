"""Vectors that stay where they are."""

from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from dipole.data.multimodal.columns import Column
from dipole.data.multimodal.kinds import parsed
from dipole.data.stored import Cells
from dipole.data.stored.arrow_store import ArrowStore
from dipole.errors import InputError

Block = tuple[np.ndarray, Bool[np.ndarray, " n"]]  # (n, F) numbers, and which rows have some


class StoredVectors(Column):
    """Vectors of numbers that are read when they are asked for.

    Args:
        path: of the table, for messages.
        cells: lists of numbers, or numbers.
        skipped: to which vectors with a value that is no number are added.

    Raises:
        InputError: a cell holds something else, or another number of numbers than the first.
    """

    kind = "vector"

    def __init__(self, path: Path, cells: Cells, skipped: list[tuple[str, str]]) -> None:
        self.path, self.cells, self.width = path, cells, 0
        present = []
        row = 0
        for values, known in self._blocks():
            finite = np.isfinite(values).all(axis=1)
            wrong = (row + np.flatnonzero(known & ~finite)).tolist()
            skipped.extend(
                (f"{cells.name} row {each + 1}", "it holds a value that is no number, or too large") for each in wrong
            )
            present.append(known & finite)
            row += len(known)
        super().__init__(torch.from_numpy(np.concatenate(present)))

    def read(self, row: int) -> Tensor:
        """Return a vector: float32 (F,)."""
        return torch.tensor(self._vector(row, self.cells[row]))

    def key(self, row: int) -> Hashable:
        """The numbers."""
        return tuple(self._vector(row, self.cells[row]))

    def facts(self, rows: Int64[Tensor, " n"]) -> dict[str, Any]:
        """Width, and mean and standard deviation of the rows that are present; all cells are read twice for them."""
        used = torch.zeros(len(self), dtype=torch.bool)
        used[rows[self.present[rows]]] = True
        count = max(1, int(used.sum()))
        mean = self._sum(used, lambda part: part) / count
        std = (self._sum(used, lambda part: (part - mean) ** 2) / count).sqrt()
        # A constant says nothing; divided by 1 it stays where it is.
        return {
            "width": self.width,
            "mean": mean.float().tolist(),
            "std": torch.where(std > 0, std, 1.0).float().tolist(),
        }

    def _sum(self, used: Tensor, of: Callable[[Tensor], Tensor]) -> Tensor:
        """Sum over the rows that are used."""
        total = torch.zeros(self.width, dtype=torch.float64)
        row = 0
        for values, known in self._blocks():
            part = torch.from_numpy(values)[used[row : row + len(known)]]
            total += of(part.float().double()).sum(dim=0)
            row += len(known)
        return total

    def _blocks(self) -> Iterator[Block]:
        """All numbers, some rows at a time."""
        store, name = self.cells.store, self.cells.name
        typed = isinstance(store, ArrowStore) and store.in_order and _is_numeric(store.schema.field(name).type)
        row = 0
        for block in store.arrays(name) if typed else store.blocks(name):  # type: ignore[attr-defined]
            yield self._of_array(row, block) if typed else self._of_cells(row, block)
            row += len(block)

    def _of_array(self, row: int, array: pa.Array) -> Block:
        """The numbers of an Arrow array."""
        if not pa.types.is_primitive(array.type):
            lengths = np.asarray(pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False))
            for place in np.flatnonzero(lengths)[:1].tolist():
                self.width = self.width or int(lengths[place])
            odd = np.flatnonzero((lengths > 0) & (lengths != self.width))
            if len(odd):
                raise self._of_other_width(row + int(odd[0]), int(lengths[odd[0]]))
            flat = pc.cast(array.flatten(), pa.float64()).to_numpy(zero_copy_only=False)
        else:
            self.width, lengths = 1, array.is_valid().to_numpy(zero_copy_only=False)
            flat = pc.cast(array.drop_null(), pa.float64()).to_numpy(zero_copy_only=False)
        values = np.zeros((len(array), self.width))
        values[lengths > 0] = flat.reshape(-1, self.width)
        return values, lengths > 0

    def _of_cells(self, row: int, cells: list[Any]) -> Block:
        """The numbers of cells."""
        known = np.array([cell is not None and cell != [] and cell != "" for cell in cells], bool)
        found = [self._vector(row + place, cells[place]) for place in np.flatnonzero(known).tolist()]
        values = np.zeros((len(cells), self.width))
        values[known] = np.array(found).reshape(-1, self.width)
        return values, known

    def _vector(self, row: int, cell: Any) -> list[float]:
        """The numbers of a cell."""
        value = parsed(cell)
        try:
            vector = [float(number) for number in (value if isinstance(value, list) else [value])]
        except (TypeError, ValueError) as error:
            raise InputError(
                f"{self.path}: {self.cells.name!r} of row {row + 1} is {cell!r}: expected numbers."
            ) from error
        self.width = self.width or len(vector)
        if len(vector) != self.width:
            raise self._of_other_width(row, len(vector))
        return vector

    def _of_other_width(self, row: int, width: int) -> InputError:
        return InputError(
            f"{self.path}: {self.cells.name!r} has {width} numbers in row {row + 1} and {self.width} in rows before: "
            "expected as many in each row."
        )


def _is_numeric(kind: pa.DataType) -> bool:
    """Whether cells are numbers, or lists of them."""
    inner = kind.value_type if pa.types.is_list(kind) or pa.types.is_large_list(kind) or (
        pa.types.is_fixed_size_list(kind)
    ) else kind  # fmt: skip
    return bool(pa.types.is_floating(inner) or pa.types.is_integer(inner))
