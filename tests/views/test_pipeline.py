import dataclasses
import itertools

import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from dipole.errors import InputError
from dipole.views import SimCLRViews, ViewParameters, apply_views, pipeline


def photo(n, height, width, seed=0):
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(seed))


def parameters(images, **changes):
    """Parameters that change nothing but what is given, as one value for all images or as a tensor."""
    n, _, height, width = images.shape
    tensors = {name: torch.as_tensor(value) for name, value in changes.items()}
    tensors = {name: value if value.ndim else value.expand(n) for name, value in tensors.items()}
    return dataclasses.replace(ViewParameters.identity(n, height, width), **tensors)


def assert_equal(ours, expected):
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [7, 16, 40])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("crop", [(0, 0, 20, 30), (3, 5, 9, 14), (19, 29, 1, 1), (0, 10, 20, 4), (2, 0, 17, 30)])
def test_crop_resize_and_flip(size, flip, crop):
    images, (top, left, height, width) = photo(2, 20, 30), crop
    chosen = parameters(images, top=float(top), left=float(left), height=float(height), width=float(width), flip=flip)
    expected = tv.resized_crop(images, top, left, height, width, [size, size], antialias=True)
    assert_equal(apply_views(images, chosen, size)[0], expected.flip(-1) if flip else expected)


OPERATIONS = ("brightness", "contrast", "saturation", "hue")
PEERS = (tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation, tv.adjust_hue)


@pytest.mark.parametrize("operation", range(4))
@pytest.mark.parametrize("strength", [-1.0, -0.5, -0.13, 0.0, 0.31, 0.5, 1.0])
def test_each_colour_operation(operation, strength):
    images = photo(3, 9, 9)
    value = strength / 2 if operation == 3 else 1 + strength
    chosen = parameters(images, jitter=True, **{OPERATIONS[operation]: value})
    assert_equal(apply_views(images, chosen, 9)[0], PEERS[operation](images, value))


def test_hue_of_corner_colours():
    corners = torch.tensor(list(itertools.product([0.0, 0.25, 1.0], repeat=3))).t().reshape(1, 3, 3, 9)
    corners = torch.cat([corners] * 3, 2)
    for shift in torch.linspace(-0.5, 0.5, 13).tolist():
        ours = apply_views(corners, parameters(corners, jitter=True, hue=shift), 9)[0]
        assert_equal(ours, tv.adjust_hue(corners, shift))


def test_every_order_of_the_four_operations():
    orders = list(itertools.permutations(range(4)))
    images, n = photo(24, 8, 8), 24
    generator = torch.Generator().manual_seed(1)
    factors = torch.rand(3, n, generator=generator) * 1.8 + 0.1
    hue = torch.rand(n, generator=generator) - 0.5
    chosen = parameters(
        images, jitter=True, order=torch.tensor(orders), hue=hue, **dict(zip(OPERATIONS, factors, strict=False))
    )
    ours = apply_views(images, chosen, 8)[0]
    for i, order in enumerate(orders):
        expected = images[i]
        for operation in order:
            expected = PEERS[operation](expected, float(getattr(chosen, OPERATIONS[operation])[i]))
        assert_equal(ours[i], expected)


@pytest.mark.parametrize(("size", "kernel"), [(8, 3), (32, 3), (96, 9)])
@pytest.mark.parametrize("sigma", [0.1, 0.8, 2.0])
def test_blur(size, kernel, sigma):
    images = photo(2, size, size)
    chosen = parameters(images, blur=True, blur_sigma=sigma)
    assert_equal(apply_views(images, chosen, size)[0], tv.gaussian_blur(images, [kernel, kernel], [sigma, sigma]))


def test_grayscale_and_solarize():
    images = photo(2, 8, 8)
    grey = apply_views(images, parameters(images, grayscale=True), 8)[0]
    assert_equal(grey, tv.rgb_to_grayscale(images, 3))
    assert_equal(apply_views(images, parameters(images, solarize=True), 8)[0], tv.solarize(images, 0.5))


@pytest.mark.parametrize("pixels", [1, 200, 1 << 16])
def test_a_mixed_batch_in_pieces_equals_one_sample_at_a_time(pixels, monkeypatch):
    images, n = photo(5, 12, 10), 60
    generator = torch.Generator().manual_seed(2)

    def coin():
        return torch.rand(n, generator=generator) < 0.5

    chosen = parameters(
        images.repeat(12, 1, 1, 1),
        flip=coin(),
        jitter=coin(),
        grayscale=coin(),
        blur=coin(),
        solarize=coin(),
        order=torch.rand(n, 4, generator=generator).argsort(1),
        brightness=torch.rand(n, generator=generator) * 2,
        hue=torch.rand(n, generator=generator) - 0.5,
        blur_sigma=torch.rand(n, generator=generator) + 0.1,
    )
    monkeypatch.setattr(pipeline, "CACHED_PIXELS", pixels)
    together = apply_views(images, chosen, 8).flatten(0, 1)
    recorded = apply_views(images.clone().requires_grad_(), chosen, 8).flatten(0, 1).detach()
    monkeypatch.undo()
    alone = torch.cat([apply_views(images[i % 5][None], chosen[i : i + 1], 8)[0] for i in range(n)])
    assert_equal(together, alone)
    assert_equal(recorded, alone)


@pytest.mark.parametrize("finish", [False, True])
@pytest.mark.parametrize(("shape", "size"), [((20, 31), 24), ((40, 24), 24), ((24, 24), 41), ((3, 70), 5)])
def test_sums_over_taps_equal_products_of_matrices(shape, size, finish, monkeypatch):
    images = photo(12, *((size, size) if finish else shape))
    views = SimCLRViews(size, blur=0.5, solarize=0.3)
    chosen = views.draw(24, *images.shape[2:], torch.Generator().manual_seed(0))
    if finish:
        chosen = chosen.uncropped(size)
    by_taps, doubled = (apply_views(some, chosen, size) for some in (images, images.double()))
    assert_equal(by_taps, doubled.float())
    monkeypatch.setattr(pipeline, "TAPS", set())
    torch.testing.assert_close(apply_views(images.double(), chosen, size), doubled, atol=1e-12, rtol=0)
    assert_equal(apply_views(images, chosen, size), by_taps)


def test_a_wrong_number_of_parameters_is_refused():
    with pytest.raises(InputError, match="expected a multiple of 3"):
        apply_views(photo(3, 8, 8), ViewParameters.identity(4, 8, 8), 8)


def test_nothing_is_read_back_from_the_device():
    # The meta device has no values: reading one raises, as does an operation across devices.
    images = torch.empty(16, 3, 40, 40, dtype=torch.uint8, device="meta")
    views = SimCLRViews(40, solarize=0.2)(images, torch.Generator().manual_seed(0))
    assert views.device.type == "meta"
    assert views.shape == (2, 16, 3, 40, 40)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_views():
    images, views = photo(16, 40, 40), SimCLRViews(40)
    here, there = (views(some, torch.Generator().manual_seed(0)) for some in (images, images.cuda()))
    torch.testing.assert_close(there.cpu(), here, atol=1e-3, rtol=0)
    assert views(images.cuda(), torch.Generator("cuda").manual_seed(0)).isfinite().all()
