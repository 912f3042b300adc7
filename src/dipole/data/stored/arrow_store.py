"""Arrow files that are mapped into memory: any row is found at once, and workers share what is read."""

import json
import mmap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool

from dipole.data.stored.store import Block, Store, holds
from dipole.errors import InputError

FILE_MAGIC = b"ARROW1"
RELEASED_EVERY = 512  # rows that are read: pages of the file that they needed no longer count as memory in use
ROWS_AT_ONCE, BYTES_AT_ONCE = 4096, 2**24  # of a block
SPLIT = "split"


class MappedArrow:
    """The batches of an Arrow file, mapped into memory; or those of a table in memory.

    Args:
        source: path of a file in Arrow's file or stream format, or a table.
    """

    def __init__(self, source: Path | pa.Table) -> None:
        self.source = source
        self._map: mmap.mmap | None = None
        self._batches: list[pa.RecordBatch] | None = None
        self.lengths = [len(batch) for batch in self.batches]
        self.schema: pa.Schema = source.schema if isinstance(source, pa.Table) else self._schema

    @property
    def batches(self) -> list[pa.RecordBatch]:
        """The batches; the file is opened when they are first asked for in a process."""
        if self._batches is None:
            if isinstance(self.source, pa.Table):
                self._batches = self.source.to_batches(max_chunksize=ROWS_AT_ONCE)
            else:
                self._batches = self._opened(self.source)
        return self._batches

    def _opened(self, path: Path) -> list[pa.RecordBatch]:
        """Map a file.

        Raises:
            InputError: it is missing or no Arrow file.
        """
        try:
            with path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            buffer = pa.py_buffer(self._map)
            if self._map[: len(FILE_MAGIC)] == FILE_MAGIC:
                reader = pa.ipc.open_file(buffer)
                batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
            else:
                reader = pa.ipc.open_stream(buffer)
                batches = list(reader)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise InputError(f"cannot read {path} as Arrow ({str(error).splitlines()[0]}).") from error
        self._schema = reader.schema
        return batches

    def release(self) -> None:
        """Let go of the pages that were read; they stay in the system's cache and come back when they are needed."""
        if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_map": None, "_batches": None}


