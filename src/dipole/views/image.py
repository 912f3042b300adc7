"""Image augmentations that make positives: the pipelines of SimCLR, MoCo v2 and CACR on whole batches."""

import math

import torch
from jaxtyping import Float, Shaped, UInt8
from torch import Generator, Tensor, nn

from dipole.errors import InputError
from dipole.views.geometry import interpolation_matrix, sampling_positions
from dipole.views.parameters import CROP_ROWS, ROWS, ViewParameters, draw_crops
from dipole.views.pipeline import apply_views, check_images

KINDS = {"a": "crop", "b": "blur", "c": "grey", "d": "colour jitter", "e": "flip"}


class ImageViews(nn.Module):
    """What every image augmentation offers: `views(images, generator)` gives `(V, N, 3, size, size)` in [0, 1].

    Args:
        size: side of the views in pixels.
        num_views: views of each image.

    Raises:
        InputError: `size` or `num_views` is below 1.
    """

    def __init__(self, size: int, num_views: int = 2) -> None:
        super().__init__()
        for name, value in (("size", size), ("num_views", num_views)):
            if value < 1:
                raise InputError(f"{name} is {value}: expected a whole number of at least 1.")
        self.size = size
        self.num_views = num_views

    def forward(self, images: Tensor, generator: Generator | None = None) -> Float[Tensor, "v n 3 s s"]:
        """Make the views of a batch.

        Args:
            images: bytes or real numbers in [0, 1], shape (N, 3, H, W).
            generator: source of randomness; torch's global one if None.
        """
        raise NotImplementedError

    def extra_repr(self) -> str:
        """Every setting, for printing."""
        return ", ".join(
            f"{name}={value}" for name, value in vars(self).items() if not name.startswith(("_", "training"))
        )


class CroppedViews(ImageViews):
    """Views that begin with a random crop, each view with parameters of its own.

    The crop may be taken here, from a batch of images of one shape, or before, where the images are decoded: there
    each photo is cropped at its full size (`draw_crops`, `boxes`), and `finish` does the rest on any device.

    Args:
        size: side of the views in pixels.
        num_views: views of each image.
        crop_scale: smallest and largest area of the crop as a fraction of the image.
        crop_ratio: smallest and largest width/height of the crop.

    Raises:
        InputError: a range is empty or impossible; and whatever `ImageViews` refuses.
    """

    def __init__(
        self, size: int, num_views: int, *, crop_scale: tuple[float, float], crop_ratio: tuple[float, float]
    ) -> None:
        super().__init__(size, num_views)
        _check_range("crop_scale", crop_scale, 1.0)
        _check_range("crop_ratio", crop_ratio, math.inf)
        self.crop_scale, self.crop_ratio = crop_scale, crop_ratio

    def draw(self, n: int, height: int, width: int, generator: Generator | None = None) -> ViewParameters:
        """Draw the parameters of `n` views of images of `height` × `width` pixels, view 0 of all images first."""
        raise NotImplementedError

    def forward(self, images: Tensor, generator: Generator | None = None) -> Float[Tensor, "v n 3 s s"]:
        """Make the views of a batch.

        Args:
            images: bytes or real numbers in [0, 1], shape (N, 3, H, W).
            generator: source of randomness, on any device; torch's global one of the CPU if None.

        Returns:
            Views in [0, 1], on the images' device, in double precision for double input, else single.

        Raises:
            InputError: another shape, type or range of the images.
        """
        check_images(images)
        n, _, height, width = images.shape
        return apply_views(images, self.draw(self.num_views * n, height, width, generator), self.size)

    def draw_crops(self, n: int, generator: Generator | None = None) -> Float[Tensor, "n v rows"]:
        """Draw the random numbers of the crops of `n` images, whatever their sizes are."""
        return torch.rand(n, self.num_views, CROP_ROWS, generator=generator)

    def boxes(self, drawn: Float[Tensor, "v rows"], height: int, width: int) -> Float[Tensor, "v 4"]:
        """Top, left, height and width in pixels of the crops that were drawn for an image of this size.

        Example:
            >>> views = SimCLRViews(32)
            >>> boxes = views.boxes(views.draw_crops(1)[0], height=480, width=640)
            >>> boxes.shape, bool((boxes[:, 1] + boxes[:, 3] <= 640).all())
            (torch.Size([2, 4]), True)
        """
        return torch.stack(draw_crops(drawn.t(), height, width, self.crop_scale, self.crop_ratio), dim=1)

    def finish(
        self, crops: UInt8[Tensor, "v n 3 s s"], generator: Generator | None = None
    ) -> Float[Tensor, "v n 3 s s"]:
        """Do what comes after cropping and resizing: flip, colours, blur.

        The random numbers are those of `forward`; those of its crops are not used.

        Args:
            crops: the crops of each view, resized to the size of the views.
            generator: source of randomness, on any device; torch's global one of the CPU if None.

        Returns:
            Views in [0, 1] on the device of the crops.
        """
        views, n = crops.shape[:2]
        whole = self.draw(views * n, self.size, self.size, generator).uncropped(self.size)
        return apply_views(crops.flatten(0, 1), whole, self.size).view(crops.shape)


