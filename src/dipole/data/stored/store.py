"""Tables whose rows stay on disk and are read when they are asked for."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, overload

import numpy as np
from jaxtyping import Bool

Block = list[Any]


class Store(ABC):
    """Rows on disk. Memory does not grow with what they hold; a few bytes a row are kept.

    A store can be pickled and goes through a fork: each process opens the files for itself.

    Attributes:
        name: of the set.
        columns: that are read unless others are asked for.
        hidden: columns that are there for those who ask for them by name.
        kinds: what a column holds, where the source says so: `image`, `sound`, `category`.
        notes: `(what, reason)` of what was left out.
        folder: to which paths in cells are relative.
        paths: the files that it is made of.
    """

    name: str
    columns: tuple[str, ...]
    hidden: tuple[str, ...] = ()
    kinds: Mapping[str, str] = {}
    notes: Sequence[tuple[str, str]] = ()
    folder: Path = Path()
    paths: Sequence[Path] = ()

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def cell(self, name: str, row: int) -> Any:
        """Return what a row has in a column; None if nothing."""

    @abstractmethod
    def blocks(self, name: str) -> Iterator[Block]:
        """Yield all cells of a column in their order, some at a time."""

    def filled(self, name: str) -> Bool[np.ndarray, " n"]:
        """Return which cells hold something."""
        found = [np.array([holds(cell) for cell in block], bool) for block in self.blocks(name)]
        return np.concatenate(found) if found else np.zeros(0, bool)

    def __contains__(self, name: str) -> bool:
        return name in self.columns or name in self.hidden

    def cells(self) -> "Columns":
        """Return the columns by name."""
        return Columns(self)


class Cells(Sequence[Any]):
    """The cells of a column of a store; empty text is None.

    Args:
        store: where they are.
        name: of the column.
    """

    def __init__(self, store: Store, name: str) -> None:
        self.store, self.name = store, name

    def __len__(self) -> int:
        return len(self.store)

    @overload
    def __getitem__(self, row: int) -> Any: ...
    @overload
    def __getitem__(self, row: slice) -> list[Any]: ...
    def __getitem__(self, row: int | slice) -> Any:
        """Read a cell, or several."""
        if isinstance(row, slice):
            return [self[each] for each in range(*row.indices(len(self)))]
        found = self.store.cell(self.name, row)
        return None if isinstance(found, str) and not found else found

    def __iter__(self) -> Iterator[Any]:
        cells = chain.from_iterable(self.store.blocks(self.name))
        return (None if isinstance(cell, str) and not cell else cell for cell in cells)


class Columns(Mapping[str, Cells]):
    """The columns of a store by name; hidden ones can be asked for and are not listed."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def __len__(self) -> int:
        return len(self.store.columns)

    def __iter__(self) -> Iterator[str]:
        return iter(self.store.columns)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self.store

    def __getitem__(self, name: str) -> Cells:
        if name not in self.store:
            raise KeyError(name)
        return Cells(self.store, name)


class Made(Sequence[Any]):
    """What a function makes of cells, when it is asked for.

    Args:
        cells: any sequence.
        make: `(row, cell) -> value`; can be pickled.

    Example:
        >>> made = Made(["a", None], lambda row, cell: f"{cell or 'none'} {row}")
        >>> made[1], list(made)
        ('none 1', ['a 0', 'none 1'])
    """

    def __init__(self, cells: Sequence[Any], make: Callable[[int, Any], Any]) -> None:
        self.cells, self.make = cells, make

    def __len__(self) -> int:
        return len(self.cells)

    @overload
    def __getitem__(self, row: int) -> Any: ...
    @overload
    def __getitem__(self, row: slice) -> list[Any]: ...
    def __getitem__(self, row: int | slice) -> Any:
        """Make one value, or several."""
        if isinstance(row, slice):
            return [self[each] for each in range(*row.indices(len(self)))]
        return self.make(row, self.cells[row])

    def __iter__(self) -> Iterator[Any]:
        return (self.make(row, cell) for row, cell in enumerate(self.cells))


class Coded(Sequence[str | None]):
    """Names of which there are few: four bytes a row, and each name once.

    Args:
        values: names; None where there is none.

    Example:
        >>> coded = Coded(["cat", None, "cat"])
        >>> coded[0], coded.names, coded.codes.tolist()
        ('cat', ['cat'], [0, -1, 0])
    """

    def __init__(self, values: Iterable[str | None]) -> None:
        places: dict[str | None, int] = {None: -1}
        self.codes = np.fromiter((places.setdefault(value, len(places) - 1) for value in values), np.int32)
        del places[None]
        self.names: list[str] = [str(name) for name in places]

    def __len__(self) -> int:
        return len(self.codes)

    @overload
    def __getitem__(self, row: int) -> str | None: ...
    @overload
    def __getitem__(self, row: slice) -> list[str | None]: ...
    def __getitem__(self, row: int | slice) -> Any:
        """Return a name, or several."""
        if isinstance(row, slice):
            return [self[each] for each in range(*row.indices(len(self)))]
        code = int(self.codes[row])
        return None if code < 0 else self.names[code]

    def __iter__(self) -> Iterator[str | None]:
        names: list[str | None] = [*self.names, None]
        return (names[code] for code in self.codes.tolist())


def filled(cells: Sequence[Any]) -> Bool[np.ndarray, " n"]:
    """Return which cells hold something: text besides white space, bytes, a list with something in it, a number.

    Example:
        >>> filled(["a", " ", None, [""], b"", 0]).tolist()
        [True, False, False, False, False, True]
    """
    if isinstance(cells, Cells):
        return cells.store.filled(cells.name)
    return np.array([holds(cell) for cell in cells], bool)


def holds(cell: Any) -> bool:
    """Return whether a cell holds something; text that is a list in JSON is looked into.

    Example:
        >>> holds('["", " "]'), holds("[sic"), holds({"bytes": None, "path": "a.png"})
        (False, True, True)
    """
    if isinstance(cell, str):
        text = cell.strip()
        if not text.startswith("["):
            return bool(text)
        try:
            return holds(json.loads(text))
        except (ValueError, RecursionError):
            return True
    if isinstance(cell, dict):
        return any(holds(cell.get(name)) for name in ("bytes", "path")) if {"bytes", "path"} & cell.keys() else True
    if isinstance(cell, list):
        return any(map(holds, cell))
    return cell is not None and cell != b""
