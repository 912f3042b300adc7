"""A set of images in memory."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from dipole.data.image_set import ImageSet
from dipole.errors import InputError


class TensorImageSet(ImageSet):
    """Images that lie in memory as one tensor; grey ones take a third of the room until they are fetched.

    Args:
        name: name of the set.
        images: uint8 (N, 1, H, W) or (N, 3, H, W).
        labels: class index of every image, by kind; the main kind is `"label"`.
        class_names: names of the classes, by kind; missing kinds are named `"0"`, `"1"`, ...
        ids: one name per image; numbered when not given.
        default_size: side that views are made at by default; min(H, W) when not given.

    Raises:
        InputError: the images are no uint8 images, or the labels do not fit them.

    Example:
        >>> images = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
        >>> blank = TensorImageSet("blank", images, {"label": torch.tensor([0, 1, 0, 1])})
        >>> blank.fetch(torch.tensor([3, 1])).shape, blank.class_names
        (torch.Size([2, 3, 8, 8]), {'label': ('0', '1')})
    """

    def __init__(
        self,
        name: str,
        images: Tensor,
        labels: Mapping[str, Tensor] | None = None,
        class_names: Mapping[str, Sequence[str]] | None = None,
        ids: Sequence[str] | None = None,
        default_size: int | None = None,
    ) -> None:
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3) or images.numel() == 0:
            raise InputError(
                f"{name}: images are {images.dtype} of shape {tuple(images.shape)}, expected uint8 (N, 1 or 3, H, W) "
                "with N, H, W above 0. Floats in [0, 1] become uint8 with (255 * x).round().byte()."
            )
        names = dict(class_names or {})
        for kind, values in (labels or {}).items():
            names.setdefault(kind, [str(index) for index in range(int(values.max()) + 1 if len(values) else 0)])
        super().__init__(
            name,
            ids if ids is not None else [str(index) for index in range(len(images))],
            (images.shape[2], images.shape[3]),
            labels,
            names,
            default_size,
        )
        if len(self.ids) != len(images):
            raise InputError(f"{name}: {len(self.ids)} ids for {len(images)} images: give one an image.")
        self.images = images

    def fetch(self, indices: Int64[Tensor, " n"]) -> UInt8[Tensor, "n 3 h w"]:
        """Return the images at `indices`, in that order, with three channels."""
        return self.images[indices].expand(-1, 3, -1, -1).contiguous()

    def select(self, indices: Int64[Tensor, " n"]) -> "TensorImageSet":
        """Return the set of the images at `indices`, in that order, with their labels and ids."""
        return TensorImageSet(
            self.name,
            self.images[indices],
            self._selected_labels(indices),
            self.class_names,
            [self.ids[index] for index in indices.tolist()],
            self.default_size,
        )