class SimCLRViews(CroppedViews):
    """SimCLR's views: random crop resized to a square, flip, colour jitter, grayscale, Gaussian blur.

    Every view of every image draws its own parameters. Crop, antialiased bilinear resize and flip are one resampling.
    Each operation equals torchvision's for the same parameters, and so do the distributions of the parameters. Blurring
    uses a kernel of a tenth of the view. The result is differentiable with respect to real-valued images.

    Args:
        size: side of the views in pixels.
        num_views: views of each image.
        crop_scale: smallest and largest area of the crop as a fraction of the image.
        crop_ratio: smallest and largest width/height of the crop.
        flip: probability of a flip left to right; 0 where a mirrored image means something else (digits, text).
        jitter: probability of the four colour operations, which come together, in random order.
        brightness: b of a factor drawn from [max(0, 1 - b), 1 + b].
        contrast: the same for contrast.
        saturation: the same for saturation.
        hue: h of a shift drawn from [-h, h] turns of the colour circle, at most 0.5.
        grayscale: probability of removing the colour.
        blur: probability of blurring; None means 0.5 for views above 32 pixels and 0 for smaller ones, as is usual.
        blur_sigma: smallest and largest standard deviation of the blur in pixels of the view.
        solarize: probability of inverting the values of 0.5 and more (BYOL's second view has 0.2).
        kinds: letters of the kinds that are used, the others are left out: a crop, b blur, c grey, d colour jitter,
            e flip (AMCL's sets are a, ab, abc, abcd, abcde).

    Raises:
        InputError: a probability outside [0, 1], an empty or impossible range, a negative strength, an unknown letter.

    Source:
        Chen et al., A Simple Framework for Contrastive Learning of Visual Representations, ICML 2020, appendix A, with
        colour strength 1. For images of CIFAR's size the paper takes strength 0.5: (0.4, 0.4, 0.4, 0.1), no blur.

    Example:
        >>> images = torch.randint(0, 256, (4, 3, 40, 48), dtype=torch.uint8)
        >>> views = SimCLRViews(size=32)
        >>> views(images, torch.Generator().manual_seed(0)).shape
        torch.Size([2, 4, 3, 32, 32])
    """

    def __init__(
        self,
        size: int = 32,
        *,
        num_views: int = 2,
        crop_scale: tuple[float, float] = (0.08, 1.0),
        crop_ratio: tuple[float, float] = (3 / 4, 4 / 3),
        flip: float = 0.5,
        jitter: float = 0.8,
        brightness: float = 0.8,
        contrast: float = 0.8,
        saturation: float = 0.8,
        hue: float = 0.2,
        grayscale: float = 0.2,
        blur: float | None = None,
        blur_sigma: tuple[float, float] = (0.1, 2.0),
        solarize: float = 0.0,
        kinds: str = "abcde",
    ) -> None:
        if not set(kinds) <= set(KINDS):
            known = ", ".join(f"{letter} {name}" for letter, name in KINDS.items())
            raise InputError(f"kinds is {kinds!r}: expected letters of {known}.")
        if "a" not in kinds:
            crop_scale = crop_ratio = (1.0, 1.0)
        super().__init__(size, num_views, crop_scale=crop_scale, crop_ratio=crop_ratio)
        if blur is None:
            blur = 0.5 if size > 32 else 0.0
        blur, grayscale = blur * ("b" in kinds), grayscale * ("c" in kinds)
        jitter, flip = jitter * ("d" in kinds), flip * ("e" in kinds)
        _check_range("blur_sigma", blur_sigma, math.inf)
        probabilities = {"flip": flip, "jitter": jitter, "grayscale": grayscale, "blur": blur, "solarize": solarize}
        for name, value in probabilities.items():
            if not 0 <= value <= 1:
                raise InputError(f"{name} is {value}: expected a probability in [0, 1].")
        for name, value in {"brightness": brightness, "contrast": contrast, "saturation": saturation}.items():
            if not 0 <= value < math.inf:
                raise InputError(f"{name} is {value}: expected a strength of at least 0; 0.4 to 0.8 is usual.")
        if not 0 <= hue <= 0.5:
            raise InputError(f"hue is {hue}: expected turns of the colour circle in [0, 0.5].")
        self.flip, self.jitter, self.grayscale, self.solarize = flip, jitter, grayscale, solarize
        self.brightness, self.contrast, self.saturation, self.hue = brightness, contrast, saturation, hue
        self.blur, self.blur_sigma = blur, blur_sigma

    def draw(self, n: int, height: int, width: int, generator: Generator | None = None) -> ViewParameters:
        """Draw the parameters of `n` views of images of `height` × `width` pixels, independently of each other."""
        device = "cpu" if generator is None else generator.device
        uniform = torch.rand(ROWS, n, generator=generator, device=device)
        crop, rest = uniform.split([CROP_ROWS, ROWS - CROP_ROWS])
        top, left, crop_height, crop_width = draw_crops(crop, height, width, self.crop_scale, self.crop_ratio)
        return ViewParameters(
            top=top,
            left=left,
            height=crop_height,
            width=crop_width,
            flip=rest[0] < self.flip,
            jitter=rest[1] < self.jitter,
            order=rest[2:6].argsort(0).t().contiguous(),
            brightness=_between(rest[6], max(0.0, 1 - self.brightness), 1 + self.brightness),
            contrast=_between(rest[7], max(0.0, 1 - self.contrast), 1 + self.contrast),
            saturation=_between(rest[8], max(0.0, 1 - self.saturation), 1 + self.saturation),
            hue=_between(rest[9], -self.hue, self.hue),
            grayscale=rest[10] < self.grayscale,
            blur=rest[11] < self.blur,
            blur_sigma=_between(rest[12], *self.blur_sigma),
            solarize=rest[13] < self.solarize,
        )


