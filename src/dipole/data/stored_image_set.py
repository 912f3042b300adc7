"""Images in Parquet, WebDataset or LitData, decoded when they are needed."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from dipole.data.decode import check_image_file
from dipole.data.image_set import ImageSet
from dipole.data.multimodal.checked_sources import checked_sources
from dipole.data.multimodal.columns import ImageFiles
from dipole.data.multimodal.table import ID, SPLIT, kind_of_cells
from dipole.data.splits import stratified_split
from dipole.data.stored import Cells, Coded, Made, Store
from dipole.data.tables import as_text
from dipole.errors import InputError

logger = logging.getLogger(__name__)
LABEL = "label"
MOST_CLASSES, LOOKED_AT = 100_000, 1000


class StoredImageSet(ImageSet):
    """Images of a table whose rows stay on disk; see `FolderImageSet`, whose images are files.

    Args:
        name: name of the set.
        column: the images.
        rows: (N,) which rows of the table the images are.
        row_ids: names of all rows of the table.
        labels: class index of every image, by kind.
        class_names: names of the classes, by kind.
        skipped: `(what, reason)` of what was left out.
    """

    def __init__(
        self,
        name: str,
        column: ImageFiles,
        rows: Int64[Tensor, " n"],
        row_ids: Sequence[str],
        labels: dict[str, Tensor] | None = None,
        class_names: dict[str, Sequence[str]] | None = None,
        skipped: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.column, self.rows, self.row_ids = column, rows, row_ids
        ids = Picked(row_ids, rows)
        super().__init__(name, ids, (column.size, column.size), labels, class_names, skipped=skipped)

    def fetch(self, indices: Int64[Tensor, " n"]) -> UInt8[Tensor, "n 3 h w"]:
        """Decode the images at `indices`, in that order.

        Raises:
            InputError: one is damaged inside.
        """
        return torch.stack([self.column.read(row) for row in self.rows[indices].tolist()])

    def fetch_crops(
        self, indices: Int64[Tensor, " n"], boxes: Callable[[int, int, int], Tensor], size: int
    ) -> UInt8[Tensor, "v n 3 size size"]:
        """Decode crops of the whole photos at `indices`; see `FolderImageSet.fetch_crops`."""
        photos = self.column.to_train()
        photos.size = size
        rows = enumerate(self.rows[indices].tolist())
        return torch.stack([photos.read(row).crops(partial(boxes, place)) for place, row in rows], dim=1)

    def select(self, indices: Int64[Tensor, " n"]) -> "StoredImageSet":
        """Return the set of the images at `indices`, in that order, with their labels and ids."""
        return StoredImageSet(
            self.name,
            self.column,
            self.rows[indices],
            self.row_ids,
            self._selected_labels(indices),
            dict(self.class_names),
            self.skipped,
        )


class Picked(Sequence[str]):
    """Some values of a sequence, in an order.

    Example:
        >>> list(Picked(["a", "b", "c"], torch.tensor([2, 0])))
        ['c', 'a']
    """

    def __init__(self, values: Sequence[str], rows: Int64[Tensor, " n"]) -> None:
        self.values, self.rows = values, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        """Return a value, or several."""
        if isinstance(index, slice):
            return [str(self.values[row]) for row in self.rows[index].tolist()]
        return str(self.values[int(self.rows[index])])


def load_stored_images(store: Store, size: int, column: str | None = None, check: str = "drawn") -> StoredImageSet:
    """Return all images of a table; its class column is `label`, or the only one whose type says that it holds classes.

    Columns of which few different values occur are further kinds of labels; classes that miss in a row are not used.
    Rows without an image that can be read are left out and counted.

    Args:
        store: the table.
        size: side in pixels of the squares that images are decoded to.
        column: of the images; the only one that holds images if None.
        check: `"drawn"`, or `"all"` to look at every image of very many.

    Raises:
        InputError: there is no such column, or several, or no image.
    """
    if size < 1:
        raise InputError(f"the image size is {size}: expected 1 or more pixels.")
    name = _image_column(store, column)
    skipped: list[tuple[str, str]] = list(store.notes)
    cells = store.cells()
    sources, present = checked_sources(
        store.folder, name, cells[name], check_image_file, skipped, everything=check == "all"
    )
    rows = present.nonzero().flatten()
    missing = len(store) - len(rows)
    if not len(rows):
        raise InputError(f"{store.name}: column {name!r} holds no image that can be read.")
    if missing:
        said = "%s: %d of %d rows have no image that can be read and are left out."
        logger.warning(said, store.name, missing, len(store))
        skipped.append((f"{missing} rows", "no image that can be read"))
    row_ids = Made(cells[ID], _named) if ID in store else Numbered(len(store))
    labels: dict[str, Tensor] = {}
    names: dict[str, Sequence[str]] = {}
    for kind in _class_columns(store, name):
        coded = Coded(map(as_text, cells[kind]))
        found = _classes(store.name, kind, coded, rows)
        if found is not None:
            labels[kind], names[kind] = found
    typed = [kind for kind in labels if store.kinds.get(kind) == "category"]
    if LABEL not in labels and len(typed) == 1:
        labels[LABEL], names[LABEL] = labels[typed[0]], names[typed[0]]
    return StoredImageSet(store.name, ImageFiles(sources, present, size), rows, row_ids, labels, names, skipped)


def load_stored_image_sets(
    store: Store, size: int, column: str | None = None, check: str = "drawn"
) -> tuple[StoredImageSet, StoredImageSet]:
    """Return training and test images of a table: by its column `split`, or every fifth of each class to test.

    Raises:
        InputError: as of `load_stored_images`; or a part has too few images.
    """
    whole = load_stored_images(store, size, column, check)
    if SPLIT in store:
        split = Coded(map(as_text, store.cells()[SPLIT]))
        names = np.array([name.lower() in ("train", "training") for name in split.names] + [False])
        in_train = torch.from_numpy(names[split.codes])[whole.rows]
        parts = (whole.select(in_train.nonzero().flatten()), whole.select((~in_train).nonzero().flatten()))
    else:
        labels = whole.labels.get(LABEL, torch.zeros(len(whole), dtype=torch.long))
        train, test = stratified_split(labels)
        if not len(test):
            train, test = stratified_split(torch.zeros_like(labels))
        parts = (whole.select(train), whole.select(test))
    if len(parts[0]) < 2 or len(parts[1]) < 1:
        raise InputError(
            f"{store.name} gives {len(parts[0])} training and {len(parts[1])} test images: at least 2 and 1 are needed."
        )
    return parts


class Numbered(Sequence[str]):
    """The numbers from 0 as names.

    Example:
        >>> list(Numbered(2))
        ['0', '1']
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        """Return a name, or several."""
        if isinstance(index, slice):
            return [str(row) for row in range(*index.indices(self.size))]
        if not 0 <= index < self.size:
            raise IndexError(index)
        return str(index)


