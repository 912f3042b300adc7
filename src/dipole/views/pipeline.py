"""Images and parameters in, views out: what is applied to which sample, in which order, in pieces that fit a cache."""

from collections.abc import Iterator
from contextlib import nullcontext
from itertools import pairwise

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from dipole.errors import InputError
from dipole.views.colour import blend, blend_coefficients, grey, hue_slots, shift_hue, solarized
from dipole.views.geometry import (
    blur_radius,
    blur_selectors,
    gaussian_blur,
    interpolation_matrix,
    resample,
    sampling_positions,
)
from dipole.views.parameters import ViewParameters
from dipole.views.taps import blur_rows, interpolation_taps, resample_rows

CACHED_PIXELS = 3 << 15  # pixels of a piece per CPU thread, by measurement: many for one call, few for the cache
TAPS = {"cpu"}  # devices on which sums over a few rows are faster than products of matrices
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
        raise InputError(
            f"images have shape {shape}: expected 3 channels. Repeat grey ones: images.expand(-1, 3, -1, -1)."
        )
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
    record = torch.is_grad_enabled() and images.requires_grad
    dtype = torch.float64 if images.dtype == torch.float64 else torch.float32
    views = torch.empty(0 if record else total, 3, size, size, dtype=dtype, device=images.device)
    parts, places = [], []
    # Without its bookkeeping the many small steps are 7 % faster; what they are written to is an ordinary tensor.
    with nullcontext() if record else torch.inference_mode():
        plan = _Plan(images, parameters, size, dtype)
        for begin, end in plan.pieces():
            planes = _resampled(images.index_select(0, plan.images[begin:end]).to(dtype), plan, begin, end)
            for where, part in _finished(_coloured(planes, plan, begin, end), plan, begin, end):
                if record:
                    parts.append(part.transpose(0, 1))
                    places.append(plan.order[where])
                else:
                    views.index_copy_(0, plan.order[where], part.transpose(0, 1))
    if record:
        views = torch.cat(parts)[torch.cat(places).argsort()]
    return views.view(total // n, n, 3, size, size)


class _Plan:
    """Everything about the views that is small, made ready for all of them at once and sorted into runs.

    Sorted by when the hue is shifted, by blur and by grayscale, the samples that need an operation lie side by side,
    so that operations work on slices. What decides the slices stays on the CPU; no device is waited for.
    """

    def __init__(self, images: Tensor, parameters: ViewParameters, size: int, dtype: torch.dtype) -> None:
        self.by_taps = images.device.type in TAPS
        self.gain = 1 / 255 if images.dtype == torch.uint8 else 1.0
        self.size, (self.height, self.width), self.device = size, images.shape[2:], images.device
        parameters = parameters.to(torch.device("cpu"), dtype)
        slots = torch.where(parameters.jitter, hue_slots(parameters.order), -1)
        order = parameters.blur_sigma.argsort(stable=True)
        order = order[(slots * 4 + parameters.blur * 2 + parameters.grayscale)[order].argsort(stable=True)]
        parameters, slots = parameters[order], slots[order]

        self.plain = int((slots < 0).sum())
        shifts = slots if parameters.hue.any() else torch.full_like(slots, -1)
        self.hue_runs = [_runs(shifts == step) for step in range(4)]
        self.grayscale_runs = _runs(parameters.grayscale)
        self.blur_runs, self.sharp_runs = _runs(parameters.blur), _runs(~parameters.blur)
        self.solarize_runs = _runs(parameters.solarize)

        self.order = order.to(self.device)
        self.images = self.order % len(images)
        moved = parameters.to(self.device, dtype)
        self.flip = moved.flip
        corners, sides = (
            torch.stack([parameters.top, parameters.left]),
            torch.stack([parameters.height, parameters.width]),
        )
        self.whole = self.height == self.width == size and not corners.any() and bool((sides == size).all())
        positions = interpolation_taps if self.by_taps else sampling_positions
        self.rows = positions(moved.top, moved.height, None, self.height, size)
        self.columns = positions(moved.left, moved.width, moved.flip, self.width, size)
        self.coefficients = blend_coefficients(parameters).to(self.device)
        self.hue, self.sigma = moved.hue, moved.blur_sigma
        self.selectors = blur_selectors(size, blur_radius(size) if self.blur_runs and not self.by_taps else 0, self.hue)

    def pieces(self) -> Iterator[tuple[int, int]]:
        """Bounds of the pieces; a piece is jittered as a whole or not at all."""
        threads = torch.get_num_threads()
        pixels = CACHED_PIXELS * threads if self.device.type == "cpu" else DEVICE_PIXELS
        length = max(1, pixels // max(self.size**2, self.height * self.width))
        total = len(self.order)
        bounds = [*range(0, self.plain, length), *range(self.plain, total, length), total]
        return pairwise(bounds)


def _runs(mask: Bool[Tensor, " n"]) -> list[tuple[int, int]]:
    """Bounds of the stretches of consecutive samples that the mask marks."""
    edges = torch.diff(
        mask.to(torch.int8), prepend=torch.zeros(1, dtype=torch.int8), append=torch.zeros(1, dtype=torch.int8)
    )
    places = edges.nonzero()[:, 0].tolist()
    return list(zip(places[::2], places[1::2], strict=True))


def _within(runs: list[tuple[int, int]], begin: int, end: int) -> Iterator[tuple[slice, slice]]:
    """The parts of the runs that lie in a piece: where in the plan, and where in the piece."""
    for first, last in runs:
        first, last = max(first, begin), min(last, end)
        if first < last:
            yield slice(first, last), slice(first - begin, last - begin)


def _resampled(images: Float[Tensor, "n 3 h w"], plan: _Plan, begin: int, end: int) -> Float[Tensor, "3 n s s"]:
    """Crop, resize and flip the images of the views `begin` to `end` of the plan."""
    (y, places), (x, others) = ((some[begin:end] for some in axis) for axis in (plan.rows, plan.columns))
    if plan.whole:  # crops that were resized before: the matrices would be those of the identity
        flip = plan.flip[begin:end, None, None, None]
        return (torch.where(flip, images.flip(3), images) * plan.gain).transpose(0, 1).contiguous()
    if plan.by_taps:
        return resample_rows(images, (y, places), (x, others * plan.gain))
    return resample(images, interpolation_matrix(y, places, plan.gain), interpolation_matrix(x, others))


def _coloured(planes: Float[Tensor, "3 n s s"], plan: _Plan, begin: int, end: int) -> Float[Tensor, "3 n s s"]:
    """The four operations on colours, and grayscale."""
    shape, planes = planes.shape, planes.flatten(2)
    if begin >= plan.plain:
        for step in range(4):
            for where, here in _within(plan.hue_runs[step], begin, end):
                planes = _replace(planes, here, shift_hue(planes[:, here], plan.hue[where]))
            if step < 3:
                planes = blend(planes, *plan.coefficients[step, :, begin:end])
    for _, here in _within(plan.grayscale_runs, begin, end):
        planes = _replace(planes, here, grey(planes[:, here]).expand(3, -1, -1))
    return planes.view(shape)


def _finished(
    planes: Float[Tensor, "3 n s s"], plan: _Plan, begin: int, end: int
) -> Iterator[tuple[slice, Float[Tensor, "3 _ s s"]]]:
    """Blur and solarize; yields finished samples, and their place in the plan."""
    for blurred, runs in ((True, plan.blur_runs), (False, plan.sharp_runs)):
        for where, here in _within(runs, begin, end):
            some = planes[:, here]
            if blurred and plan.by_taps:
                some = blur_rows(planes, here, plan.sigma[where])
            elif blurred:
                some = gaussian_blur(some, plan.sigma[where], plan.selectors)
            if plan.by_taps and blurred == plan.whole:  # resampling and blurring by taps exchange rows and columns
                some = some.transpose(2, 3)
            # Rounding leaves values such as -1e-7.
            some = some.clamp(0, 1) if some.requires_grad else some.clamp_(0, 1)
            for _, inside in _within(plan.solarize_runs, where.start, where.stop):
                some = _replace(some, inside, solarized(some[:, inside]))
            yield where, some


def _replace(planes: Tensor, here: slice, changed: Tensor) -> Tensor:
    """The planes with some samples changed; overwritten, by now or here, where no gradient is recorded."""
    if planes.requires_grad:
        return torch.cat([planes[:, : here.start], changed, planes[:, here.stop :]], 1)
    some = planes[:, here]
    if changed.data_ptr() != some.data_ptr():
        some.copy_(changed)
    return planes
