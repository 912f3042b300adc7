"""What was drawn for each view: the random parameters of the augmentations, apart from their application."""

import math
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
CROP_CANDIDATES = 10
CROP_ROWS = 2 * CROP_CANDIDATES + 2  # uniform numbers that one crop takes
ROWS = CROP_ROWS + 14  # uniform numbers that one view takes; fixed, so no option shifts another one's draws


@dataclass(frozen=True, slots=True)
class ViewParameters:
    """Parameters of `n` views, one row a view; the views of one image lie a whole batch apart (view 0 of all first).

    Attributes:
        top, left, height, width: the crop in pixels of the source image; real numbers are allowed.
        flip: whether the crop is mirrored left to right.
        jitter: whether the four colour operations are applied.
        order: the order in which they are applied, a permutation of 0 brightness, 1 contrast, 2 saturation, 3 hue.
        brightness, contrast, saturation: factors, 1 changes nothing.
        hue: shift in turns of the colour circle, in [-0.5, 0.5]; 0 changes nothing.
        grayscale: whether colour is removed.
        blur: whether the Gaussian blur is applied.
        blur_sigma: standard deviation of the blur in pixels of the view.
        solarize: whether values of 0.5 and more are inverted.

    Example:
        >>> one = ViewParameters.identity(1, height=8, width=8)
        >>> one.width.tolist(), one.order.tolist()
        ([8.0], [[0, 1, 2, 3]])
    """

    top: Float[Tensor, " n"]
    left: Float[Tensor, " n"]
    height: Float[Tensor, " n"]
    width: Float[Tensor, " n"]
    flip: Bool[Tensor, " n"]
    jitter: Bool[Tensor, " n"]
    order: Int[Tensor, "n 4"]
    brightness: Float[Tensor, " n"]
    contrast: Float[Tensor, " n"]
    saturation: Float[Tensor, " n"]
    hue: Float[Tensor, " n"]
    grayscale: Bool[Tensor, " n"]
    blur: Bool[Tensor, " n"]
    blur_sigma: Float[Tensor, " n"]
    solarize: Bool[Tensor, " n"]

    def __len__(self) -> int:
        """Number of views."""
        return len(self.top)

    def __getitem__(self, index: Tensor | slice) -> "ViewParameters":
        """Parameters of the chosen views."""
        return ViewParameters(*(getattr(self, field.name)[index] for field in fields(self)))

    def to(self, device: torch.device, dtype: torch.dtype) -> "ViewParameters":
        """The same on another device, real numbers in another precision."""
        moved = (getattr(self, field.name).to(device) for field in fields(self))
        return ViewParameters(*(tensor.to(dtype) if tensor.is_floating_point() else tensor for tensor in moved))

    def uncropped(self, side: int) -> "ViewParameters":
        """The same for square images of `side` pixels that are crops already: all of each is taken."""
        whole = torch.full_like(self.top, float(side))
        return replace(
            self, top=torch.zeros_like(self.top), left=torch.zeros_like(self.left), height=whole, width=whole
        )

    @classmethod
    def identity(cls, n: int, height: int, width: int) -> "ViewParameters":
        """Parameters of `n` views that show the whole image unchanged; the start for explicit ones.

        Args:
            n: number of views.
            height, width: of the source images in pixels.
        """
        zero, one, off = torch.zeros(n), torch.ones(n), torch.zeros(n, dtype=torch.bool)
        return cls(
            top=zero,
            left=zero,
            height=one * height,
            width=one * width,
            flip=off,
            jitter=off,
            order=torch.arange(4).repeat(n, 1),
            brightness=one,
            contrast=one,
            saturation=one,
            hue=zero,
            grayscale=off,
            blur=off,
            blur_sigma=one,
            solarize=off,
        )


def draw_crops(
    uniform: Float[Tensor, "rows n"], height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float]
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"], Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Random crops of a `height` × `width` image: area uniform, log aspect ratio uniform, position uniform.

    As in Inception-style cropping (Szegedy et al. 2015), ten candidates are drawn and the first that fits inside the
    image is taken; where none does, the largest centred crop of an allowed aspect ratio.

    Args:
        uniform: `2 * 10 + 2` rows of uniform numbers in [0, 1), one column a view.
        height, width: of the source images in pixels.
        scale: smallest and largest area of the crop as a fraction of the image.
        ratio: smallest and largest width/height of the crop.

    Returns:
        top, left, height and width of the crops in whole pixels.
    """
    areas, ratios = uniform[:CROP_CANDIDATES], uniform[CROP_CANDIDATES : 2 * CROP_CANDIDATES]
    area = (scale[0] + (scale[1] - scale[0]) * areas) * (height * width)
    log_ratio = math.log(ratio[0]) + math.log(ratio[1] / ratio[0]) * ratios
    widths = (area * log_ratio.exp()).sqrt().round()
    heights = (area / log_ratio.exp()).sqrt().round()
    fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
    first = fits.to(torch.uint8).argmax(0, keepdim=True)

    aspect = min(max(width / height, ratio[0]), ratio[1])
    centre_width = float(min(width, max(1, round(height * aspect))))
    centre_height = float(min(height, max(1, round(width / aspect))))
    found = fits.any(0)
    crop_width = torch.where(found, widths.gather(0, first)[0], centre_width)
    crop_height = torch.where(found, heights.gather(0, first)[0], centre_height)
    rows, columns = height - crop_height, width - crop_width
    top = torch.minimum((uniform[-2] * (rows + 1)).floor(), rows)
    left = torch.minimum((uniform[-1] * (columns + 1)).floor(), columns)
    top = torch.where(found, top, (rows / 2).floor())
    left = torch.where(found, left, (columns / 2).floor())
    return top, left, crop_height, crop_width
