"""Image encoders by name."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from dipole.errors import InputError
from dipole.ops.door import traced

CLASSIFIERS = ("fc", "head", "classifier", "head_dist")
SMALL_IMAGE = 64  # up to this size the strided 7×7 stem of an ImageNet network throws the image away


class ConvNet4(nn.Sequential):
    """Four blocks of 3×3 convolution, batch normalisation, ReLU; halved between blocks, averaged at the end.

    Small enough for a laptop's processor: 0.39 M parameters at the default width.

    Args:
        width: channels of the first block; they double in each block.
        channels: of the images.

    Example:
        >>> ConvNet4()(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 256])
    """

    def __init__(self, width: int = 32, channels: int = 3) -> None:
        layers: list[nn.Module] = []
        for block in range(4):
            out = width * 2**block
            layers += [nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.BatchNorm2d(out)]
            if block < 3:
                # The maximum before ReLU is the same as after it, on a quarter of the entries. ceil_mode keeps 1×1 maps
                # alive, so that 8×8 images work too.
                layers.append(nn.MaxPool2d(2, ceil_mode=True))
            layers.append(nn.ReLU(inplace=True))
            channels = out
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.num_features = channels


class SmallAlexNet(nn.Sequential):
    """The encoder of the CACR paper's small-scale experiments, up to its second fully connected layer (4096 features).

    Five 3×3 convolutions (96, 192, 384, 384, 192) and two fully connected layers, each with batch normalisation and
    ReLU. The paper's last layer, 4096 → 128, is the projector: use `projector_layers=1`.

    Args:
        image_size: height and width of the images, 16 or more.

    Example:
        >>> SmallAlexNet(32)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 4096])
    """

    def __init__(self, image_size: int = 32) -> None:
        if image_size < 16:
            raise InputError(f"small-alexnet needs images of 16×16 or larger; image_size is {image_size}.")
        layers: list[nn.Module] = []
        channels, size = 3, image_size
        for out, pooled in ((96, True), (192, True), (384, False), (384, False), (192, True)):
            layers += [nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
            if pooled:
                layers.append(nn.MaxPool2d(3, 2))
                size = (size - 3) // 2 + 1
            channels = out
        layers.append(nn.Flatten())
        width = channels * size * size
        for _ in range(2):
            layers += [nn.Linear(width, 4096, bias=False), nn.BatchNorm1d(4096), nn.ReLU(inplace=True)]
            width = 4096
        super().__init__(*layers)
        self.num_features = width
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.normal_(module.weight, std=0.02)


class PixelMLP(nn.Sequential):
    """Layers of linear map, batch normalisation and ReLU on all pixels: for images of a few pixels.

    Args:
        widths: of the layers; the last one is the number of features.
        image_size: height and width of the images.

    Example:
        >>> PixelMLP([32, 16], 8)(torch.zeros(2, 3, 8, 8)).shape
        torch.Size([2, 16])
    """

    def __init__(self, widths: Sequence[int], image_size: int) -> None:
        layers: list[nn.Module] = [nn.Flatten()]
        width = 3 * image_size * image_size
        for out in widths:
            layers += [nn.Linear(width, out), nn.BatchNorm1d(out), nn.ReLU(inplace=True)]
            width = out
        super().__init__(*layers)
        self.num_features = width


# While a saved model is rebuilt: the side of its first convolution's kernel (0 if it has none of that name).
_stored_stem: ContextVar[int | None] = ContextVar("stored_stem", default=None)


@contextmanager
def stored_weights(weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Build encoders for weights that are at hand: nothing is fetched, and the stem is the one that was saved.

    Args:
        weights: by name, as a state dictionary holds them.

    Example:
        >>> with stored_weights({}):
        ...     encoder = build_encoder("resnet18", pretrained=True)
    """
    sides = [value.shape[-1] for name, value in weights.items() if name.endswith("backbone.conv1.weight")]
    token = _stored_stem.set(sides[0] if sides else 0)
    try:
        yield
    finally:
        _stored_stem.reset(token)


