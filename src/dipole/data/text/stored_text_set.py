"""Texts in Parquet, Arrow, WebDataset or LitData shards, read when they are asked for."""

import numpy as np

from dipole.data.stored import Store
from dipole.data.text.line_text_set import EMPTY
from dipole.data.text.text_set import LineNote, Record, TextSet, missing_column
from dipole.errors import InputError

FILES = ("image", "sound")


class StoredTextSet(TextSet):
    """The columns of a store that are no files; see `ArrowTextSet`, of which a single file of text is read.

    Rows of the part `test` are left out where the source has a training and a test part.

    Args:
        store: the table.
        column: the main text, which becomes the entry `"text"` of the records; by default `"text"`, or the only column
            that may hold text. Without a main text, records are handed on as they are.

    Raises:
        InputError: the column does not exist or holds no text.
    """

    def __init__(self, store: Store, column: str | None = None) -> None:
        self._store = store
        names = [name for name in store.columns if not _is_file(store, name)]
        texts = [name for name in names if name not in ("id", "split", "label")]
        self._column = column or ("text" if "text" in store else texts[0] if len(texts) == 1 else None)
        if self._column is not None and self._column not in store:
            raise missing_column(store.name, self._column, names)
        kept = np.ones(len(store), bool)
        if "split" in store:
            kept = np.array([str(cell).lower() in ("train", "training") for cell in store.cells()["split"]])
            kept = kept if kept.any() else ~kept
        filled = kept if self._column is None else kept & store.filled(self._column)
        rows = np.flatnonzero(filled)
        if not len(rows):
            raise InputError(f"{store.name} has {len(store)} rows and no text: columns {', '.join(names)}.")
        first = None if self._column is None else store.cell(self._column, int(rows[0]))
        if self._column is not None and not isinstance(first, str):
            raise InputError(
                f"{store.name}: column {self._column!r} holds {type(first).__name__}, expected strings: choose with "
                "--column."
            )
        self._names = tuple(dict.fromkeys([*names, *([] if self._column is None else [self._column])]))
        skipped = []
        empty = np.flatnonzero(kept & ~filled)
        if len(empty):
            skipped.append(LineNote(EMPTY, len(empty), int(empty[0]) + 1))
        if not kept.all():
            skipped.append(LineNote("of the test part", int((~kept).sum()), int((~kept).argmax()) + 1))
        columns = dict.fromkeys([*self._names, *([] if self._column is None else ["text"])])
        super().__init__(store.name, tuple(columns), rows, skipped)

    def _read(self, row: int) -> Record:
        record = {name: self._store.cell(name, row) for name in self._names}
        if self._column is None:
            return record
        text = record[self._column]
        if not isinstance(text, str) or not text.strip():
            raise InputError(f"{self.name}: {self._column!r} of row {row + 1} holds no text: empty it or fill it.")
        return {**record, "text": text}


def _is_file(store: Store, name: str) -> bool:
    """Whether a column holds files or their contents."""
    first = next((cell for cell in (store.cell(name, row) for row in range(min(20, len(store)))) if cell), None)
    return store.kinds.get(name) in FILES or isinstance(first, bytes | dict)
