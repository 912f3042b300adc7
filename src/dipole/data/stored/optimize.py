"""Any images, texts or rows of modalities -> a folder of LitData's chunks."""

import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dipole.data.source import Content
from dipole.data.stored.chunk_store import BEGUN as NOTE
from dipole.errors import InputError
from dipole.files import read_json, write_json

CHUNK_BYTES = 64_000_000
MISSING = "dipole data optimize needs litdata: pip install 'dipole[stream]'."
Values = Mapping[str, Callable[[int], Any]]


@dataclass(frozen=True)
class Rows:
    """What is written.

    Args:
        count: of the rows.
        values: for each column, what makes a field of a row's number: bytes, text, or an array of float32.
    """

    count: int
    values: Values

    def __call__(self, row: int) -> dict[str, Any]:
        """Return an item as LitData takes it."""
        from litdata.types import Text

        made = {name: value(row) for name, value in self.values.items()}
        # A plain string that is the path of a file would be replaced by the file.
        return {name: Text(text=value) if isinstance(value, str) else value for name, value in made.items()}


def optimize(data: str, out: str | Path, *, data_root: str | Path | None = None, workers: int = 1) -> int:
    """Write a folder that LitData streams and that `dipole` reads in any order; what was interrupted goes on.

    Args:
        data: a folder of images, a table, shards, or a named set of images or texts.
        out: folder to write.
        data_root: folder of named sets.
        workers: processes that write.

    Returns:
        The number of rows.

    Raises:
        InputError: litdata is not installed, the data cannot be read, or `out` holds something else.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import litdata
    except ImportError as error:
        raise InputError(MISSING) from error
    out = Path(out)
    if (out / "index.json").exists() or (out.exists() and not (out / NOTE).is_file() and any(out.iterdir())):
        raise InputError(f"{out} exists already and holds something: choose another folder.")
    rows = _rows(data, data_root)
    workers = max(1, min(workers, rows.count))
    task = {"data": str(Path(data).absolute()) if Path(data).exists() else data, "rows": rows.count, "workers": workers}
    if (out / NOTE).is_file() and read_json(out / NOTE) != task:
        raise InputError(
            f"{out} was begun with {read_json(out / NOTE)}, not {task}: go on with the same, or delete it."
        )
    write_json(out / NOTE, task)
    with warnings.catch_warnings(), _working_in(out / ".cache"):
        warnings.simplefilter("ignore")
        litdata.optimize(
            rows, list(range(rows.count)), str(out), num_workers=workers, chunk_bytes=CHUNK_BYTES, use_checkpoint=True,
            reorder_files=False, keep_data_ordered=True, verbose=False,
        )  # fmt: skip
    (out / NOTE).unlink()
    return rows.count


@contextmanager
def _working_in(folder: Path) -> Iterator[None]:
    """Let LitData keep what it has not finished in a folder, which goes away when all is done."""
    name = "DATA_OPTIMIZER_CACHE_FOLDER"
    before = os.environ.get(name)
    os.environ[name] = before or str(folder)
    try:
        yield
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        if before is None:
            del os.environ[name]


def _rows(data: str, root: str | Path | None) -> Rows:
    """What a source holds."""
    from dipole.data import available
    from dipole.data.stored import find_store
    from dipole.data.tables import EXTENSIONS, table_suffix
    from dipole.data.text import available_texts

    if data in {info.name for info in available()}:
        return _images(data, root)
    if data in {info.name for info in available_texts()}:
        return _texts(data, root)
    if find_store(data, root) is not None or table_suffix(data) in EXTENSIONS:
        return _table(data, root)
    return _images(data, root)


def _images(data: str, root: str | Path | None) -> Rows:
    """Images of a folder or a named set with their classes and parts; files as they are."""
    from dipole.data import load_image_sets

    sets = load_image_sets(data, root)
    places = [(number, row) for number, each in enumerate(sets) for row in range(len(each))]
    values: dict[str, Callable[[int], Any]] = {
        "image": partial(_image, sets, places),
        "id": partial(_id, sets, places),
        "split": partial(_split, places),
    }
    for kind in sets[0].labels:
        values[kind] = partial(_label, sets, places, kind)
    return Rows(len(places), values)


def _image(sets: Sequence[Any], places: Sequence[tuple[int, int]], row: int) -> bytes:
    import torch

    images, index = sets[places[row][0]], places[row][1]
    if hasattr(images, "folder"):
        return bytes((images.folder / images.ids[index]).read_bytes())
    return _png(images.fetch(torch.tensor([index]))[0].numpy())


def _png(pixels: np.ndarray) -> bytes:
    """An image (3, H, W) as a file."""
    from io import BytesIO

    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))).save(buffer, "PNG")
    return buffer.getvalue()


def _id(sets: Sequence[Any], places: Sequence[tuple[int, int]], row: int) -> str:
    return str(sets[places[row][0]].ids[places[row][1]])


def _split(places: Sequence[tuple[int, int]], row: int) -> str:
    return ("train", "test")[places[row][0]]


def _label(sets: Sequence[Any], places: Sequence[tuple[int, int]], kind: str, row: int) -> str:
    images = sets[places[row][0]]
    return str(images.class_names[kind][int(images.labels[kind][places[row][1]])])


def _texts(data: str, root: str | Path | None) -> Rows:
    """The records of a named set of texts."""
    from dipole.data.text import load_texts

    texts = load_texts(data, root)
    return Rows(len(texts), {name: partial(_record, texts, name) for name in texts.columns})


def _record(texts: Any, name: str, row: int) -> str:
    return _said(texts[row].get(name))


def _said(value: Any) -> str:
    """Text, or several texts as a list in JSON."""
    import json

    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _table(data: str, root: str | Path | None) -> Rows:
    """The columns of a table; cells that are missing or cannot be read are empty."""
    from dipole.data.multimodal import load_rows
    from dipole.data.multimodal.registry import table_path
    from dipole.data.multimodal.table_files import read_columns

    rows, cells = load_rows(data, root), read_columns(table_path(data, root))
    values: dict[str, Callable[[int], Any]] = {}
    for name, column in rows.columns.items():
        make = {"image": _content, "sound": _content, "vector": _vector}.get(column.kind)
        values[name] = partial(_text_cell, column) if make is None else partial(make, column)
    for name in ("id", "label", "split"):
        if name in cells and name not in values:
            values[name] = partial(_cell, cells[name])
    return Rows(len(rows), values)


def _content(column: Any, row: int) -> bytes:
    source = column.sources[row] if bool(column.present[row]) else None
    if source is None:
        return b""
    return bytes(source.content if isinstance(source, Content) else source.read_bytes())


def _vector(column: Any, row: int) -> np.ndarray:
    found = column.read(row).numpy().astype(np.float32) if bool(column.present[row]) else np.zeros(0, np.float32)
    return np.ascontiguousarray(found)


def _text_cell(column: Any, row: int) -> str:
    found = column.read(row) if bool(column.present[row]) else ""
    return _said(found[0] if isinstance(found, list) and len(found) == 1 else found)


def _cell(cells: Any, row: int) -> str:
    value = cells[row]
    return "" if value is None else str(value)
