"""Boxes of images: drawing, coding, cropping. A box is `[y1, x1, y2, x2]` in pixels, as in the code of DITO.

Kim, Angelova, Kuo: *Region-centric Image-Language Pretraining for Open-Vocabulary Detection* (ECCV 2024) and its code.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dipole.errors import InputError
from dipole.ops.checks import check_at_least, check_temperature
from dipole.ops.door import looking, public

CODE_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
LARGEST_LOG_RATIO = math.log(1000 / 16)  # of the sides of a decoded box and its anchor
CANONICAL_SIDE, CANONICAL_LEVEL = 224, 4  # a box of this side is cropped from this level


def check_boxes(**boxes: Tensor) -> None:
    """Require finite boxes (…, 4).

    Raises:
        InputError: another shape, or a value is not finite.

    Example:
        >>> check_boxes(boxes=torch.zeros(2, 4))
    """
    for name, tensor in boxes.items():
        if tensor.ndim < 1 or tensor.shape[-1] != 4:
            raise InputError(f"{name} has shape {tuple(tensor.shape)}: expected (…, 4), [y1, x1, y2, x2] of each box.")
        if not tensor.is_floating_point():
            raise InputError(f"{name} has type {tensor.dtype}: expected floating point. Convert it with .float().")
        if looking() and not bool(tensor.isfinite().all()):
            raise InputError(f"{name} contains NaN or infinite values: expected corners in pixels.")


@public
def random_boxes(
    batch: int,
    count: int,
    image_size: tuple[int, int],
    *,
    scale: tuple[float, float] = (0.1, 1.0),
    ratio: tuple[float, float] = (0.5, 2.0),
    generator: torch.Generator | None = None,
) -> Float[Tensor, "b k 4"]:
    """Draw boxes: centres uniform over the image, sides uniform in a range of its sides, clipped to the image.

    The aspect ratio, height to width relative to the image's, is kept within bounds by shortening the longer side.

    Args:
        batch: B images.
        count: K boxes of each.
        image_size: (height, width) in pixels.
        scale: bounds of a side, relative to that of the image.
        ratio: bounds of the aspect ratio.
        generator: of the draws; torch's global one if None.

    Raises:
        InputError: a count is below 1, or bounds are not positive and in order.

    Example:
        >>> random_boxes(2, 3, (32, 32), generator=torch.Generator().manual_seed(0)).shape
        torch.Size([2, 3, 4])
    """
    check_at_least(batch, 1, "batch")
    check_at_least(count, 1, "count")
    for name, (low, high) in (("scale", scale), ("ratio", ratio)):
        if not 0 < low <= high < math.inf:
            raise InputError(f"{name} is {(low, high)}: expected two numbers above 0, the smaller one first.")
    limit = torch.tensor(image_size, dtype=torch.float32)
    if len(limit) != 2 or (looking() and not bool((limit > 0).all())):
        raise InputError(f"image_size is {tuple(image_size)}: expected (height, width) above 0.")
    centre = torch.rand(batch, count, 2, generator=generator) * limit
    sides = scale[0] + (scale[1] - scale[0]) * torch.rand(batch, count, 2, generator=generator)
    height = torch.minimum(sides[..., 0], sides[..., 1] * ratio[1])
    width = torch.minimum(sides[..., 1], sides[..., 0] / ratio[0])
    half = torch.stack([height, width], dim=-1) * limit / 2
    return clip_boxes(torch.cat([centre - half, centre + half], dim=-1), (image_size[0], image_size[1]))


@public
def clip_boxes(boxes: Float[Tensor, "... 4"], size: tuple[float, float]) -> Float[Tensor, "... 4"]:
    """Clip corners to 0 … height and 0 … width.

    Args:
        boxes: (…, 4).
        size: (height, width), the largest y and x.

    Raises:
        InputError: boxes of another shape, or a size below 0.

    Example:
        >>> clip_boxes(torch.tensor([[-1.0, 2.0, 9.0, 4.0]]), (8, 3))
        tensor([[0., 2., 8., 3.]])
    """
    check_boxes(boxes=boxes)
    for side in size:
        check_at_least(side, 0, "size")
    return boxes.clamp_min(0).minimum(boxes.new_tensor([*size, *size]))


@public
def rescale_boxes(
    boxes: Float[Tensor, "... 4"], factor: float, image_size: tuple[int, int] | None = None
) -> Float[Tensor, "... 4"]:
    """Shrink or grow boxes about their centres, then clip them to `[0, height − 1] × [0, width − 1]`.

    Args:
        boxes: (…, 4).
        factor: of both sides, above 0.
        image_size: (height, width); None to clip nothing.

    Raises:
        InputError: boxes of another shape, or the factor is not positive.

    Example:
        >>> rescale_boxes(torch.tensor([[0.0, 0.0, 10.0, 20.0]]), 0.5)
        tensor([[ 2.5000,  5.0000,  7.5000, 15.0000]])
    """
    check_boxes(boxes=boxes)
    check_temperature(factor, "factor")
    low, high = boxes[..., :2], boxes[..., 2:]
    centre, half = (low + high) / 2, (high - low) / 2 * factor
    scaled = torch.cat([centre - half, centre + half], dim=-1)
    return scaled if image_size is None else clip_boxes(scaled, (image_size[0] - 1, image_size[1] - 1))


@public
def encode_boxes(
    boxes: Float[Tensor, "... 4"],
    anchors: Float[Tensor, "... 4"],
    weights: Sequence[float] = CODE_WEIGHTS,
) -> Float[Tensor, "... 4"]:
    """Compute `(w₁ Δy/h, w₂ Δx/w, w₃ log(h'/h), w₄ log(w'/w))` of boxes relative to anchors; a side is y2 − y1 + 1.

    Args:
        boxes: (…, 4).
        anchors: (…, 4).
        weights: of the four numbers.

    Raises:
        InputError: shapes differ, or a side is not above 0.

    Example:
        >>> encode_boxes(torch.tensor([[1.0, 0.0, 10.0, 9.0]]), torch.tensor([[0.0, 0.0, 9.0, 9.0]]))
        tensor([[1., 0., 0., 0.]])
    """
    check_boxes(boxes=boxes, anchors=anchors)
    if boxes.shape != anchors.shape:
        raise InputError(f"boxes {tuple(boxes.shape)} and anchors {tuple(anchors.shape)}: expected one shape.")
    (centre, sides), (origin, unit) = _centre_and_sides(boxes), _centre_and_sides(anchors)
    if looking() and not bool((sides > 0).all() and (unit > 0).all()):
        raise InputError("a box has a side of 0 pixels or less (y2 − y1 + 1): put y1 and x1 first, y2 and x2 last.")
    return torch.cat([(centre - origin) / unit, (sides / unit).log()], dim=-1) * boxes.new_tensor(weights)


@public
def decode_boxes(
    codes: Float[Tensor, "... 4"],
    anchors: Float[Tensor, "... 4"],
    weights: Sequence[float] = CODE_WEIGHTS,
) -> Float[Tensor, "... 4"]:
    """Compute the boxes of codes, the inverse of `encode_boxes`. Log-ratios of sides are bounded by log(1000/16).

    Args:
        codes: (…, 4).
        anchors: (…, 4).
        weights: of the four numbers.

    Raises:
        InputError: shapes differ, or a weight is zero.

    Example:
        >>> decode_boxes(torch.tensor([[1.0, 0.0, 0.0, 0.0]]), torch.tensor([[0.0, 0.0, 9.0, 9.0]]))
        tensor([[ 1.,  0., 10.,  9.]])
    """
    check_boxes(codes=codes, anchors=anchors)
    if codes.shape != anchors.shape:
        raise InputError(f"codes {tuple(codes.shape)} and anchors {tuple(anchors.shape)}: expected one shape.")
    if not all(weights):
        raise InputError(f"weights are {tuple(weights)}: none may be 0.")
    offsets = codes / codes.new_tensor(weights)
    origin, unit = _centre_and_sides(anchors)
    centre = origin + offsets[..., :2] * unit
    sides = unit * offsets[..., 2:].clamp_max(LARGEST_LOG_RATIO).exp()
    low = centre - sides / 2
    return torch.cat([low, low + sides - 1], dim=-1)


def _centre_and_sides(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Of boxes whose last pixel belongs to them."""
    sides = boxes[..., 2:] - boxes[..., :2] + 1
    return boxes[..., :2] + sides / 2, sides


