"""Folders that LitData optimised, whose items are read where they lie."""

import json
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from dipole.data.stored.arrow_store import SPLIT
from dipole.data.stored.store import Block, Store
from dipole.data.stored.tar_store import OpenFiles
from dipole.errors import InputError
from dipole.files import read_json

BEGUN = ".dipole-optimize.json"  # lies in a folder that `dipole data optimize` has not finished
# As LitData numbers the types of NumPy and of torch that have a fixed size.
NUMPY = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64")
TORCH = {0: "float32", 1: "float32", 2: "float64", 3: "float64", 8: "float16", 9: "float16", 11: "uint8", 12: "int8",
         13: "int16", 14: "int16", 15: "int32", 16: "int32", 17: "int64", 18: "int64"}  # fmt: skip
TEXTS, FILES = ("str", "text"), ("bytes", "jpeg", "image", "audio", "file", "tifffile")
NUMBERS = {"int": "<i8", "float": "<f8", "bool": "?"}
ARRAYS = ("no_header_numpy", "no_header_tensor", "numpy", "tensor")
READ = (*TEXTS, *FILES, *NUMBERS, *ARRAYS, "pil", "json")


class ChunkStore(Store):
    """Items of LitData's chunks: dictionaries of texts, contents of files, numbers and arrays.

    A chunk is the number n of its items, n + 1 offsets, and the items; an item is the sizes of its fields and the
    fields. Any item is read by itself. Nothing is unpickled: a folder with a field that LitData pickled is refused.

    Args:
        name: of the set.
        folder: with `index.json`; or with one such folder for each part.
        parts: names of these folders, `train` and `test`.

    Raises:
        InputError: the index is damaged, or says that fields are pickled, packed, encrypted or unknown.
    """

    def __init__(self, name: str, folder: Path, parts: Sequence[str] = ()) -> None:
        self.name = name
        paths: list[Path] = []
        counts: list[int] = []
        self._splits: list[str] = []
        found: tuple[list[str], list[str]] | None = None
        for part in parts or ("",):
            own, chunks = _read_index(folder / part)
            if found not in (None, own):
                raise InputError(f"{folder / part} has other fields than {folder / parts[0]}: write both alike.")
            found = own
            paths += [folder / part / file for file, _ in chunks]
            counts += [count for _, count in chunks]
            self._splits += [part] * len(chunks)
        assert found is not None
        names, formats = found
        self._formats = dict(zip(names, formats, strict=True))
        self._place = {name: place for place, name in enumerate(names)}
        self.columns = (*names, *((SPLIT,) if parts and SPLIT not in names else ()))
        self.kinds = {name: "image" for name, form in self._formats.items() if form.split(":")[0] in ("jpeg", "pil")}
        self._files = OpenFiles(paths)
        self.paths = paths
        self._starts = np.cumsum([0, *counts])
        for number in range(len(paths)):
            self._check(number)

    def _check(self, number: int) -> None:
        """Require that a chunk is whole.

        Raises:
            InputError: it is missing, has another number of items than the index says, or is broken off.
        """
        path, count = self._files.paths[number], int(self._starts[number + 1] - self._starts[number])
        first = np.frombuffer(self._files.read(number, 0, 4), "<u4")[0]
        end = np.frombuffer(self._files.read(number, 4 * (count + 1), 4), "<u4")[0] if first == count else 0
        if end != path.stat().st_size:
            raise InputError(f"{path} does not fit index.json ({count} items): it is broken off or of another set.")

    def __len__(self) -> int:
        return int(self._starts[-1])

    def _item(self, row: int) -> tuple[int, int]:
        """The chunk of an item and where it begins."""
        chunk = int(np.searchsorted(self._starts, row, side="right")) - 1
        own = row - int(self._starts[chunk])
        return chunk, int(np.frombuffer(self._files.read(chunk, 4 * (own + 1), 4), "<u4")[0])

    def cell(self, name: str, row: int) -> Any:
        """Return what an item has in a field."""
        chunk, begin = self._item(row)
        if name not in self._formats:
            return self._splits[chunk]
        sizes = np.frombuffer(self._files.read(chunk, begin, 4 * len(self._formats)), "<u4")
        place = self._place[name]
        start = begin + 4 * len(sizes) + int(sizes[:place].sum())
        content = self._files.read(chunk, start, int(sizes[place]))
        try:
            return _decoded(content, self._formats[name])
        except (ValueError, KeyError, IndexError, RecursionError) as error:
            raise InputError(f"{self._files.paths[chunk]}: {name!r} of row {row + 1} is damaged ({error}).") from error

    def blocks(self, name: str) -> Iterator[Block]:
        """Yield all cells."""
        for start in range(0, len(self), 256):
            yield [self.cell(name, row) for row in range(start, min(len(self), start + 256))]


