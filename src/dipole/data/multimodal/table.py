"""A table whose columns are modalities -> a set of rows: Parquet, CSV, TSV or JSON lines, files beside it."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from dipole.data.decode import check_image_file
from dipole.data.multimodal.checked_sources import checked_sources
from dipole.data.multimodal.columns import (
    KINDS,
    Categories,
    Column,
    ImageFiles,
    Kind,
    SoundFiles,
    Texts,
    Vectors,
)
from dipole.data.multimodal.kinds import infer_kind, parsed
from dipole.data.multimodal.modality_set import ModalitySet, unknown_column
from dipole.data.multimodal.sounds import check_sound_file
from dipole.data.multimodal.stored_vectors import StoredVectors
from dipole.data.multimodal.table_files import Cells, read_columns, texts_of
from dipole.data.stored import Cells as Stored
from dipole.data.stored import Coded, Columns, Made, filled
from dipole.data.tables import as_text
from dipole.errors import InputError
from dipole.ops.checks import check_choice

logger = logging.getLogger(__name__)
ID, SPLIT, LABEL = "id", "split", "label"
LARGEST_NUMBER = float(np.finfo(np.float32).max)
VECTORS_IN_MEMORY = 100_000  # rows
TRAIN, TEST = ("train", "training"), ("test", "val", "valid", "validation")


@dataclass(frozen=True)
class Reading:
    """How a table is read.

    Args:
        modalities: names of the columns that are modalities, with their kinds; a kind of None is inferred. All columns
            but `id`, `split` and the label if it is None.
        image_size: side in pixels of the squares that image files are decoded to.
        sample_rate: samples a second that sound files are decoded at.
        seconds: of a sound that are read; shorter ones are filled with silence.
        sound_crop: which part of a longer one training hears: the `"first"`, or a `"random"` one.
        label: column of the classes.
        partial: whether columns of `modalities` that do not exist are passed over, as long as one does.
        encoding: of text, e.g. `latin-1`.
        check: which files and contents are looked at when a table is opened: `"drawn"`, up to 50,000 all of a column
            and of more 10,000 that are drawn, or `"all"`.
    """

    modalities: Mapping[str, Kind | None] | None = None
    image_size: int = 96
    sample_rate: int = 16000
    seconds: float = 2.0
    sound_crop: Literal["first", "random"] = "first"
    label: str = LABEL
    partial: bool = False
    encoding: str = "utf-8"
    check: Literal["drawn", "all"] = "drawn"

    def __post_init__(self) -> None:
        check_choice(self.check, ("drawn", "all"), "check")
        for name, value in (("image_size", self.image_size), ("sample_rate", self.sample_rate)):
            if value < 1:
                raise InputError(f"{name} is {value}: expected 1 or more.")
        if not 0 < self.seconds * self.sample_rate < 2**31:
            raise InputError(f"seconds is {self.seconds}: expected a number above 0.")
        check_choice(self.sound_crop, ("first", "random"), "sound_crop")


def parse_modalities(text: str | None) -> dict[str, Kind | None] | None:
    """Read `name`, `name:kind` from a list with commas.

    Raises:
        InputError: a kind that does not exist, or a name that is given twice.

    Example:
        >>> parse_modalities("photo, caption:text")
        {'photo': None, 'caption': 'text'}
    """
    if text is None:
        return None
    found: dict[str, Kind | None] = {}
    for part in text.split(","):
        name, _, kind = (piece.strip() for piece in part.partition(":"))
        if kind and kind not in KINDS:
            raise InputError(f"modalities names the kind {kind!r} for {name!r}: choose from {', '.join(KINDS)}.")
        if not name or name in found:
            raise InputError(
                f"modalities is {text!r}: expected names of columns, each once, e.g. 'photo,caption:text'."
            )
        found[name] = kind or None  # type: ignore[assignment]
    return found


def load_table(path: str | Path, reading: Reading | None = None) -> tuple[ModalitySet, Sequence[str | None] | None]:
    """Read a table.

    A column is an image file, a sound file, a text or a list of texts, a list of numbers, or a category; which of them
    is inferred from its cells unless it is given. A file is a path relative to the table's folder or, in Parquet, the
    content of the file: alone, or as `{"bytes": …, "path": …}`, as the library `datasets` writes it. A cell that is
    empty or null is missing; so is a file that cannot be read and a vector with an entry that is no number, which are
    listed in `skipped`, and one warning is logged.

    The columns `id` (names of the rows), `split` (`train`, `test`) and `label` (classes to evaluate with) are no
    modalities unless they are asked for.

    Args:
        path: a .parquet, .csv, .tsv or .jsonl file.
        reading: how.

    Returns:
        The rows, and the split of each row if there is such a column.

    Raises:
        InputError: the file cannot be read, a column does not exist or is not of its kind, or nothing is left.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "pairs.csv"
        >>> _ = path.write_text('caption,sensor\\na cat,"[0.5, 1.0]"\\na dog,\\n')
        >>> load_table(path)[0]
        ModalitySet('pairs.csv', 2 rows, caption: text, sensor: vector)
    """
    path, reading = Path(path), reading or Reading()
    cells = read_columns(path, reading.encoding)
    named = {ID, SPLIT, reading.label}
    wanted = reading.modalities or {name: None for name in cells if name not in named}
    if reading.partial and any(name in cells for name in wanted):
        wanted = {name: kind for name, kind in wanted.items() if name in cells}
    # The class column is there to be found only if somebody asks for one by another name.
    for name in (*wanted, *([reading.label] if reading.label != LABEL else [])):
        if name not in cells:
            raise unknown_column(path.name, name, list(cells))
    if not wanted:
        raise InputError(f"{path} has no column of a modality: columns {', '.join(cells)}.")
    skipped: list[tuple[str, str]] = []
    columns = {
        name: column_of(path, name, cells[name], kind or kind_of_cells(cells[name]), reading, skipped)
        for name, kind in wanted.items()
    }
    for name, column in columns.items():
        if not bool(column.present.any()):
            why = f" ({skipped[0][0]}: {skipped[0][1]})" if skipped else ""
            raise InputError(f"{path}: column {name!r} holds no {column.kind} that can be read{why}.")
    if skipped:
        logger.warning("%s: %d cells left out, %s: %s ...", path.name, len(skipped), *skipped[0])
    ids = Made(cells[ID], _named) if ID in cells else None
    labels = Coded(map(as_text, cells[reading.label])) if reading.label in cells else None
    split = Coded(map(as_text, cells[SPLIT])) if SPLIT in cells and SPLIT not in wanted else None
    notes = cells.store.notes if isinstance(cells, Columns) else ()
    return ModalitySet(path.name, columns, ids, labels, [*notes, *skipped]), split


def _named(row: int, value: Any) -> str:
    """Name of a row."""
    return as_text(value) or str(row)


def kind_of_cells(cells: Cells) -> Kind:
    """Return what a column holds: as the source says, else as its cells show it."""
    said = cells.store.kinds.get(cells.name) if isinstance(cells, Stored) else None
    return infer_kind(cells) if said is None else said  # type: ignore[return-value]


def column_of(
    path: Path, name: str, cells: Cells, kind: Kind, reading: Reading, skipped: list[tuple[str, str]]
) -> Column:
    """Return the cells of a column as a kind.

    Args:
        path: of the table; paths in its cells are relative to its folder.
        name: of the column.
        cells: as the table holds them.
        kind: see `KINDS`.
        reading: how images and sounds are read.
        skipped: to which what cannot be read is added, with the reason; such cells count as missing.

    Raises:
        InputError: numbers that are none, or vectors of different widths.
    """
    folder = cells.store.folder if isinstance(cells, Stored) else path.parent
    everything = reading.check == "all"
    if kind == "image":
        sources, present = checked_sources(folder, name, cells, check_image_file, skipped, everything=everything)
        return ImageFiles(sources, present, reading.image_size)
    if kind == "sound":
        sources, present = checked_sources(folder, name, cells, check_sound_file, skipped, everything=everything)
        samples = max(1, round(reading.seconds * reading.sample_rate))
        return SoundFiles(sources, present, reading.sample_rate, samples, crop=reading.sound_crop)
    if kind == "text":
        return Texts(Made(cells, _texts), torch.from_numpy(filled(cells)))
    if kind == "category":
        return Categories(Coded(map(as_text, cells)))
    if isinstance(cells, Stored) and len(cells) > VECTORS_IN_MEMORY:
        return StoredVectors(path, cells, skipped)
    return _vectors(path, name, cells, skipped)


def _texts(row: int, value: Any) -> list[str]:
    """Texts of a cell."""
    return texts_of(value)


def _vectors(path: Path, name: str, cells: Cells, skipped: list[tuple[str, str]]) -> Vectors:
    """Vectors of one width."""
    rows: list[list[float] | None] = []
    width, first = 0, 0
    for row, value in enumerate(cells):
        value = parsed(value)
        if value is None or value == []:
            rows.append(None)
            continue
        try:
            vector = [float(number) for number in (value if isinstance(value, list) else [value])]
        except (TypeError, ValueError) as error:
            raise InputError(f"{path}: {name!r} of row {row + 1} is {value!r}: expected numbers.") from error
        if width and len(vector) != width:
            raise InputError(
                f"{path}: {name!r} has {len(vector)} numbers in row {row + 1} and {width} in row {first + 1}: expected "
                "as many in each row."
            )
        width, first = width or len(vector), first if width else row
        if (np.abs(vector) <= LARGEST_NUMBER).all():  # False for NaN
            rows.append(vector)
        else:
            rows.append(None)
            skipped.append((f"{name} row {row + 1}", "it holds a value that is no number, or too large"))
    values = torch.tensor([[0.0] * width if vector is None else vector for vector in rows])
    return Vectors(values.view(len(rows), width), torch.tensor([vector is not None for vector in rows]))