@public
def decode_distances(distances: Float[Tensor, "... 4"], anchors: Float[Tensor, "... 4"]) -> Float[Tensor, "... 4"]:
    """Compute the boxes that lie (left, right, top, bottom) of the centres of anchors, in units of their sides.

    Args:
        distances: (…, 4), l, r, t, b.
        anchors: (…, 4).

    Raises:
        InputError: shapes differ.

    Example:
        >>> decode_distances(torch.tensor([[0.0, 1.0, 0.5, 0.5]]), torch.tensor([[0.0, 0.0, 8.0, 8.0]]))
        tensor([[ 0.,  4.,  8., 12.]])
    """
    check_boxes(distances=distances, anchors=anchors)
    if distances.shape != anchors.shape:
        raise InputError(f"distances {tuple(distances.shape)} and anchors {tuple(anchors.shape)}: expected one shape.")
    left, right, top, bottom = distances.unbind(dim=-1)
    height, width = (anchors[..., 2:] - anchors[..., :2]).unbind(dim=-1)
    y, x = ((anchors[..., :2] + anchors[..., 2:]) / 2).unbind(dim=-1)
    return torch.stack([y - top * height, x - left * width, y + bottom * height, x + right * width], dim=-1)


@public
def pyramid_level(
    boxes: Float[Tensor, "... 4"], levels: Sequence[int], *, side: float = CANONICAL_SIDE, level: int = CANONICAL_LEVEL
) -> Int[Tensor, "..."]:
    """Compute `clip(⌊log₂(√(h w) / 224)⌋ + 4, first, last)`, the level of a pyramid from which a box is cropped.

    Boxes without an area belong to the first level.

    Args:
        boxes: (…, 4).
        levels: of the pyramid.
        side: of a box that belongs to `level`, in pixels, 224 in the formula.
        level: 4 in the formula.

    Raises:
        InputError: boxes of another shape, no level, or a side that is not positive.

    Example:
        >>> pyramid_level(torch.tensor([[0.0, 0.0, 224.0, 224.0], [0.0, 0.0, 8.0, 8.0]]), [2, 3, 4, 5])
        tensor([4, 2])
    """
    check_boxes(boxes=boxes)
    if not len(levels):
        raise InputError("levels is empty: give the levels of the pyramid, such as 2 to 5.")
    check_temperature(side, "side")
    area = (boxes[..., 2:] - boxes[..., :2]).clamp_min(0).prod(dim=-1)
    found = (area.sqrt() / side).clamp_min(2.0**-30).log2().floor() + level
    return found.clamp(min(levels), max(levels)).long()


