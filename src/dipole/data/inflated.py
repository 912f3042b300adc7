"""Real images and generated ones as one training set."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from dipole.data.image_folder import load_images
from dipole.data.image_set import ImageSet
from dipole.data.npz_files import channels_first, read_npz
from dipole.data.samplers import Order
from dipole.data.tensor_image_set import TensorImageSet
from dipole.errors import InputError
from dipole.ops.checks import check_at_least


class Inflation(NamedTuple):
    """How real and generated samples are mixed.

    Attributes:
        share: β, of the real ones among all that are drawn.
        source: (r n + m,) which of the n real and m generated samples each entry of the inflated set is.
        weights: (n + m,) probability with which a sample is drawn.
    """

    share: float
    source: Int64[Tensor, "drawn"]
    weights: Float[Tensor, "unique"]


def inflate(real: int, generated: int, replication: int = 10) -> Inflation:
    """Replicate the real samples r times and add the generated ones once: `β = r n / (r n + m)`.

    With P_t = β P_d + (1 − β) P_g it holds that TV(P_t, P_d) = (1 − β) TV(P_g, P_d).

    Wang, Zhang, Wang: *Do Generated Data Always Help Contrastive Learning?* (ICLR 2024), theorem 3.1.

    Args:
        real: n.
        generated: m.
        replication: r, 10 in the paper, 1 for plain inflation.

    Raises:
        InputError: there is no real sample, or a number is negative, or nothing would be drawn.

    Example:
        >>> inflation = inflate(2, 1, replication=2)
        >>> inflation.share, inflation.source.tolist(), inflation.weights.tolist()
        (0.8, [0, 1, 0, 1, 2], [0.4, 0.4, 0.2])
    """
    check_at_least(real, 1, "real")
    check_at_least(generated, 0, "generated")
    check_at_least(replication, 0, "replication")
    total = replication * real + generated
    if not total:
        raise InputError("a replication of 0 without generated samples leaves nothing to draw.")
    counts = torch.tensor([replication, 1], dtype=torch.float64).repeat_interleave(torch.tensor([real, generated]))
    source = torch.cat([torch.arange(real).repeat(replication), torch.arange(real, real + generated)])
    return Inflation(replication * real / total, source, counts / total)


def adainf_policy(generated: int) -> tuple[int, bool]:
    """Return the replication of the real samples, and whether augmentation is weakened: (10, True) with generated ones.

    Example:
        >>> adainf_policy(1000), adainf_policy(0)
        ((10, True), (1, False))
    """
    return (10, True) if generated else (1, False)


def load_generated(path: str | Path, shape: tuple[int, ...]) -> ImageSet:
    """Read generated images; labels are not read.

    Args:
        path: a folder of images, searched through in the order of their paths and brought to the size of the real ones;
            or an .npz file with `image`, `images` or `x`: uint8 (N, H, W, 3), (N, 3, H, W) or (N, H, W), in RGB.
        shape: (3, H, W) of the real images.

    Raises:
        InputError: there is nothing to read, or the images of an .npz file are of another size or type.
    """
    place = Path(path).expanduser()
    if place.is_dir():
        found = load_images(place, min(shape[1:]))
        if found.skipped:
            raise InputError(
                f"{len(found.skipped)} files in {path} cannot be read, such as {found.skipped[0][0]}: remove them, so "
                "that the mixture is what the settings say."
            )
        return found
    if place.suffix.lower() != ".npz":
        raise InputError(f"there are no generated images at {path}: give a folder of images or an .npz file.")
    arrays = read_npz(place)
    key = next((name for name in ("image", "images", "x", "x_train") if name in arrays), None)
    if key is None:
        raise InputError(f"{path} has the keys {', '.join(arrays) or 'none'}: expected 'image', 'images' or 'x'.")
    return TensorImageSet(place.stem, channels_first(arrays[key], place))


class Replicated(Order):
    """Each real sample r times and each generated one once, shuffled.

    Args:
        inflation: of the set.

    Example:
        >>> order = Replicated(inflate(1, 2, replication=3)).draw(torch.Generator().manual_seed(0))
        >>> order.bincount().tolist()
        [3, 1, 1]
    """

    def __init__(self, inflation: Inflation) -> None:
        self.source = inflation.source

    def __len__(self) -> int:
        return len(self.source)

    def draw(self, generator: torch.Generator) -> Int64[Tensor, "n"]:
        """Return a permutation of all copies."""
        return self.source[torch.randperm(len(self.source), generator=generator)]


class InflatedImageSet(ImageSet):
    """Real images, then generated ones, whose labels are −1.

    Args:
        real: the training set.
        generated: images of the same size; their labels are not used.

    Raises:
        InputError: the images are of another size.

    Example:
        >>> from dipole.data import load_image_sets
        >>> real, generated = load_image_sets("shapes")
        >>> both = InflatedImageSet(real, generated)
        >>> len(both), both.labels["label"][-1].item()
        (2500, -1)
    """

    def __init__(self, real: ImageSet, generated: ImageSet) -> None:
        if real.input_shape != generated.input_shape:
            raise InputError(
                f"generated images are {generated.input_shape[1:]} and real ones {real.input_shape[1:]}: bring them to "
                "one size (and to RGB) first."
            )
        self.real, self.generated = real, generated
        unknown = torch.full((len(generated),), -1)
        super().__init__(
            f"{real.name} + {generated.name}",
            [*real.ids, *(f"generated/{name}" for name in generated.ids)],
            real.input_shape[1:],
            {kind: torch.cat([values, unknown]) for kind, values in real.labels.items()},
            real.class_names,
            real.default_size,
            [*real.skipped, *generated.skipped],
        )

    def _check(self) -> None:
        """Nothing: the labels of the real images have been checked, those of the others are −1."""

    def fetch(self, indices: Int64[Tensor, " n"]) -> UInt8[Tensor, "n 3 h w"]:
        """Return the images at `indices`, in that order."""
        made = indices >= len(self.real)
        result = torch.empty(len(indices), *self.input_shape, dtype=torch.uint8)
        for where, images, first in ((~made, self.real, 0), (made, self.generated, len(self.real))):
            if bool(where.any()):
                result[where] = images.fetch(indices[where] - first)
        return result

    @property
    def fetch_crops(self) -> Callable[..., Tensor]:
        """Return crops of whole photos, see `FolderImageSet.fetch_crops`; there if both parts are files."""
        parts: Any = (self.real, self.generated)
        if not all(hasattr(part, "fetch_crops") for part in parts):
            raise AttributeError("fetch_crops")

        def fetch(indices: Tensor, boxes: Callable[[int, int, int], Tensor], size: int) -> Tensor:
            one_by_one = []
            for row, index in enumerate(indices.tolist()):
                part, place = (self.real, index) if index < len(self.real) else (self.generated, index - len(self.real))
                box = partial(lambda row, _, height, width: boxes(row, height, width), row)
                one_by_one.append(part.fetch_crops(torch.tensor([place]), box, size))  # type: ignore[attr-defined]
            return torch.cat(one_by_one, dim=1)

        return fetch

    def select(self, indices: Int64[Tensor, " n"]) -> ImageSet:
        """Return the set of some images, those that are real first; so they must be asked for in that order."""
        made = indices >= len(self.real)
        if bool((made[:-1] & ~made[1:]).any()):
            raise InputError("select real images before generated ones.")
        return InflatedImageSet(self.real.select(indices[~made]), self.generated.select(indices[made] - len(self.real)))
