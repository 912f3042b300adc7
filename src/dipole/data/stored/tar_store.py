"""WebDataset shards whose members are read where they lie."""

import json
import logging
import os
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from dipole.data.stored.arrow_store import SPLIT
from dipole.data.stored.store import Block, Store
from dipole.data.stored.tar_index import shard_indexes
from dipole.errors import InputError

logger = logging.getLogger(__name__)
OPEN_AT_ONCE = 64  # files
ID, JSON = "id", "json"
_KINDS = {"image": "image", "sound": "sound", "text": "text", "label": "category", "vector": "vector"}


class OpenFiles:
    """Reads pieces of many files, of which some stay open."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)
        self._open: dict[int, int] = {}

    def read(self, number: int, begin: int, size: int) -> bytes:
        """Return bytes of a file.

        Raises:
            InputError: they cannot be read.
        """
        try:
            if number not in self._open:
                if len(self._open) >= OPEN_AT_ONCE:
                    os.close(self._open.pop(next(iter(self._open))))
                self._open[number] = os.open(self.paths[number], os.O_RDONLY)
            found = os.pread(self._open[number], size, begin)
        except OSError as error:
            raise InputError(f"cannot read {self.paths[number]}: {error.strerror}.") from error
        if len(found) != size:
            raise InputError(f"{self.paths[number]} has become shorter while it was read: restore it, then resume.")
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {"paths": self.paths, "_open": {}}

    def __del__(self) -> None:
        for handle in self._open.values():
            os.close(handle)


class TarStore(Store):
    """Samples of WebDataset's shards: members of a tar that share a name up to its first dot.

    The member `a.jpg` of the sample `a` is its `image`, `a.txt` its `text`, `a.cls` its `label`, `a.wav` its `sound`,
    `a.npy` its `vector`; `a.left.jpg` is its column `left`. The keys of `a.json` are columns for those who ask for them
    by name. The shards are looked through once; where members lie is kept in the cache. Nothing is unpickled.

    Args:
        name: of the set.
        paths: of the shards.
        splits: of each shard, `train`, `test` or None; a column `split` if there are two.

    Raises:
        InputError: a shard cannot be read, or shards give one column different contents.
    """

    def __init__(self, name: str, paths: Sequence[Path], splits: Sequence[str | None] | None = None) -> None:
        self.name, self._paths = name, list(paths)
        self.paths = self._paths
        self._indexes = shard_indexes(self._paths)
        self._files = OpenFiles(self._paths)
        self._starts = np.cumsum([0, *(sum(index.lengths) for index in self._indexes)])
        self._forms: dict[str, str] = {}
        left_out: dict[str, int] = {}
        for path, index in zip(self._paths, self._indexes, strict=True):
            for key, value in (index.schema.metadata or {}).items():
                what, _, which = key.decode().rpartition(" ")
                if what == "left out":
                    left_out[which] = left_out.get(which, 0) + int(value)
                elif self._forms.setdefault(which, value.decode()) != value.decode():
                    raise InputError(
                        f"{path}: the column {which!r} is {value.decode()}, in other shards {self._forms[which]}."
                    )
        self.notes = [(f"members .{which}", f"{count} of a kind that is not read") for which, count in left_out.items()]
        if left_out:
            said = ", ".join(f"{count} {which}" for which, count in left_out.items())
            logger.warning("%s: members of kinds that are not read are left out (%s).", name, said)
        own = [name for name, form in self._forms.items() if form != JSON]
        self._splits = list(splits) if splits and len(set(splits) - {None}) > 1 else None
        self.columns = (ID, *own, *((SPLIT,) if self._splits else ()))
        self.kinds = {name: _KINDS[self._forms[name]] for name in own}
        self._records = next((name for name, form in self._forms.items() if form == JSON), None)
        self._views: dict[str, list[tuple[np.ndarray, np.ndarray] | None]] = {}
        self.hidden = self._keys_of_records()

    def _keys_of_records(self) -> tuple[str, ...]:
        """The keys of the first sample's JSON."""
        if self._records is None:
            return ()
        first = next((row for row in range(min(len(self), 1000)) if self._place(self._records, row)[2] > 0), None)
        record = {} if first is None else self._record(first)
        return tuple(key for key in record if key not in self.columns)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def _places(self, name: str) -> list[tuple[np.ndarray, np.ndarray] | None]:
        """Where the members of a column begin and how long they are, by shard; the numbers stay in the mapped files."""
        if name not in self._views:
            self._views[name] = []
            for index in self._indexes:
                batch = index.batches[0]
                there = f"begin {name}" in batch.schema.names
                parts = [batch.column(f"{what} {name}").to_numpy() for what in ("begin", "size")] if there else []
                self._views[name].append((parts[0], parts[1]) if there else None)
        return self._views[name]

    def _place(self, name: str, row: int) -> tuple[int, int, int]:
        """Shard, beginning and size of a member; size −1 if there is none."""
        shard = int(np.searchsorted(self._starts, row, side="right")) - 1
        place, own = self._places(name)[shard], row - int(self._starts[shard])
        return (shard, -1, -1) if place is None else (shard, int(place[0][own]), int(place[1][own]))

    def _key(self, row: int) -> str:
        shard = int(np.searchsorted(self._starts, row, side="right")) - 1
        return str(self._indexes[shard].batches[0].column("key")[row - int(self._starts[shard])].as_py())

    def _record(self, row: int) -> dict[str, Any]:
        """The JSON of a sample."""
        assert self._records is not None
        shard, begin, size = self._place(self._records, row)
        if size <= 0:
            return {}
        try:
            found = json.loads(self._files.read(shard, begin, size))
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"{self._paths[shard]}: the JSON of sample {self._key(row)!r} is damaged ({error})."
            ) from error
        return found if isinstance(found, dict) else {}

    def cell(self, name: str, row: int) -> Any:
        """Return what a sample has in a column."""
        if name == ID:
            return self._key(row)
        shard, begin, size = self._place(name, row) if name in self._forms else (-1, -1, -1)
        if name not in self._forms:
            if name == SPLIT and self._splits:
                return self._splits[int(np.searchsorted(self._starts, row, side="right")) - 1]
            return self._record(row).get(name)
        if size <= 0:
            return None
        content = self._files.read(shard, begin, size)
        form = self._forms[name]
        if form in ("image", "sound"):
            return {"bytes": content, "path": f"{self._paths[shard].name}/{self._key(row)}.{name}"}
        try:
            if form == "vector":
                return np.load(BytesIO(content), allow_pickle=False).ravel().tolist()
            return content.decode().strip()
        except ValueError as error:
            said = f"{self._paths[shard]}: {name!r} of sample {self._key(row)!r} cannot be read ({error})"
            raise InputError(f"{said}: write it as UTF-8, or as a .npy of numbers.") from error

    def blocks(self, name: str) -> Iterator[Block]:
        """Yield all cells."""
        for start in range(0, len(self), 256):
            yield [self.cell(name, row) for row in range(start, min(len(self), start + 256))]

    def filled(self, name: str) -> Bool[np.ndarray, " n"]:
        """Return which members are there and not empty; a text is not looked into."""
        if name not in self._forms:
            return super().filled(name)
        parts = zip(self._places(name), np.diff(self._starts).tolist(), strict=True)
        return np.concatenate([np.zeros(count, bool) if place is None else place[1] > 0 for place, count in parts])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_views": {}}