class ArrowStore(Store):
    """Rows of Arrow files, one after the other.

    Args:
        name: of the set.
        pieces: the files.
        splits: of each piece, `train`, `test` or None; a column `split` if there are two.
        rows: (n,) which rows of the files are the rows of the store, in which order; all if None.
        said: of the pieces, where errors name them.

    Raises:
        InputError: the pieces have different columns, or there is no row.

    Example:
        >>> store = ArrowStore("two", [MappedArrow(pa.table({"text": ["a", ""]}))])
        >>> store.cell("text", 0), store.filled("text").tolist()
        ('a', [True, False])
    """

    def __init__(
        self,
        name: str,
        pieces: Sequence[MappedArrow],
        splits: Sequence[str | None] | None = None,
        rows: np.ndarray | None = None,
        said: Sequence[str] | None = None,
    ) -> None:
        self.name, self._pieces, self._order = name, list(pieces), rows
        first = self._pieces[0].schema
        names = said or [str(piece.source) for piece in pieces]
        for piece, place in zip(self._pieces, names, strict=True):
            if set(piece.schema.names) != set(first.names):
                raise InputError(
                    f"{place} has the columns {', '.join(piece.schema.names)}, {names[0]} {', '.join(first.names)}: "
                    "shards of one set have the same."
                )
        lengths = [(number, length) for number, piece in enumerate(self._pieces) for length in piece.lengths]
        self._piece_of = np.array([number for number, _ in lengths], np.int64)
        self._first_batch = np.searchsorted(self._piece_of, np.arange(len(self._pieces)))
        self._starts = np.cumsum([0, *(length for _, length in lengths)])
        self._read = 0
        self._touched: set[int] = set()  # pieces that were read since pages were let go
        self._classes = {name: values for name, (_, values) in _features(first).items() if values}
        self.kinds = {name: kind for name, (kind, _) in _features(first).items()}
        own = set(splits or ()) - {None}
        self._splits = list(splits) if splits and len(own) > 1 and SPLIT not in first.names else None
        self.columns = (*first.names, *((SPLIT,) if self._splits else ()))
        self.schema = first
        if not len(self):
            raise InputError(f"{name} holds no row.")

    def __len__(self) -> int:
        return int(self._starts[-1]) if self._order is None else len(self._order)

    @property
    def in_order(self) -> bool:
        """Whether the rows are those of the files in their order."""
        return self._order is None

    def _batch(self, number: int) -> pa.RecordBatch:
        piece = int(self._piece_of[number])
        return self._pieces[piece].batches[number - int(self._first_batch[piece])]

    def cell(self, name: str, row: int) -> Any:
        """Return what a row has in a column; the name of its class where the column holds classes."""
        place = row if self._order is None else int(self._order[row])
        number = int(np.searchsorted(self._starts, place, side="right")) - 1
        if name == SPLIT and self._splits:
            return self._splits[int(self._piece_of[number])]
        value = self._batch(number).column(name)[place - int(self._starts[number])].as_py()
        self._read += 1
        self._touched.add(int(self._piece_of[number]))
        if self._read % RELEASED_EVERY == 0:
            self.release()
        return self._said(name, value)

    def _said(self, name: str, value: Any) -> Any:
        """The name of a class in place of its number."""
        if name not in self._classes or not isinstance(value, int):
            return value
        names = self._classes[name]
        return names[value] if 0 <= value < len(names) else None

    def release(self) -> None:
        """Let go of what was read."""
        for number in self._touched:
            self._pieces[number].release()
        self._touched.clear()

    def arrays(self, name: str) -> Iterator[pa.Array]:
        """Yield a column in the order of the files, some rows at a time; nothing of it is kept."""
        for number in range(len(self._piece_of)):
            batch = self._batch(number)
            if name == SPLIT and self._splits:
                yield pa.array([self._splits[int(self._piece_of[number])]] * len(batch), pa.string())
                continue
            column = batch.column(name)
            step = max(1, min(ROWS_AT_ONCE, BYTES_AT_ONCE * len(column) // max(1, column.nbytes)))
            for start in range(0, len(column), step):
                yield column.slice(start, step)
            self._pieces[int(self._piece_of[number])].release()

    def blocks(self, name: str) -> Iterator[Block]:
        """Yield all cells."""
        if self._order is not None:
            for start in range(0, len(self), 256):
                yield [self.cell(name, row) for row in range(start, min(len(self), start + 256))]
            return
        for array in self.arrays(name):
            cells = array.to_pylist()
            yield [self._said(name, cell) for cell in cells] if name in self._classes else cells

    def filled(self, name: str) -> Bool[np.ndarray, " n"]:
        """Return which cells hold something."""
        if name in self._classes:
            return super().filled(name)
        found = np.concatenate([_filled(array) for array in self.arrays(name)])
        return found if self._order is None else found[self._order]


def _filled(array: pa.Array) -> Bool[np.ndarray, " n"]:
    """Which cells of an array hold something."""
    kind = array.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        text = pc.utf8_trim_whitespace(array)
        listed = pc.fill_null(pc.starts_with(text, "["), False).to_numpy(zero_copy_only=False)
        known = np.array(pc.fill_null(pc.not_equal(text, ""), False).to_numpy(zero_copy_only=False))
        for row in np.flatnonzero(listed).tolist():
            known[row] = holds(text[row].as_py())
        return known
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        found = pc.greater(pc.binary_length(array), 0)
    elif pa.types.is_struct(kind) and {"bytes", "path"} & {field.name for field in kind}:
        names = [field.name for field in kind if field.name in ("bytes", "path")]
        parts = [_filled(pc.struct_field(array, name)) for name in names]
        return np.logical_or.reduce(parts) & array.is_valid().to_numpy(zero_copy_only=False)
    elif pa.types.is_nested(kind) or pa.types.is_dictionary(kind):
        return np.array([holds(cell) for cell in array.to_pylist()], bool)
    else:
        found = array.is_valid()
    return np.asarray(pc.fill_null(found, False).to_numpy(zero_copy_only=False))


def _features(schema: pa.Schema) -> dict[str, tuple[str, tuple[str, ...]]]:
    """What the library `datasets` says of columns: `(kind, names of the classes)`."""
    try:
        said = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features: Mapping[str, Any] = said.get("info", {}).get("features", {})
    except (ValueError, AttributeError):
        return {}
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    kinds = {"Image": "image", "Audio": "sound", "ClassLabel": "category"}
    for name, feature in features.items():
        kind = kinds.get(feature.get("_type", "")) if isinstance(feature, dict) else None
        if kind is not None and name in schema.names:
            found[name] = (kind, tuple(feature.get("names") or ()) if kind == "category" else ())
    return found
