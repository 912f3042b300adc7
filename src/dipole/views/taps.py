"""Resampling and blurring on a processor: every row is a weighted sum of the few rows that have weight.

The matrices of `geometry` are bands: of the 224 numbers in a row of one, 2 to 23 are not zero. A bag of embeddings is
the sum over those alone. Columns are rows of the transposed planes.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dipole.views.geometry import blur_radius

Taps = tuple[Int[Tensor, "n s _"], Float[Tensor, "n s _"]]  # which rows are read, and with which weights


def interpolation_taps(
    start: Float[Tensor, " n"],
    length: Float[Tensor, " n"],
    reverse: Bool[Tensor, " n"] | None,
    source: int,
    size: int,
) -> Taps:
    """The weights of `geometry.interpolation_matrix` that are not zero, and their places.

    Args:
        start: first pixel of each crop.
        length: pixels of each crop, above 0.
        reverse: whether each output runs backwards (a flip); None for never.
        source: length of the source.
        size: length of the output.
    """
    dtype, start, length = start.dtype, start.double(), length.double()  # differences of places cost digits
    step = (length / size)[:, None]
    support = step.clamp(min=1)
    centre = start[:, None] + (torch.arange(size, dtype=start.dtype) + 0.5) * step - 0.5
    if reverse is not None:
        centre = torch.where(reverse[:, None], centre.flip(1), centre)
    count = math.ceil(2 * float(support.max()))
    first, last = (start - 0.5).floor() + 1, (start + length - 0.5).ceil() - 1  # pixels whose centres are in the crop
    places = (centre - support).floor()[:, :, None] + torch.arange(1, count + 1, dtype=start.dtype)
    weight = (1 - (places - centre[:, :, None]).abs() / support[:, :, None]).clamp_(min=0)
    weight.mul_((places >= first[:, None, None]) & (places <= last[:, None, None]))
    weight.div_(weight.sum(2, keepdim=True))
    return places.clamp_(0, source - 1).long(), weight.to(dtype)


def blur_taps(sigma: Float[Tensor, " n"], size: int) -> Taps:
    """The taps of `geometry.gaussian_blur`, borders reflected, without those that weigh less than the last digit."""
    digits = -math.log(torch.finfo(sigma.dtype).eps)
    radius = min(blur_radius(size), math.ceil(float(sigma.max()) * math.sqrt(2 * digits)))
    offsets = torch.arange(-radius, radius + 1)
    places = (torch.arange(size)[:, None] + offsets).abs_()
    places = size - 1 - (size - 1 - places).abs_()
    weight = torch.softmax((offsets / sigma[:, None]).square() / -2, dim=1)
    shape = len(sigma), size, len(offsets)
    return places.expand(shape), weight[:, None].expand(shape)


def sum_rows(images: Float[Tensor, "*images h w"], first: Int[Tensor, "3 n"], taps: Taps) -> Float[Tensor, "3 n s w"]:
    """Rows `Σ_t weight[i, o, t] · plane[index[i, o, t]]` of the three planes of each image i.

    Args:
        images: planes in any order.
        first: number of the first row of each plane in `images`.
        taps: of each image.
    """
    places, weight = (some.expand(3, *some.shape) for some in taps)
    rows = (first[:, :, None, None] + places).reshape(-1, places.shape[3])
    table = images.reshape(-1, images.shape[-1])
    summed = torch.nn.functional.embedding_bag(rows, table, mode="sum", per_sample_weights=weight.reshape(rows.shape))
    return summed.view(3, first.shape[1], -1, table.shape[1])


def resample_rows(images: Float[Tensor, "n 3 h w"], rows: Taps, columns: Taps) -> Float[Tensor, "3 n s s"]:
    """Resample each image, colour planes first; the result is transposed: its rows are columns of the views."""
    n, channels, height, width = images.shape
    begins = torch.arange(0, n * channels * height, height).view(n, channels).t()
    narrowed = sum_rows(images, begins, rows).transpose(2, 3).contiguous()
    return sum_rows(narrowed, torch.arange(0, channels * n * width, width).view(channels, n), columns)


def blur_rows(planes: Float[Tensor, "3 n s s"], images: slice, sigma: Float[Tensor, " m"]) -> Float[Tensor, "3 m s s"]:
    """Blur some of the images along both axes, which are exchanged, each with its own standard deviation."""
    channels, n, size, _ = planes.shape
    taps = blur_taps(sigma, size)
    begins = torch.arange(0, channels * n * size, size).view(channels, n)[:, images]
    once = sum_rows(planes, begins, taps).transpose(2, 3).contiguous()
    begins = torch.arange(0, begins.numel() * size, size).view(begins.shape)
    return sum_rows(once, begins, taps)
