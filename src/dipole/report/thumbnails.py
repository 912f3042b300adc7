"""Many small images in one picture, which the page cuts up by CSS."""

import base64
import io
from typing import NamedTuple

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

LARGEST = 48  # pixels of a thumbnail's side
PHOTOGRAPH = 24  # from this side on, JPEG is smaller than PNG and its blocks do not show
COLUMNS = 40


class Sprite(NamedTuple):
    """All thumbnails side by side."""

    uri: str  # data URI of the picture
    columns: int
    rows: int
    pixelated: bool  # enlarge without smoothing
    cell: dict[int, int]  # from the index of an image to its place, row by row


def make_sprite(images: UInt8[Tensor, "n 3 h w"], indices: Int[Tensor, "k"]) -> Sprite:
    """Put the images at `indices` side by side, each at most 48 pixels wide.

    Example:
        >>> sprite = make_sprite(torch.zeros(9, 3, 8, 8, dtype=torch.uint8), torch.tensor([7, 2, 7]))
        >>> sprite.columns, sprite.rows, sprite.cell
        (2, 1, {2: 0, 7: 1})
    """
    from PIL import Image, ImageOps

    chosen = torch.unique(indices).tolist()
    side = min(LARGEST, max(images.shape[2:]))
    columns = min(COLUMNS, len(chosen))
    rows = -(-len(chosen) // columns)
    sheet = Image.new("RGB", (columns * side, rows * side))
    for place, index in enumerate(chosen):
        picture = Image.fromarray(images[index].permute(1, 2, 0).cpu().numpy())
        if picture.size != (side, side):
            picture = ImageOps.fit(picture, (side, side), Image.Resampling.LANCZOS)
        sheet.paste(picture, (place % columns * side, place // columns * side))
    kind, options = ("jpeg", {"quality": 84, "subsampling": 0}) if side >= PHOTOGRAPH else ("png", {"optimize": True})
    buffer = io.BytesIO()
    sheet.save(buffer, kind, **options)
    uri = f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
    return Sprite(uri, columns, rows, side < PHOTOGRAPH, {index: place for place, index in enumerate(chosen)})