def _named(row: int, value: object) -> str:
    return as_text(value) or str(row)


def _image_column(store: Store, column: str | None) -> str:
    """The column of the images.

    Raises:
        InputError: it does not exist, or which one it is is not clear.
    """
    if column is not None:
        if column not in store:
            raise InputError(f"{store.name} has no column {column!r}: it has {', '.join(store.columns)}.")
        return column
    cells = store.cells()
    found = [name for name in store.columns if name not in (ID, SPLIT) and kind_of_cells(cells[name]) == "image"]
    if len(found) == 1:
        return found[0]
    what = f"several columns of images ({', '.join(found)})" if found else "no column of images"
    raise InputError(f"{store.name} has {what}, of {', '.join(store.columns)}: name one with --loading.column NAME.")


def _class_columns(store: Store, image: str) -> list[str]:
    """Columns that hold classes: `label`, those whose type says so, and those of which few different values occur."""
    columns = store.cells()
    others = [name for name in store.columns if name not in (ID, SPLIT, LABEL, image)]
    said = [name for name in others if store.kinds.get(name) == "category"]
    seen = [name for name in others if name not in said and _repeats(columns[name])]
    return [*([LABEL] if LABEL in store else []), *said, *seen]


def _repeats(cells: Cells) -> bool:
    """Whether the first cells are texts or whole numbers of which each occurs five times on average, or oftener."""
    first = [cell for cell in islice(cells, LOOKED_AT) if cell is not None]
    if not all(isinstance(cell, str | int) for cell in first):
        return False
    return 2 <= len({as_text(cell) for cell in first}) <= len(first) // 5


def _classes(name: str, kind: str, coded: Coded, rows: Tensor) -> tuple[Tensor, list[str]] | None:
    """Class indices of rows, of names in order; nothing where one is missing or all are alike, which is said."""
    codes = torch.from_numpy(coded.codes).long()[rows]
    missing, used = int((codes < 0).sum()), len(codes[codes >= 0].unique())
    if missing or used < 2 or len(coded.names) > MOST_CLASSES:
        why = f"{missing} of {len(rows)} images have none" if missing else f"it has {used} different values"
        logger.warning("%s: the column %r is not used as classes: %s.", name, kind, why)
        return None
    order = sorted(range(len(coded.names)), key=lambda place: _sortable(coded.names[place]))
    place = torch.empty(len(order), dtype=torch.long)
    place[torch.tensor(order)] = torch.arange(len(order))
    return place[codes], [coded.names[number] for number in order]


def _sortable(name: str) -> tuple[int, int, str]:
    """Numbers by their value, before names."""
    return (0, int(name), name) if name.isdecimal() and len(name) < 19 else (1, 0, name)
