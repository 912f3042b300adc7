"""A table that says something of each image: classes, numbers, populations."""

import logging
import unicodedata
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from dipole.data.tables import Table, read_table
from dipole.errors import InputError

logger = logging.getLogger(__name__)
ID_COLUMNS = ("id", "image", "file", "filename", "file_name", "path", "name")


class LabelTable:
    """Rows of a table by image.

    An image is found by its id, which for files is the path below the folder; else by the file's name, else by the name
    without its suffix, where no two images share it. Rows without an image are counted in a warning.

    Args:
        path: of the table.
        ids: of all images.
        id_column: that names the images; the first of id, image, file, filename, path and name that there is if None.

    Raises:
        InputError: the table cannot be read, has no such column, names an image twice, or names none of the images.
    """

    def __init__(self, path: str | Path, ids: Sequence[str], id_column: str | None = None) -> None:
        self.table: Table = read_table(Path(path).expanduser()).whole()
        lower = {name.lower(): name for name in self.table.columns}
        column = id_column or next((lower[name] for name in ID_COLUMNS if name in lower), None)
        if column not in self.table.columns:
            raise InputError(
                f"{path} has no column {column or 'of images'!r}: it has {', '.join(self.table.columns)}. Name it with "
                "--loading.id_column."
            )
        self.id_column = column
        self.rows = self._matched(ids, [cell or "" for cell in self.table.ids(column)])

    def _matched(self, ids: Sequence[str], names: list[str]) -> list[int | None]:
        """The row of each image."""
        if len(set(ids)) < len(ids):
            raise InputError("training and test images have the same names, so a table cannot tell them apart.")
        spellings = (str, lambda text: PurePosixPath(text).name, lambda text: PurePosixPath(text).stem)
        for spelling in spellings:
            images = [unicodedata.normalize("NFC", spelling(each)) for each in ids]
            if len(set(images)) < len(images) and spelling is not str:
                continue
            places: dict[str, int] = {}
            for row, name in enumerate(names):
                key = unicodedata.normalize("NFC", spelling(name.replace("\\", "/").removeprefix("./")))
                if key in places and key in set(images):
                    raise InputError(
                        f"{self.table.path}: {name!r} stands in rows {self.table.line(places[key])} and "
                        f"{self.table.line(row)}: keep one row for each image."
                    )
                places.setdefault(key, row)
            found = [places.get(image) for image in images]
            if any(row is not None for row in found):
                used = {row for row in found if row is not None}
                if len(used) < len(names):
                    missing = next(row for row in range(len(names)) if row not in used)
                    logger.warning(
                        "%s: %d rows belong to no image and are left out (first: %r).",
                        self.table.path,
                        len(names) - len(used),
                        names[missing],
                    )
                return found
        raise InputError(
            f"{self.table.path}: column {self.id_column!r} names none of the images (it has {names[0]!r}, an image is "
            f"{ids[0]!r}): name another with --loading.id_column."
        )

    def _require(self, column: str) -> None:
        if column not in self.table.columns:
            raise InputError(
                f"{self.table.path} has no column {column!r}: it has {', '.join(self.table.columns)}. Choose one with "
                "--loading.label_column."
            )

    def names(self, column: str) -> list[str | None]:
        """Return the cell of each image as text; None without a row or where the cell is empty.

        Raises:
            InputError: there is no such column.
        """
        self._require(column)
        cells = self.table.ids(column)
        return [None if row is None else cells[row] for row in self.rows]

    def numbers(self, column: str) -> np.ndarray:
        """Return the number of each image (N,); NaN without a row.

        Raises:
            InputError: there is no such column, or a cell that is no finite number.
        """
        self._require(column)
        values = self.table.numbers(column)
        for row in self.rows:
            if row is not None and not np.isfinite(values[row]):
                cell = self.table.cells(column)[row]
                raise InputError(
                    f"{self.table.path}: column {column!r}, row {self.table.line(row)} is {cell!r}: expected a finite "
                    "number. Remove the row, which leaves the image out, or fill it in."
                )
        return np.array([np.nan if row is None else values[row] for row in self.rows])
