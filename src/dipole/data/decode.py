"""One image, in a file or in a table -> squares of pixels, and the quick question whether that will work."""

import math
import os
from collections.abc import Callable
from io import BufferedReader, BytesIO
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from dipole.data.source import Source, open_source

if TYPE_CHECKING:
    from PIL.Image import Image

EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".tga"}
    | {".jp2", ".avif"}
)


_ORIENTATION, _ON_ITS_SIDE = 0x0112, (5, 6, 7, 8)  # EXIF's tag, and the values of which width and height are swapped


class UnreadableImageError(Exception):
    """A file that is no image, or a damaged one; the message is the reason without the path."""


def decode_image(source: Source, size: int) -> UInt8[np.ndarray, "3 size size"]:
    """Decode the centre square of an image at `size` x `size`, turned as its EXIF says.

    Transparent pixels become white, 16-bit greys lose their lower byte (those up to 4095 are taken as 12-bit and lose 4
    bits, those up to 255 as 8-bit and lose none), the first frame of an animation counts, and down-sizing is
    antialiased (bicubic).

    Raises:
        UnreadableImageError: the file cannot be decoded.
    """
    from PIL import Image, ImageOps

    try:
        with open_source(source) as file, Image.open(file) as opened:
            # JPEG can be decoded at 1/2, 1/4 or 1/8 of its size; twice the target keeps the resampling clean.
            opened.draft(None, (2 * size, 2 * size))
            image = _rgb(ImageOps.exif_transpose(opened))
    except Exception as error:  # PIL's plugins raise whatever the damaged bytes led them to
        raise UnreadableImageError(_reason(source, error)) from error
    return square_of(image, size)


def square_of(image: "Image", size: int) -> UInt8[np.ndarray, "3 size size"]:
    """Return the centre square of an image in RGB at `size` x `size`; down-sizing is antialiased (bicubic)."""
    from PIL import Image

    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    # Cropped first: `resize(box=...)` lets pixels from beyond the square in.
    square = image.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1))


def decode_crops(source: Source, size: int, boxes: Callable[[int, int], Tensor]) -> UInt8[np.ndarray, "v 3 size size"]:
    """Decode crops of the whole image, each resized to `size` x `size`; pixels are treated as by `decode_image`.

    A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where the smallest crop still has `size` pixels a side then.
    Down-sizing is antialiased (bilinear, as in torchvision's RandomResizedCrop).

    Args:
        source: a file, or its content.
        size: side of the crops in pixels.
        boxes: of the image's height and width, turned as its EXIF says: (V, 4) top, left, height, width in pixels.

    Raises:
        UnreadableImageError: the file cannot be decoded.
    """
    from PIL import Image, ImageOps

    try:
        with open_source(source) as file, Image.open(file) as opened:
            turned = opened.getexif().get(_ORIENTATION, 1) in _ON_ITS_SIDE
            width, height = opened.size[::-1] if turned else opened.size
            drawn = boxes(height, width).tolist()
            needed = size / min(min(box[2:]) for box in drawn)
            whole = opened.width
            drafted = opened.draft(None, (math.ceil(whole * needed), math.ceil(opened.height * needed)))
            # Not the ratio of the sizes: at 1/8, 801 columns become 101, of which the last shows but one.
            share = drafted[1][2] / whole if drafted else 1.0
            image = _rgb(ImageOps.exif_transpose(opened))
    except Exception as error:  # as in decode_image
        raise UnreadableImageError(_reason(source, error)) from error
    crops = (
        _resized(image, (left * share, top * share, (left + wide) * share, (top + high) * share), size)
        for top, left, high, wide in drawn
    )
    return np.stack([np.asarray(crop).transpose(2, 0, 1) for crop in crops])


def _resized(image: "Image", box: tuple[float, float, float, float], size: int) -> "Image":
    """What lies in a box, resized. The pixels around it are cut off first, or `resize` would mix them in."""
    from PIL import Image

    left, top = math.floor(box[0]), math.floor(box[1])
    crop = image.crop((left, top, min(image.width, math.ceil(box[2])), min(image.height, math.ceil(box[3]))))
    inside = (box[0] - left, box[1] - top, min(box[2] - left, crop.width), min(box[3] - top, crop.height))
    return crop.resize((size, size), Image.Resampling.BILINEAR, box=inside)


def _rgb(image: "Image") -> "Image":
    """Convert any mode of PIL to RGB without clipping 16 bits or showing what lies under transparency."""
    from PIL import Image

    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        levels = np.asarray(image).astype(np.uint32)
        # Cameras and scanners store 12 bits in 16, whose white is 4095; NumPy's users 8, which must not turn black.
        shift = 8 if levels.max() > 4095 else 4 if levels.max() > 255 else 0
        return Image.fromarray((levels >> shift).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError(f"its pixels are 32-bit ({image.mode}) and their range is unknown: save it with 8 bits")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        opaque = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", opaque.size, "white"), opaque).convert("RGB")
    return image.convert("RGB")


def check_image_file(source: Source) -> str | None:
    """Say why an image will not decode, or `None`; reads its header and its end, rarely more.

    The header must be an image's. Formats with an end mark (JPEG, PNG, GIF, WebP) must have it where it belongs: that
    finds every file whose download or copy broke off. A file without it, or of another format, is decoded to know.

    Example:
        >>> from pathlib import Path
        >>> check_image_file(Path("missing.png"))
        'No such file or directory'
    """
    from PIL import Image

    try:
        with open_source(source) as file:
            if file.seek(0, os.SEEK_END) == 0:
                return "the file is empty"
            file.seek(0)
            with Image.open(file) as image:
                kind, mode = image.format or "", image.mode
            whole = _ends_well(file, kind)
        if mode in ("I", "F") or not whole:
            decode_image(source, 8)
    except UnreadableImageError as error:
        return str(error)
    except Exception as error:  # as in decode_image
        return _reason(source, error)
    return None


def _ends_well(file: BufferedReader | BytesIO, kind: str) -> bool:
    """Whether the file has its format's end mark at its end; False also for formats that have none."""
    file.seek(0)
    head = file.read(12)
    length = file.seek(0, os.SEEK_END)
    file.seek(max(0, length - 12))
    tail = file.read()
    if kind in ("JPEG", "MPO"):
        return tail.endswith(b"\xff\xd9")
    if kind == "PNG":
        return tail.endswith(b"\x00\x00\x00\x00IEND\xaeB`\x82")
    if kind == "GIF":
        return tail.endswith(b"\x3b")
    if kind == "WEBP":
        return int.from_bytes(head[4:8], "little") + 8 <= length
    return False


def _reason(source: Source, error: Exception) -> str:
    """What an exception of PIL or of the file system says, without the path."""
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "its content is no image that Pillow knows"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error) or type(error).__name__).replace(str(source), source.name)
