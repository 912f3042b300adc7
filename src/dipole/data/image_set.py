"""What every set of images offers, whatever it is stored in."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from dipole.errors import InputError


class ImageSet(Dataset[dict[str, Tensor]], ABC):
    """Images of one shape with ids and, where they are known, labels.

    A `DataLoader` asks it for whole batches (`__getitems__`), which come as a dictionary: `images` uint8
    (N, 3, H, W), `index` (N,) and one entry (N,) per kind of label. Give the loader `collate_fn=lambda batch: batch`.

    Attributes:
        name: name of the set, e.g. `"digits"`.
        ids: one name per image, unique within the data set: a file's path or a number.
        input_shape: `(3, H, W)` of what `fetch` returns.
        labels: class index of every image, by kind; empty without labels. The main kind is `"label"`.
        class_names: the names of the classes, by kind, in the order of the indices.
        default_size: side of the square that views are made at unless the caller asks for another.
        skipped: `(path, reason)` of every file that was found but left out.

    Args:
        name: see above.
        ids: see above; any sequence.
        image_shape: `(H, W)` of the images.
        labels: see above.
        class_names: see above; must have the keys of `labels`.
        default_size: see above; `None` means min(H, W).
        skipped: see above.

    Raises:
        InputError: ids, labels and class names do not fit each other.
    """

    def __init__(
        self,
        name: str,
        ids: Sequence[str],
        image_shape: tuple[int, int],
        labels: Mapping[str, Tensor] | None = None,
        class_names: Mapping[str, Sequence[str]] | None = None,
        default_size: int | None = None,
        skipped: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.name = name
        # Names that are read when they are asked for stay where they are.
        self.ids = tuple(ids) if isinstance(ids, list) else ids
        self.input_shape = (3, *image_shape)
        self.labels = {kind: values.long() for kind, values in (labels or {}).items()}
        self.class_names = {kind: tuple(names) for kind, names in (class_names or {}).items()}
        self.default_size = default_size or min(image_shape)
        self.skipped = tuple(skipped)
        self._check()

    def _check(self) -> None:
        """Refuse labels that cannot belong to these images."""
        if self.labels.keys() != self.class_names.keys():
            raise InputError(
                f"{self.name}: labels of kind {sorted(self.labels)} but class names of kind "
                f"{sorted(self.class_names)}: give both for every kind."
            )
        for kind, values in self.labels.items():
            if values.shape != (len(self.ids),):
                raise InputError(
                    f"{self.name}: {kind!r} has shape {tuple(values.shape)}, expected ({len(self.ids)},): one an image."
                )
            classes = len(self.class_names[kind])
            if values.numel() and (int(values.min()) < 0 or int(values.max()) >= classes):
                raise InputError(
                    f"{self.name}: {kind!r} ranges from {int(values.min())} to {int(values.max())}, expected "
                    f"0 to {classes - 1} for {classes} class names."
                )

    @property
    def num_classes(self) -> int:
        """Number of classes of the main label; 0 without labels."""
        return len(self.class_names.get("label", ()))

    @property
    def seen_labels(self) -> Int64[Tensor, "n"] | None:
        """The main labels (N,) that training may see, −1 where one is not known; None without labels."""
        return self.labels.get("label")

    @abstractmethod
    def fetch(self, indices: Int64[Tensor, " n"]) -> UInt8[Tensor, "n 3 h w"]:
        """Return the images at `indices`, in that order."""

    @abstractmethod
    def select(self, indices: Int64[Tensor, " n"]) -> "ImageSet":
        """Return the set of the images at `indices`, in that order, with their labels and ids."""

    def sample(self, most: int, seed: int = 0) -> "ImageSet":
        """Return at most `most` images, drawn at random without repetition and kept in the order of the set."""
        if len(self) <= most:
            return self
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        return self.select(order[:most].sort().values)

    def _selected_labels(self, indices: Tensor) -> dict[str, Tensor]:
        """Labels of the images at `indices`."""
        return {kind: values[indices] for kind, values in self.labels.items()}

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {key: values[0] for key, values in self.__getitems__([index]).items()}

    def __getitems__(self, indices: list[int]) -> dict[str, Tensor]:
        rows = torch.as_tensor(indices, dtype=torch.long)
        return {"images": self.fetch(rows), **self.known_of(rows)}

    def known_of(self, rows: Int64[Tensor, " n"]) -> dict[str, Tensor]:
        """Return what a batch says of images besides their pixels: `index` and every kind of label."""
        return {"index": rows, **self._selected_labels(rows)}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {len(self)} images, {self.num_classes} classes)"
