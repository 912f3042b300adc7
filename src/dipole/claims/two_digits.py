"""Images of two handwritten digits side by side, their views, and a small encoder of them."""

import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import lightning
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from dipole.data import ImageDataModule, ImageSet, TensorImageSet
from dipole.data.digits import load_digits
from dipole.evaluation import embed_image_set
from dipole.methods.base import Method
from dipole.runs.callbacks import StepRandomness
from dipole.runs.refresh import Refresh

SIDE = 8  # of a digit; pictures are 16 × 16 with an empty lower half
Pair = tuple[TensorImageSet, TensorImageSet]


def two_digits(train: int, test: int, *, right_contrast: float = 1.0, seed: int = 0) -> Pair:
    """Return pictures of two independent digits; those of the test pictures are not among those of training.

    Labels: `left` and `right`, and `label`, which is that of the left one.

    Args:
        train: number of training pictures.
        test: number of test pictures.
        right_contrast: factor of the right digit's grey values.
        seed: of the pairs.

    Example:
        >>> first, second = two_digits(20, 10, right_contrast=0.5)
        >>> first.input_shape, len(second), sorted(first.labels)
        ((3, 16, 16), 10, ['label', 'left', 'right'])
    """
    generator = torch.Generator().manual_seed(seed)
    made = []
    for digits, count in zip(load_digits(), (train, test), strict=True):
        which = torch.randint(0, len(digits), (2, count), generator=generator)
        picture = torch.zeros(count, 1, 2 * SIDE, 2 * SIDE, dtype=torch.uint8)
        picture[..., :SIDE, :SIDE] = digits.images[which[0]]
        picture[..., :SIDE, SIDE:] = (digits.images[which[1]] * right_contrast).round().byte()
        left, right = (digits.labels["label"][each] for each in which)
        names = tuple(map(str, range(10)))
        labels = {"label": left, "left": left, "right": right}
        made.append(TensorImageSet("two digits", picture, labels, dict.fromkeys(labels, names)))
    return made[0], made[1]


class TwoDigitViews:
    """Views in which each digit is moved by up to a pixel, blotted with a 3 × 3 square, and noisy, by itself.

    Args:
        noise: deviation.
        erased: share of the digits that are blotted.
        brightness: half the width of the range of factors around 1.
        num_views: views of each picture.

    Example:
        >>> views = TwoDigitViews()(two_digits(4, 1)[0].images, generator=torch.Generator())
        >>> views.shape
        torch.Size([2, 4, 3, 16, 16])
    """

    size = 2 * SIDE

    def __init__(self, noise: float = 0.1, erased: float = 0.5, brightness: float = 0.0, num_views: int = 2) -> None:
        self.noise, self.erased, self.brightness, self.num_views = noise, erased, brightness, num_views

    def __call__(self, images: UInt8[Tensor, "n c h w"], *, generator: torch.Generator) -> Float[Tensor, "v n 3 h w"]:
        """Return views of each picture."""
        grey = images[:, 0].float() / 255
        views = [
            torch.cat([self._half(grey[:, :SIDE, part], generator) for part in (slice(SIDE), slice(SIDE, None))], dim=2)
            for _ in range(self.num_views)
        ]
        whole = torch.zeros(self.num_views, *grey.shape)
        whole[:, :, :SIDE] = torch.stack(views)
        return whole[:, :, None].expand(-1, -1, 3, -1, -1)

    def _half(self, digits: Tensor, generator: torch.Generator) -> Tensor:
        """Digits (N, 8, 8), each changed by itself."""
        every = torch.arange(len(digits))
        windows = nn.functional.pad(digits, (1, 1, 1, 1)).unfold(1, SIDE, 1).unfold(2, SIDE, 1)
        down, along, top, side = torch.randint(0, 3, (4, len(digits)), generator=generator)
        moved = windows[every, down, along].clone()
        place = torch.arange(SIDE)
        rows, columns = (((place >= 2 * start[:, None]) & (place < 2 * start[:, None] + 3)) for start in (top, side))
        blotted = torch.rand(len(digits), generator=generator) < self.erased
        moved[(rows[:, :, None] & columns[:, None]) & blotted[:, None, None]] = 0
        factor = 1 + self.brightness * (2 * torch.rand(len(digits), 1, 1, generator=generator) - 1)
        return (factor * moved + self.noise * torch.randn(moved.shape, generator=generator)).clamp(0, 1)


def two_digit_encoder(*widths: int, last_relu: bool = True) -> nn.Module:
    """Return a multilayer perceptron on the 128 grey values of both digits, with ReLU behind every layer.

    Args:
        widths: of the layers.
        last_relu: whether there is one behind the last layer.

    Example:
        >>> two_digit_encoder(256, 64)(torch.zeros(2, 3, 16, 16)).shape
        torch.Size([2, 64])
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(pixels=_Pixels())
    before = 2 * SIDE * SIDE
    for number, width in enumerate(widths):
        layers |= {f"linear{number}": nn.Linear(before, width), f"relu{number}": nn.ReLU()}
        before = width
    if not last_relu:
        layers.popitem()
    return nn.Sequential(layers)


class _Pixels(nn.Module):
    """The grey values of the upper half."""

    def forward(self, images: Tensor) -> Tensor:
        return images[:, 0, :SIDE].flatten(1)


def fit(
    method: Method,
    sets: tuple[ImageSet, ImageSet],
    views: Callable[..., Tensor],
    *,
    epochs: int,
    batch_size: int,
    seed: int,
) -> None:
    """Train a method on views of an experiment's own, without a run directory."""
    data = ImageDataModule(sets, batch_size=batch_size, views=views, seed=seed)
    data.sampling = method.sampling
    callbacks: list[lightning.Callback] = [StepRandomness(seed)]
    if method.refresh_every:
        callbacks.append(Refresh(lambda model, index, progress: embedded(model, sets[0], index), len(sets[0])))
    options: dict[str, Any] = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    with warnings.catch_warnings():
        for text in ("does not have many workers", "LeafSpec", "in eval mode at the start of training"):
            warnings.filterwarnings("ignore", f".*{text}.*")
        lightning.Trainer(accelerator="cpu", max_epochs=epochs, callbacks=callbacks, **options).fit(method, data)
    method.eval()


def embedded(method: Method, images: ImageSet, index: Tensor | None = None) -> Tensor:
    """Return what a refresh sees of some pictures."""
    chosen = images if index is None else images.select(index)
    return embed_image_set(method.refresh_embed, chosen, 2 * SIDE)