def crop_from_level(
    feature: Float[Tensor, "b c h w"], boxes: Float[Tensor, "b k 4"], stride: int, output_size: int
) -> Float[Tensor, "b k c s s"]:
    """Crop boxes from one map: one bilinear sample at the centre of every cell, indices clamped to the map.

    Index k of a map is the pixel k · stride, without a shift by half a pixel. Inside the map this is torchvision's
    `roi_align` with `sampling_ratio=1, aligned=False`, also for boxes of less than a cell.

    Args:
        feature: (B, C, H, W).
        boxes: (B, K, 4) in pixels of the image.
        stride: pixels of the image between two cells of the map.
        output_size: S cells a side.

    Raises:
        InputError: shapes do not fit.

    Example:
        >>> crop_from_level(torch.arange(16.0).view(1, 1, 4, 4), torch.tensor([[[0.0, 0.0, 2.0, 2.0]]]), 1, 1).item()
        5.0
    """
    from torchvision.ops import roi_align

    check_boxes(boxes=boxes)
    check_at_least(output_size, 1, "output_size")
    if feature.ndim != 4 or boxes.ndim != 3 or len(feature) != len(boxes):
        raise InputError(
            f"feature {tuple(feature.shape)} and boxes {tuple(boxes.shape)}: expected (B, C, H, W) and (B, K, 4)."
        )
    steps = (torch.arange(output_size, dtype=boxes.dtype, device=boxes.device) + 0.5) / output_size
    low, sides = boxes[..., None, :2] / stride, (boxes[..., 2:] - boxes[..., :2])[..., None, :] / stride
    limit = boxes.new_tensor([feature.shape[2] - 1, feature.shape[3] - 1])
    points = (low + steps[:, None] * sides).clamp_min(0).minimum(limit).to(feature.dtype)  # (B, K, S, 2)
    y = points[..., 0, None].expand(*points.shape[:2], output_size, output_size)
    x = points[..., None, :, 1].expand_as(y)
    # A box without an extent has one sample, where it is; roi_align shifts aligned boxes by half a pixel.
    flat = torch.stack([x, y, x, y], dim=-1).flatten(0, -2) + 0.5
    image = torch.arange(len(boxes), device=boxes.device).repeat_interleave(len(flat) // len(boxes))
    found = roi_align(
        feature, torch.cat([image[:, None].to(flat), flat], dim=1), output_size=1, sampling_ratio=1, aligned=True
    )
    crops: Tensor = found.view(*y.shape, feature.shape[1])
    return crops.permute(0, 1, 4, 2, 3)


def roi_align_multilevel(
    features: Mapping[int, Float[Tensor, "b c _h _w"]],
    boxes: Float[Tensor, "b k 4"],
    output_size: int,
    **canonical: Any,
) -> Float[Tensor, "b k c s s"]:
    """Crop every box from the level of a pyramid that fits its size, see `pyramid_level` and `crop_from_level`.

    Args:
        features: maps (B, C, H_l, W_l) by level l, whose stride is 2ˡ.
        boxes: (B, K, 4) in pixels of the image.
        output_size: S cells a side.
        **canonical: `side` and `level` of `pyramid_level`.

    Raises:
        InputError: shapes do not fit.

    Example:
        >>> maps = {2: torch.zeros(1, 3, 8, 8), 3: torch.ones(1, 3, 4, 4)}
        >>> roi_align_multilevel(maps, torch.tensor([[[0.0, 0.0, 112.0, 112.0]]]), 7).mean()
        tensor(1.)
    """
    levels = pyramid_level(boxes, sorted(features), **canonical)
    crops: Tensor | None = None
    for level, feature in features.items():
        found = crop_from_level(feature, boxes, 2**level, output_size)
        here = (levels == level)[..., None, None, None]
        crops = torch.where(here, found, 0 if crops is None else crops)
    if crops is None:
        raise InputError("features is empty: give the maps of a pyramid by level.")
    return crops


@public
def grid_boxes(
    image_size: tuple[int, int],
    *,
    scales: Sequence[float] = (0.25, 0.35, 0.5, 0.7, 1.0),
    ratios: Sequence[float] = (0.5, 1.0, 2.0),
    step: float = 0.25,
) -> Float[Tensor, "k 4"]:
    """Return boxes of several sizes and shapes all over an image, the proposals of a detector that has no better ones.

    Args:
        image_size: (height, width) in pixels.
        scales: square roots of the area of a box as a share of that of the image.
        ratios: height to width, relative to that of the image.
        step: between two boxes, as a share of their sides.

    Raises:
        InputError: a number is not above 0.

    Example:
        >>> grid_boxes((8, 8), scales=(0.5,), ratios=(1.0,), step=1.0)[0]
        tensor([0., 0., 4., 4.])
    """
    for name, values in (("image_size", image_size), ("scales", scales), ("ratios", ratios), ("step", (step,))):
        for value in values:
            check_temperature(value, name)
    found = []
    for scale in scales:
        for ratio in ratios:
            sides = [scale * ratio**0.5, scale / ratio**0.5]
            if max(sides) > 1 + 1e-6:
                continue
            counts = [1 + round((1 - side) / max(side * step, 0.01)) for side in sides]
            places = [
                torch.linspace(0, max(0.0, 1 - side), count) if count > 1 else torch.full((1,), (1 - side) / 2)
                for side, count in zip(sides, counts, strict=True)
            ]
            low = torch.cartesian_prod(*places).view(-1, 2)
            found.append(torch.cat([low, low + torch.tensor(sides)], dim=1))
    if not found:
        raise InputError(f"no box of scales {tuple(scales)} and ratios {tuple(ratios)} fits into an image.")
    return torch.cat(found) * torch.tensor([image_size[0], image_size[1]] * 2, dtype=torch.float32)