def _read_index(folder: Path) -> tuple[tuple[list[str], list[str]], list[tuple[str, int]]]:
    """Names and formats of the fields, and the chunks with their numbers of items."""
    path = folder / "index.json"
    index = read_json(path)
    try:
        config = index["config"]
        formats = [str(form) for form in config["data_format"]]
        chunks = [(Path(str(chunk["filename"])).name, int(chunk["chunk_size"])) for chunk in index["chunks"]]
        spec = json.loads(config["data_spec"])[1]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(f"{path} is no index of LitData's chunks ({error!r}): optimise the set again.") from error
    names = _names(spec)
    unread = [form for form in formats if form.split(":")[0] not in READ]
    if any(form.split(":")[0] == "pickle" for form in formats):
        raise InputError(
            f"{path} says that fields are pickled, which could run code: they are not read. Optimise the set with "
            "texts, bytes, numbers and arrays, as dipole data optimize does."
        )
    if names is None or len(names) != len(formats) or unread:
        what = f"fields of the kinds {', '.join(unread)}" if unread else "items that are no flat dictionaries"
        raise InputError(f"{path} says that there are {what}: expected a dictionary of {', '.join(READ)}.")
    if config.get("compression") or config.get("encryption") or config.get("ipc_compression"):
        raise InputError(f"{path} says that chunks are compressed or encrypted: optimise the set without that.")
    if config.get("item_loader") not in (None, "PyTreeLoader"):
        raise InputError(f"{path} is made for {config['item_loader']}: optimise the set with LitData's default.")
    if not chunks or not sum(count for _, count in chunks):
        raise InputError(f"{path} names no item.")
    return (names, formats), chunks


def _names(spec: Any) -> list[str] | None:
    """The keys of a flat dictionary that a tree of torch describes; None of any other tree."""
    try:
        leaves = all(child["type"] is None for child in spec["children_spec"])
        names = json.loads(spec["context"]) if spec["type"] == "builtins.dict" and leaves else None
    except (KeyError, TypeError, ValueError):
        return None
    return [str(name) for name in names] if isinstance(names, list) else None


def _decoded(content: bytes, form: str) -> Any:
    """The value of a field."""
    kind, _, detail = form.partition(":")
    if kind in TEXTS:
        return content.decode() or None
    if kind in FILES:
        return content or None
    if kind in NUMBERS:
        return np.frombuffer(content, NUMBERS[kind])[0].item()
    if kind == "json":
        return json.loads(content)
    if kind == "pil":
        return _png(content)
    if kind.startswith("no_header"):
        dtype = NUMPY[int(detail)] if kind.endswith("numpy") else TORCH[int(detail)]
        return np.frombuffer(content, dtype).tolist() or None
    head = np.frombuffer(content[:8], "<u4")
    dtype = NUMPY[int(head[0])] if kind == "numpy" else TORCH[int(head[0])]
    return np.frombuffer(content[8 + 4 * int(head[1]) :], dtype).tolist() or None


def _png(content: bytes) -> bytes:
    """Pixels that LitData stored as they are, as a file."""
    from PIL import Image

    width, height, length = np.frombuffer(content[:12], "<u4").tolist()
    buffer = BytesIO()
    image = Image.frombytes(content[12 : 12 + length].decode(), (width, height), content[12 + length :])
    image.save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()