class MoCoV2Views(SimCLRViews):
    """MoCo v2's views: SimCLR's operations with larger crops and weaker colours.

    Args:
        size: side of the views in pixels.
        num_views: views of each image.
        crop_scale: smallest and largest area of the crop as a fraction of the image.
        crop_ratio: smallest and largest width/height of the crop.
        flip: probability of a flip left to right.
        jitter: probability of the four colour operations.
        brightness, contrast, saturation, hue: strengths as in `SimCLRViews`.
        grayscale: probability of removing the colour.
        blur: probability of blurring.
        blur_sigma: smallest and largest standard deviation of the blur in pixels of the view.
        kinds: letters of the kinds that are used, as in `SimCLRViews`.

    Source:
        Chen et al., Improved Baselines with Momentum Contrastive Learning, 2020 (arXiv 2003.04297), and its code.

    Example:
        >>> MoCoV2Views(size=16, num_views=1)(torch.rand(2, 3, 20, 20)).shape
        torch.Size([1, 2, 3, 16, 16])
    """

    def __init__(
        self,
        size: int = 224,
        *,
        num_views: int = 2,
        crop_scale: tuple[float, float] = (0.2, 1.0),
        crop_ratio: tuple[float, float] = (3 / 4, 4 / 3),
        flip: float = 0.5,
        jitter: float = 0.8,
        brightness: float = 0.4,
        contrast: float = 0.4,
        saturation: float = 0.4,
        hue: float = 0.1,
        grayscale: float = 0.2,
        blur: float = 0.5,
        blur_sigma: tuple[float, float] = (0.1, 2.0),
        kinds: str = "abcde",
    ) -> None:
        super().__init__(
            size,
            num_views=num_views,
            crop_scale=crop_scale,
            crop_ratio=crop_ratio,
            flip=flip,
            jitter=jitter,
            brightness=brightness,
            contrast=contrast,
            saturation=saturation,
            hue=hue,
            grayscale=grayscale,
            blur=blur,
            blur_sigma=blur_sigma,
            kinds=kinds,
        )


