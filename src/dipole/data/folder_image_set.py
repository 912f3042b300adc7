"""A set of image files, decoded when they are needed."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from dipole.data.decode import UnreadableImageError, decode_crops, decode_image
from dipole.data.image_set import ImageSet
from dipole.errors import InputError


class FolderImageSet(ImageSet):
    """Image files that are decoded when they are fetched, so that memory does not grow with their number.

    To embed, every image comes as the centre square of its picture at `size` x `size`; to train, as crops of all of it
    (`fetch_crops`). `num_workers` of the loader decodes batches in parallel.

    Args:
        name: name of the set.
        folder: what the paths are relative to.
        paths: the image files, relative to `folder`; they become the `ids`.
        size: side of the square in pixels.
        labels: class index of every image, by kind; the main kind is `"label"`.
        class_names: names of the classes, by kind.
        skipped: `(path, reason)` of the files that were left out.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        paths: Sequence[str],
        size: int,
        labels: Mapping[str, Tensor] | None = None,
        class_names: Mapping[str, Sequence[str]] | None = None,
        skipped: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(name, paths, (size, size), labels, class_names, skipped=skipped)
        self.folder = Path(folder)

    def fetch(self, indices: Int64[Tensor, " n"]) -> UInt8[Tensor, "n 3 h w"]:
        """Decode the images at `indices`, in that order.

        Raises:
            InputError: a file cannot be decoded although it passed the check at the start. It is not replaced or
                left out in silence: batches and labels would no longer be what the run says they are.
        """
        size = self.input_shape[1]
        return torch.stack([self._decoded(index, decode_image, size) for index in indices.tolist()])

    def fetch_crops(
        self, indices: Int64[Tensor, " n"], boxes: Callable[[int, int, int], Tensor], size: int
    ) -> UInt8[Tensor, "v n 3 size size"]:
        """Decode crops of the whole photos at `indices`, each resized to `size` x `size`.

        Args:
            indices: which images.
            boxes: of the row in `indices`, the image's height and its width: (V, 4) top, left, height, width.
            size: side of the crops in pixels.

        Raises:
            InputError: as in `fetch`.
        """
        rows = enumerate(indices.tolist())
        return torch.stack(
            [self._decoded(index, decode_crops, size, partial(boxes, row)) for row, index in rows], dim=1
        )

    def _decoded(self, index: int, decode: Callable[..., np.ndarray], *arguments: Any) -> Tensor:
        """What a function of `dipole.data.decode` makes of an image."""
        path = self.folder / self.ids[index]
        try:
            return torch.from_numpy(decode(path, *arguments))
        except UnreadableImageError as error:
            raise InputError(
                f"cannot decode {path}: {error}. The file passed the quick check at the start (header and end). "
                "Repair it or move it away, then resume; dipole.data.unreadable_images(folder) decodes every "
                "file and lists all that fail."
            ) from error

    def select(self, indices: Int64[Tensor, " n"]) -> "FolderImageSet":
        """Return the set of the images at `indices`, in that order, with their labels and ids."""
        return FolderImageSet(
            self.name,
            self.folder,
            [self.ids[index] for index in indices.tolist()],
            self.input_shape[1],
            self._selected_labels(indices),
            self.class_names,
            self.skipped,
        )
