"""Columns whose cells stay where they are: files and contents that are looked at once, vectors that are read."""

import logging
import os
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from dipole.data.multimodal.columns import Column
from dipole.data.multimodal.kinds import parsed, source_of
from dipole.data.source import Source
from dipole.data.stored import Made, filled
from dipole.errors import InputError

logger = logging.getLogger(__name__)
ALL_CHECKED, DRAWN = 50_000, 10_000  # rows: up to the first all are looked at, of more so many
AT_ONCE = 256
Check = Callable[[Source], str | None]
Skipped = list[tuple[str, str]]


def checked_sources(
    folder: Path, name: str, cells: Sequence[Any], check: Check, skipped: Skipped
) -> tuple[Sequence[Source | None], Bool[Tensor, " n"]]:
    """Return files or contents, and which of them can be read; each different file is looked at once.

    Of more than 50,000 rows, 10,000 are drawn and looked at, always the same; what is damaged in the others shows when
    it is read.

    Args:
        folder: to which paths are relative.
        name: of the column.
        cells: paths or contents.
        check: returns why one cannot be read, or None.
        skipped: to which what cannot be read is added.
    """
    sources = Made(cells, partial(_source, folder))
    present = filled(cells)
    rows = np.flatnonzero(present)
    drawn = len(rows) > ALL_CHECKED
    if drawn:
        rows = np.sort(np.random.default_rng(0).choice(rows, DRAWN, replace=False))
    reasons: dict[Source, str | None] = {}
    broken: list[int] = []
    before = len(skipped)
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(rows), AT_ONCE):
            some = rows[start : start + AT_ONCE].tolist()
            found = [sources[row] for row in some]
            new = list(dict.fromkeys(source for source in found if source is not None and source not in reasons))
            told = dict(zip(new, pool.map(check, new), strict=True))
            skipped.extend((_said(name, source, folder), reason) for source, reason in told.items() if reason)
            # Contents are not kept: they are what does not fit in memory.
            reasons.update((source, reason) for source, reason in told.items() if isinstance(source, Path))
            broken += [row for row, source in zip(some, found, strict=True) if (told | reasons).get(source)]
    present[broken] = False
    if drawn and len(skipped) > before:
        logger.warning(
            "%s: %d of %d cells that were looked at, of %d, cannot be read and are left out. Others like them stop a "
            "run when they are read.",
            name, len(broken), DRAWN, int(present.sum()) + len(broken),
        )  # fmt: skip
    return sources, torch.from_numpy(present)


def _source(folder: Path, row: int, value: Any) -> Source | None:
    """File or content of a cell."""
    return source_of(folder, value, f"row {row + 1}")


def _said(name: str, source: Source, folder: Path) -> str:
    """How a file or a content is named."""
    return f"{name} {os.path.relpath(source, folder) if isinstance(source, Path) else source}"


class StoredVectors(Column):
    """Vectors of numbers that are read when they are asked for.

    Args:
        cells: lists of numbers, or numbers.
        present: (N,) which cells hold one.
        width: F.
    """

    kind = "vector"

    def __init__(self, cells: Sequence[Any], present: Bool[Tensor, " n"], width: int) -> None:
        super().__init__(present)
        self.cells, self.width = cells, width

    def read(self, row: int) -> Tensor:
        """Return a vector: float32 (F,)."""
        return torch.tensor(_vector(self.cells[row]))

    def key(self, row: int) -> Hashable:
        """The numbers."""
        return tuple(_vector(self.cells[row]))

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
        """Sum over the rows that are used, some at a time."""
        total = torch.zeros(self.width, dtype=torch.float64)
        part: list[list[float]] = []
        for cell, wanted in zip(self.cells, used.tolist(), strict=True):
            if wanted:
                part.append(_vector(cell))
            if len(part) == 4096:
                total += of(torch.tensor(part).double()).sum(dim=0)
                part = []
        return total + of(torch.tensor(part).double()).sum(dim=0) if part else total


def _vector(cell: Any) -> list[float]:
    """The numbers of a cell."""
    value = parsed(cell)
    return [float(number) for number in (value if isinstance(value, list) else [value])]


def vectors_present(path: Path, name: str, cells: Sequence[Any], skipped: Skipped) -> tuple[Bool[Tensor, " n"], int]:
    """Return which cells hold finite numbers, and how many numbers each.

    Raises:
        InputError: a cell holds something else, or another number of them.
    """
    present = np.zeros(len(cells), bool)
    width, first = 0, 0
    for row, cell in enumerate(cells):
        if cell is None or cell == []:
            continue
        try:
            vector = _vector(cell)
        except (TypeError, ValueError) as error:
            raise InputError(f"{path}: {name!r} of row {row + 1} is {cell!r}: expected numbers.") from error
        if width and len(vector) != width:
            raise InputError(
                f"{path}: {name!r} has {len(vector)} numbers in row {row + 1} and {width} in row {first + 1}: expected "
                "as many in each row."
            )
        width, first = width or len(vector), first if width else row
        present[row] = np.isfinite(vector).all()
        if not present[row]:
            skipped.append((f"{name} row {row + 1}", "it holds a value that is no number"))
    return torch.from_numpy(present), width