class CACRViews(SimCLRViews):
    """The views of CACR on small images: crops of a fifth and more, a flip, colours always jittered, no blur.

    Args:
        size: side of the views in pixels.
        num_views: views of each image.
        crop_scale: smallest and largest area of the crop as a fraction of the image.
        crop_ratio: smallest and largest width/height of the crop.
        flip: probability of a flip left to right.
        brightness, contrast, saturation, hue: strengths as in `SimCLRViews`.
        grayscale: probability of removing the colour.

    Source:
        Zheng et al., Contrastive Attraction and Contrastive Repulsion for Representation Learning, TMLR 2023,
        experiments on CIFAR.

    Example:
        >>> CACRViews(num_views=4)(torch.rand(2, 3, 32, 32)).shape
        torch.Size([4, 2, 3, 32, 32])
    """

    def __init__(
        self,
        size: int = 32,
        *,
        num_views: int = 2,
        crop_scale: tuple[float, float] = (0.2, 1.0),
        crop_ratio: tuple[float, float] = (3 / 4, 4 / 3),
        flip: float = 0.5,
        brightness: float = 0.4,
        contrast: float = 0.4,
        saturation: float = 0.4,
        hue: float = 0.4,
        grayscale: float = 0.2,
    ) -> None:
        super().__init__(
            size,
            num_views=num_views,
            crop_scale=crop_scale,
            crop_ratio=crop_ratio,
            flip=flip,
            jitter=1.0,
            brightness=brightness,
            contrast=contrast,
            saturation=saturation,
            hue=hue,
            grayscale=grayscale,
            blur=0.0,
        )


def resize(images: Shaped[Tensor, "..."], size: int) -> Float[Tensor, "n 3 size size"]:
    """Evaluation transform: the centre square, resized to `size` pixels by antialiased bilinear interpolation.

    Args:
        images: bytes or real numbers in [0, 1], shape (N, 3, H, W).
        size: side of the result in pixels.

    Returns:
        Images in [0, 1], in double precision for double input, else single.

    Raises:
        InputError: another shape, type or range of the images, or a size below 1.

    Example:
        >>> resize(torch.full((1, 3, 6, 4), 255, dtype=torch.uint8), 2).mean()
        tensor(1.)
    """
    check_images(images)
    if size < 1:
        raise InputError(f"size is {size}: expected a whole number of at least 1.")
    side = min(images.shape[2:])
    top, left = (round((length - side) / 2) for length in images.shape[2:])
    dtype = torch.float64 if images.dtype == torch.float64 else torch.float32
    square = images[:, :, top : top + side, left : left + side].to(dtype)
    if images.dtype == torch.uint8:
        square = square / 255
    if side == size:
        return square
    length = torch.tensor([float(side)], dtype=dtype, device=images.device)
    matrix = interpolation_matrix(*sampling_positions(torch.zeros_like(length), length, None, side, size))[0]
    return (matrix @ (square @ matrix.t())).clamp(0, 1)  # rounding leaves values such as 1 + 1e-7


def _check_range(name: str, bounds: tuple[float, float], largest: float) -> None:
    """Require two finite numbers above 0 in rising order, none above `largest`."""
    low, high = bounds
    if not (0 < low <= high <= largest and high < math.inf):
        limit = f" and at most {largest:g}" if largest < math.inf else ""
        raise InputError(f"{name} is ({low}, {high}): expected two numbers above 0{limit}, the smaller one first.")


def _between(uniform: Tensor, low: float, high: float) -> Tensor:
    """Uniform numbers of [0, 1) moved to [low, high)."""
    return low + (high - low) * uniform
