"""Resampling and blurring as products with per-sample matrices: exact, differentiable, the same on every device.

Colour planes come first, `(3, n, ...)`, so that every plane of a batch is one contiguous run of memory.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

OUT_OF_REACH = 1e6  # a position so far away that interpolation gives it no weight


def sampling_positions(
    start: Float[Tensor, " n"],
    length: Float[Tensor, " n"],
    reverse: Bool[Tensor, " n"] | None,
    source: int,
    size: int,
) -> tuple[Float[Tensor, "n size"], Float[Tensor, "n source"]]:
    """Where output and source pixels lie when `[start, start + length)` of `source` pixels becomes `size` pixels.

    Positions are in units of the half-width of the interpolation filter, max(1, length / size) source pixels.

    Args:
        start: first pixel of each crop.
        length: pixels of each crop, above 0.
        reverse: whether each output runs backwards (a flip); None for never.
        source: length of the source.
        size: length of the output.

    Returns:
        Positions of the output pixels, and of the source pixels; those outside the crop are out of reach.
    """
    step = length / size
    support = step.clamp(min=1)
    pixels = torch.arange(source, dtype=start.dtype, device=start.device) + 0.5 - start[:, None]
    inside = (pixels > 0) & (pixels < length[:, None])
    outputs = (torch.arange(size, dtype=start.dtype, device=start.device) + 0.5) * (step / support)[:, None]
    if reverse is not None:
        outputs = torch.where(reverse[:, None], outputs.flip(1), outputs)
    return outputs, torch.where(inside, pixels / support[:, None], OUT_OF_REACH)


def interpolation_matrix(
    outputs: Float[Tensor, "n size"], sources: Float[Tensor, "n source"], gain: float = 1.0
) -> Float[Tensor, "n size source"]:
    """Interpolation weights `A[o, i] ∝ max(0, 1 - |outputs[o] - sources[i]|)` from the results of `sampling_positions`.

    This is antialiased bilinear interpolation as in Pillow and in torchvision with `antialias=True`.

    Args:
        outputs: positions of the output pixels.
        sources: positions of the source pixels.
        gain: what every row sums to; 1/255 brings bytes to [0, 1] on the way.
    """
    distance = (outputs[:, :, None] - sources[:, None, :]).abs_()
    weight = torch.sub(torch.ones_like(distance[0, 0, 0]), distance, out=distance).clamp_(min=0)
    return weight.mul_(gain / weight.sum(2, keepdim=True))


def resample(
    images: Float[Tensor, "n 3 h w"], rows: Float[Tensor, "n s h"], columns: Float[Tensor, "n s w"]
) -> Float[Tensor, "3 n s s"]:
    """Resample each image by its two matrices, `rows · image · columnsᵀ`, and put the colour planes first."""
    n, _, height, width = images.shape
    narrowed = torch.bmm(images.reshape(n, 3 * height, width), columns.transpose(1, 2)).view(n, 3, height, -1)
    return multiply_planes(rows, narrowed.transpose(0, 1))


def multiply_planes(left: Float[Tensor, "n s k"], planes: Float[Tensor, "3 n k t"]) -> Float[Tensor, "3 n s t"]:
    """The same left factor on each of the three planes; one product a plane spares a threefold copy of the factor."""
    if torch.is_grad_enabled() and planes.requires_grad:
        return torch.stack([torch.bmm(left, plane) for plane in planes])
    product = planes.new_empty(3, left.shape[0], left.shape[1], planes.shape[3])
    for plane, result in zip(planes, product, strict=True):
        torch.bmm(left, plane, out=result)
    return product


def blur_radius(size: int) -> int:
    """Half-width of the blur kernel: a twentieth of the view on each side of its centre, at least one pixel."""
    return min(max(1, size // 20), size - 1)


def blur_selectors(size: int, radius: int, like: Tensor) -> Float[Tensor, "taps entries"]:
    """One flattened 0-1 matrix a tap: which pixel, borders reflected, each of `size` pixels reads through that tap."""
    target = torch.arange(size, device=like.device)
    source = (target[None, :] + torch.arange(-radius, radius + 1, device=like.device)[:, None]).abs()
    source = size - 1 - (size - 1 - source).abs()
    return torch.nn.functional.one_hot(source, size).to(like.dtype).flatten(1)


def gaussian_blur(
    planes: Float[Tensor, "c n s s"], sigma: Float[Tensor, " n"], selectors: Float[Tensor, "taps entries"]
) -> Float[Tensor, "c n s s"]:
    """Gaussian blur of each image with its own standard deviation: a band matrix from the left and from the right.

    Args:
        planes: images, colour planes first.
        sigma: standard deviations in pixels, above 0.
        selectors: taps of the kernel, from `blur_selectors`.
    """
    radius, size = len(selectors) // 2, planes.shape[-1]
    offsets = torch.arange(-radius, radius + 1, dtype=sigma.dtype, device=sigma.device)
    taps = torch.softmax((offsets / sigma[:, None]).square() / -2, dim=1)
    matrix = (taps @ selectors).view(-1, size, size)
    transposed = matrix.transpose(1, 2)
    return torch.stack([torch.bmm(torch.bmm(matrix, plane), transposed) for plane in planes])