class ImageEncoder(nn.Module):
    """A backbone with its input normalisation: images in [0, 1] or uint8 in, features out.

    Args:
        backbone: module from normalised images (N, 3, H, W) to features (N, F).
        width: F.
        mean: per channel, subtracted from images in [0, 1].
        std: per channel, by which they are then divided.

    Example:
        >>> encoder = build_encoder("convnet4")
        >>> encoder(torch.zeros(2, 3, 32, 32, dtype=torch.uint8)).shape, encoder.width
        (torch.Size([2, 256]), 256)
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        width: int,
        mean: tuple[float, float, float] = (0.5, 0.5, 0.5),
        std: tuple[float, float, float] = (0.25, 0.25, 0.25),
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.width = width
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Float[Tensor, "n 3 h w"] | UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n f"]:
        """Return the features (N, F)."""
        images = unit_range(images).to(self.mean.dtype)
        normalised = ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        features: Tensor = self.backbone(normalised)
        return features


def unit_range(images: Tensor) -> Tensor:
    """Check images (N, 3, H, W) and bring those of uint8 to [0, 1].

    Raises:
        InputError: another order of the axes, another type, or values that are neither in [0, 1] nor uint8.
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise InputError(
            f"images have shape {tuple(images.shape)}: expected (N, 3, H, W), channels first; "
            "of (N, H, W, 3) pass images.permute(0, 3, 1, 2)."
        )
    if images.dtype == torch.uint8:
        return images / 255
    if not images.is_floating_point():
        raise InputError(f"images have type {images.dtype}: expected uint8, or floating point in [0, 1].")
    if traced() or not images.numel():
        return images
    # Interpolation and colour operations may leave [0, 1] a little.
    lowest, highest = torch.stack(images.detach().aminmax()).tolist()
    if not (lowest >= -8 and highest <= 8):
        raise InputError(
            f"images hold values from {lowest:.4g} to {highest:.4g}: expected floating point in [0, 1], or uint8. "
            "Divide those from 0 to 255 by 255."
        )
    return images


def build_encoder(
    encoder: str | nn.Module = "convnet4",
    *,
    image_size: int = 32,
    pretrained: bool = False,
    weights: str | None = None,
    **options: Any,
) -> ImageEncoder:
    """Build an image encoder.

    Args:
        encoder: `"convnet4"`, `"convnet4-64"` (any width), `"mlp-128-64"` (any widths), `"small-alexnet"`, the name of
            a timm model such as `"resnet18"` or `"vit_tiny_patch16_224"`, or a module from images to features (N, F).
        image_size: height and width of the images. Up to 64, ResNets get the small-image stem: one 3×3 convolution of
            stride 1 and no pooling.
        pretrained: load timm's weights (from its hub or cache).
        weights: a .safetensors file to start from, with timm's names or those of a saved model. A classifier in it is
            left out. It is not read where a saved model is rebuilt.
        options: passed to timm's `create_model`.

    Returns:
        The encoder, in channels-last memory format.

    Raises:
        InputError: an unknown name, a module whose output is not (N, F), or weights that do not fit.

    Example:
        >>> build_encoder("convnet4-16", image_size=16).width
        128
    """
    if weights is not None and _stored_stem.get() is None:
        read = _read_weights(weights)
        with stored_weights({f"backbone.{name}": value for name, value in read.items()}):
            built = build_encoder(encoder, image_size=image_size, **options)
        _load_weights(built.backbone, read, weights)
        return built
    if isinstance(encoder, nn.Module):
        return ImageEncoder(encoder, _measure_width(encoder, image_size))
    if not isinstance(encoder, str):
        raise InputError(
            f"encoder is {encoder!r}: expected a name or a module. A run that was trained with a module of its own "
            "needs it again: give encoder=…"
        )
    name, _, suffix = encoder.partition("-")
    if name == "convnet4":
        if suffix and not (suffix.isdecimal() and int(suffix) > 0):
            raise InputError(f"encoder is {encoder!r}: write the width as a number, e.g. 'convnet4-64'.")
        backbone: nn.Module = ConvNet4(int(suffix) if suffix else 32)
        built = ImageEncoder(backbone, int(backbone.num_features))  # type: ignore[arg-type]
    elif name == "mlp":
        widths = suffix.split("-")
        if not all(width.isdecimal() and int(width) > 0 for width in widths):
            raise InputError(f"encoder is {encoder!r}: write the widths of the layers as numbers, e.g. 'mlp-128-64'.")
        backbone = PixelMLP([int(width) for width in widths], image_size)
        built = ImageEncoder(backbone, int(backbone.num_features))
    elif encoder == "small-alexnet":
        built = ImageEncoder(SmallAlexNet(image_size), 4096)
    else:
        built = _from_timm(encoder, image_size, pretrained, options)
    return built.to(memory_format=torch.channels_last)


