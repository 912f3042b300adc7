"""Two kinds of views that take turns, as BYOL and DINO make them."""

from dataclasses import fields

import torch
from torch import Generator

from dipole.errors import InputError
from dipole.views.image import CroppedViews, SimCLRViews
from dipole.views.parameters import ViewParameters


class DINOViews(CroppedViews):
    """DINO's large views: one kind is always blurred, the other seldom, but sometimes solarized.

    Views 1, 3, … are of the first kind, views 2, 4, … of the second. Crops, flips and colours are drawn alike for all,
    as by `SimCLRViews`.

    Args:
        size: side of the views in pixels.
        num_views: views of each image.
        crop_scale: smallest and largest area of the crop as a fraction of the image.
        crop_ratio: smallest and largest width/height of the crop.
        flip: probability of a flip left to right.
        jitter: probability of the four colour operations.
        brightness, contrast, saturation, hue: strengths as in `SimCLRViews`.
        grayscale: probability of removing the colour.
        blur: probabilities of blurring the first and the second kind.
        blur_sigma: smallest and largest standard deviation of the blur in pixels of the view.
        solarize: probabilities of solarizing the first and the second kind.

    Raises:
        InputError: as `SimCLRViews`.

    Source:
        Caron et al., Emerging Properties in Self-Supervised Vision Transformers, ICCV 2021, after BYOL (Grill et al.,
        NeurIPS 2020); the smallest crop is that of GroCo.

    Example:
        >>> DINOViews(size=16, num_views=3)(torch.rand(2, 3, 20, 20)).shape
        torch.Size([3, 2, 3, 16, 16])
    """

    def __init__(
        self,
        size: int = 224,
        *,
        num_views: int = 2,
        crop_scale: tuple[float, float] = (0.14, 1.0),
        crop_ratio: tuple[float, float] = (3 / 4, 4 / 3),
        flip: float = 0.5,
        jitter: float = 0.8,
        brightness: float = 0.4,
        contrast: float = 0.4,
        saturation: float = 0.2,
        hue: float = 0.1,
        grayscale: float = 0.2,
        blur: tuple[float, float] = (1.0, 0.1),
        blur_sigma: tuple[float, float] = (0.1, 2.0),
        solarize: tuple[float, float] = (0.0, 0.2),
    ) -> None:
        super().__init__(size, num_views, crop_scale=crop_scale, crop_ratio=crop_ratio)
        self.first, self.second = (
            SimCLRViews(
                size,
                num_views=1,
                crop_scale=crop_scale,
                crop_ratio=crop_ratio,
                flip=flip,
                jitter=jitter,
                brightness=brightness,
                contrast=contrast,
                saturation=saturation,
                hue=hue,
                grayscale=grayscale,
                blur=blur[kind],
                blur_sigma=blur_sigma,
                solarize=solarize[kind],
            )
            for kind in (0, 1)
        )

    def draw(self, n: int, height: int, width: int, generator: Generator | None = None) -> ViewParameters:
        """Draw the parameters of `n` views, those of view 1 of all images first.

        Raises:
            InputError: n is no multiple of the number of views of an image.
        """
        if n % self.num_views:
            raise InputError(f"{n} views are no multiple of {self.num_views}, the number of views of an image.")
        drawn = [
            (self.second if view % 2 else self.first).draw(n // self.num_views, height, width, generator)
            for view in range(self.num_views)
        ]
        names = [field.name for field in fields(ViewParameters)]
        return ViewParameters(*(torch.cat([getattr(one, name) for one in drawn]) for name in names))
