"""Images and parameters in, views out: what is applied to which sample, in which order, in pieces that fit a cache."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from dipole.errors import InputError
from dipole.views.colour import blend, blend_coefficients, grey, hue_slots, shift_hue
from dipole.views.geometry import blur_radius, blur_selectors, gaussian_blur, resample, resampling_matrix
from dipole.views.parameters import ViewParameters

CACHED_PIXELS = 1 << 16  # pixels of a piece per CPU thread: all its planes and matrices stay in the L2 cache
DEVICE_PIXELS = 1 << 25  # pixels of a piece elsewhere: bounds the memory that the intermediate results take


def check_images(images: Tensor) -> None:
    """Require `(N, 3, H, W)` of bytes or of real numbers in [0, 1].

    Raises:
        InputError: another shape, type or range, NaN included.
    """
    shape = tuple(images.shape)
    if images.ndim != 4:
        raise InputError(f"images have shape {shape}: expected (N, 3, H, W). Add a batch axis with images[None].")
    if images.shape[1] != 3:
        raise InputError(f"images have shape {shape}: expected 3 channels. Repeat grey ones: images.expand(-1, 3, -1, -1).")
    if images.numel() == 0:
        raise InputError(f"images have shape {shape}: expected at least one image and one pixel.")
    if images.dtype == torch.uint8:
        return
    if not images.is_floating_point():
        raise InputError(f"images have type {images.dtype}: expected uint8 in [0, 255] or floating point in [0, 1].")
    smallest, largest = (float(bound) for bound in images.detach().aminmax())
    if not (smallest >= 0 and largest <= 1):
        raise InputError(f"images range from {smallest:g} to {largest:g}: expected [0, 1]. Divide bytes by 255.")


def apply_views(
    images: Shaped[Tensor, "n 3 h w"], parameters: ViewParameters, size: int
) -> Float[Tensor, "v n 3 size size"]:
    """Make views with the given parameters: crop and resize, flip, colour jitter, grayscale, blur, solarize.

    Args:
        images: bytes or real numbers in [0, 1].
        parameters: of V·N views, view 0 of all images first.
        size: side of the views in pixels.

    Returns:
        Views in [0, 1], in double precision for double input, else single; differentiable in `images`.

    Raises:
        InputError: the number of parameters is no multiple of the number of images.

    Example:
        >>> images = torch.rand(4, 3, 8, 8)
        >>> views = apply_views(images, ViewParameters.identity(4, 8, 8), size=8)
        >>> torch.allclose(views[0], images, atol=1e-6)
        True
    """
    n, total = len(images), len(parameters)
    if total == 0 or total % n:
        raise InputError(f"parameters are for {total} views and there are {n} images: expected a multiple of {n}.")
    dtype = torch.float64 if images.dtype == torch.float64 else torch.float32
    # Sorted by when the hue is shifted, the samples that need one operation lie side by side.
    parameters = parameters.to(torch.device("cpu"), dtype)
    order = torch.where(parameters.jitter, hue_slots(parameters) + 1, 0).argsort(stable=True)
    parameters = parameters[order]
    piece = CACHED_PIXELS * torch.get_num_threads() if images.device.type == "cpu" else DEVICE_PIXELS
    piece = max(1, piece // max(size * size, images.shape[2] * images.shape[3]))

    plain = total - int(parameters.jitter.sum())
    bounds = [*range(0, plain, piece), *range(plain, total, piece), total]
    record = torch.is_grad_enabled() and images.requires_grad
    pieces = []
    views = torch.empty(0 if record else total, 3, size, size, dtype=dtype, device=images.device)
    order = order.to(images.device)
    for begin, end in zip(bounds, bounds[1:], strict=False):
        chosen = images.index_select(0, order[begin:end] % n).to(dtype)
        gain = 1 / 255 if images.dtype == torch.uint8 else 1.0
        planes = _make_views(chosen, parameters[begin:end], size, gain)
        if record:
            pieces.append(planes.transpose(0, 1))
        else:
            views.index_copy_(0, order[begin:end], planes.transpose(0, 1))
    if record:
        views = torch.cat(pieces)[order.argsort()]
    return views.view(total // n, n, 3, size, size)


def _make_views(
    images: Float[Tensor, "n 3 h w"], chosen: ViewParameters, size: int, gain: float
) -> Float[Tensor, "3 n size size"]:
    """The whole pipeline on a piece of the batch that is jittered as a whole or not at all."""
    parameters = chosen.to(images.device, images.dtype)
    _, _, height, width = images.shape
    rows = resampling_matrix(parameters.top, parameters.height, None, height, size, gain)
    columns = resampling_matrix(parameters.left, parameters.width, parameters.flip, width, size)
    planes = resample(images, rows, columns).flatten(2)
    if chosen.jitter[0]:
        planes = _jitter(planes, chosen, parameters)
    planes = _change(planes, chosen.grayscale, lambda some, _: grey(some).expand_as(some))
    if chosen.blur.any():
        selectors = blur_selectors(size, blur_radius(size), planes)

        def blur(some: Tensor, indices: Tensor) -> Tensor:
            square = some.view(3, -1, size, size)
            return gaussian_blur(square, parameters.blur_sigma[indices], selectors).flatten(2)

        planes = _change(planes, chosen.blur, blur)
    planes = _change(planes, chosen.solarize, lambda some, _: torch.where(some >= 0.5, 1 - some, some))
    return planes.view(3, -1, size, size)


def _jitter(planes: Tensor, chosen: ViewParameters, parameters: ViewParameters) -> Tensor:
    """Brightness, contrast, saturation and hue in each sample's own order."""
    ends = torch.bincount(hue_slots(chosen), minlength=4).cumsum(0).tolist()
    coefficients = blend_coefficients(parameters)
    blends = bool((chosen.brightness != 1).any() | (chosen.contrast != 1).any() | (chosen.saturation != 1).any())
    hues = bool((chosen.hue != 0).any())
    for step, (begin, end) in enumerate(zip([0, *ends], ends, strict=False)):
        if hues and begin < end:
            shifted = shift_hue(planes[:, begin:end], parameters.hue[begin:end])
            if planes.requires_grad:
                planes = torch.cat([planes[:, :begin], shifted, planes[:, end:]], 1)
            else:
                planes[:, begin:end] = shifted
        if blends and step < 3:
            planes = blend(planes, *coefficients[step])
    return planes


def _change(planes: Tensor, mask: Tensor, operation: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Apply an operation to the samples of the mask: it gets their planes and their indices."""
    if not mask.any():
        return planes
    indices = mask.nonzero()[:, 0].to(planes.device)
    changed = operation(planes.index_select(1, indices), indices)
    if planes.requires_grad:
        return planes.index_copy(1, indices, changed)
    return planes.index_copy_(1, indices, changed)