def _read_weights(path: str) -> dict[str, Tensor]:
    """The weights of a file, by their names in the backbone."""
    try:
        read = load_file(Path(path).expanduser())
    except (OSError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"cannot read the weights {path} ({reason}): expected a .safetensors file.") from error
    ours = [name for name in read if "encoder.backbone." in name and "momentum" not in name]
    return {name.partition("encoder.backbone.")[2]: read[name] for name in ours} if ours else read


def _load_weights(backbone: nn.Module, read: dict[str, Tensor], path: str) -> None:
    """Put weights into a backbone; only a classifier may be left over."""
    known = backbone.state_dict()
    extra = [name for name in read if name not in known and name.split(".")[0] not in CLASSIFIERS]
    missing = [name for name in known if name not in read and not name.endswith("num_batches_tracked")]
    differing = [name for name in known if name in read and known[name].shape != read[name].shape]
    for names, fault in (
        (missing, "lacks"),
        (extra, "holds, unknown to the encoder,"),
        (differing, "differs in shape in"),
    ):
        if names:
            raise InputError(
                f"{path} does not fit the encoder: it {fault} {names[0]!r} ({len(names)} in all). Choose the encoder, "
                "and the image size of a transformer, that the weights are of."
            )
    backbone.load_state_dict({name: value for name, value in read.items() if name in known}, strict=False)


def _from_timm(name: str, image_size: int, pretrained: bool, options: dict[str, Any]) -> ImageEncoder:
    """A timm model without its classifier, with the small-image stem where it is due."""
    try:
        import timm
    except ImportError as error:
        raise InputError(f"encoder {name!r} comes from timm: pip install 'dipole[vision]'.") from error
    if not timm.is_model(name):
        close = difflib.get_close_matches(name, timm.list_models(), n=3)
        raise InputError(
            f"encoder is {name!r}: expected 'convnet4', 'small-alexnet' or a timm model"
            + (f", e.g. {', '.join(close)}." if close else ".")
        )
    stored = _stored_stem.get()
    settings = timm.get_pretrained_cfg(name)
    if settings is not None and settings.fixed_input_size:
        options = {"img_size": image_size, **options}
    try:
        backbone: Any = timm.create_model(name, pretrained=pretrained and stored is None, num_classes=0, **options)
    except (OSError, RuntimeError, AssertionError, ValueError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(
            f"encoder {name!r} cannot be built for images of {image_size} pixels, pretrained={pretrained} ({reason}). "
            "Pretrained weights need a network or timm's cache; a transformer needs sides that its patches divide."
        ) from error
    stem = getattr(backbone, "conv1", None)
    fresh = not pretrained if stored is None else stored == 3
    if image_size <= SMALL_IMAGE and isinstance(stem, nn.Conv2d) and hasattr(backbone, "maxpool") and fresh:
        backbone.conv1 = nn.Conv2d(3, stem.out_channels, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(backbone.conv1.weight, mode="fan_out", nonlinearity="relu")
        backbone.maxpool = nn.Identity()
    statistics: dict[str, Any] = backbone.pretrained_cfg
    return ImageEncoder(backbone, int(backbone.num_features), tuple(statistics["mean"]), tuple(statistics["std"]))


def _measure_width(module: nn.Module, image_size: int) -> int:
    """The number of features that a module of the caller returns."""
    training = module.training
    with torch.no_grad():
        features = module.eval()(torch.zeros(2, 3, image_size, image_size))
    module.train(training)
    if not isinstance(features, Tensor) or features.ndim != 2:
        shape = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise InputError(f"the encoder returned {shape} for two images: expected features (2, F). Add pooling.")
    return features.shape[1]
