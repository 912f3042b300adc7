"""Texts that are held in memory."""

from collections.abc import Mapping, Sequence

import numpy as np

from dipole.data.text.text_set import Record, TextSet
from dipole.errors import InputError


class MemoryTextSet(TextSet):
    """A list of texts or records.

    Args:
        records: strings, which become `{"text": string}`, or dictionaries; the columns are the keys that all have.
        name: name of the set.
        ids: one name a record; by default its position.

    Raises:
        InputError: no records, strings mixed with dictionaries, no key that all have, or ids of another number.

    Example:
        >>> texts = MemoryTextSet(["A first text.", "A second one."])
        >>> len(texts), texts[1], texts.id(1)
        (2, {'text': 'A second one.'}, '1')
    """

    def __init__(self, records: Sequence[str | Mapping], name: str = "texts", ids: Sequence[str] | None = None) -> None:
        if isinstance(records, str) or not len(records):
            raise InputError(f"{name}: expected a list of one text or more, got {records!r}.")
        self._records: list[Record] = []
        for position, record in enumerate(records):
            if not isinstance(record, str if isinstance(records[0], str) else Mapping):
                raise InputError(
                    f"{name}: record {position} is of type {type(record).__name__} and record 0 of type "
                    f"{type(records[0]).__name__}: give strings only or dictionaries only."
                )
            self._records.append({"text": record} if isinstance(record, str) else dict(record))
        columns = [key for key in self._records[0] if all(key in record for record in self._records)]
        if not columns:
            raise InputError(f"{name}: the records have no key in common: name the text alike in all, e.g. 'text'.")
        if ids is not None and len(ids) != len(records):
            raise InputError(f"{name}: {len(ids)} ids for {len(records)} records: give one each.")
        self._ids = None if ids is None else tuple(ids)
        super().__init__(name, columns, np.arange(len(records)))

    def id(self, index: int) -> str:
        """The given name of a record, or its position."""
        return super().id(index) if self._ids is None else self._ids[int(self._rows[index])]

    def _read(self, row: int) -> Record:
        return dict(self._records[row])
