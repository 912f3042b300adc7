"""Boxes found by name, in pictures with boxes of COCO's format."""

from typing import Any, ClassVar

from dipole.data.coco import read_coco
from dipole.errors import InputError
from dipole.evaluation.materials import ModalityMaterial
from dipole.evaluation.protocol import Measured, Protocol


class Detection(Protocol):
    """Average precision of boxes at an overlap of one half, of names that were trained on and of the others.

    The names are the categories of the file. As `dipole detect RUN --coco FILE` measures, beside the untrained model.

    Args:
        boxes: file of COCO's format.
        images: folder of its pictures; that of the file if None.
        base: of the names, those that were trained on, with commas; all others are novel.
        background: what nothing is called.
        nms: overlap above which the worse box is left out.
        most: boxes of a picture.
    """

    name: ClassVar[str] = "detection"
    domains = ("multimodal",)
    measures = "average_precision"
    by_default = False

    def __init__(
        self,
        boxes: str = "",
        images: str | None = None,
        base: str = "",
        background: str = "background",
        nms: float = 0.5,
        most: int = 100,
    ) -> None:
        self.boxes, self.images, self.background = boxes, images, background
        self.base = [name.strip() for name in base.split(",") if name.strip()]
        self.settings: dict[str, Any] = {"nms_threshold": nms, "maximum": most}

    def lacks(self, material: ModalityMaterial) -> str | None:
        """A method that detects."""
        return None if material.able(self.measures) else "the method finds no boxes: train dito"

    def measure(self, material: ModalityMaterial) -> Measured:
        """Return the columns `AP50 base`, `AP50 novel`, `AP50` and `AP`, the mean over overlaps from 0.50 to 0.95.

        Raises:
            InputError: there is no file of boxes, or a base name is not among its names.
        """
        if not self.boxes:
            raise InputError("the protocol detection needs --protocol.boxes: a file of COCO's format.")
        pictures, names = read_coco(self.boxes, self.images)
        rows = {}
        for name, one in material.able(self.measures).items():
            found = one.average_precision(pictures, names, self.base, background=self.background, **self.settings)
            columns = {"AP50 base": found.base, "AP50 novel": found.novel, "AP50": found.all, "AP": found.coco}
            rows[name] = {column: value for column, value in columns.items() if value is not None}
        return Measured(rows, {"pictures": len(pictures), "base names": ", ".join(self.base)}, data=str(self.boxes))
