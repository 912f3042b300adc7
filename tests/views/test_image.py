import inspect

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import v2

from dipole.errors import InputError
from dipole.views import CACRViews, DINOViews, ImageViews, MoCoV2Views, SimCLRViews, resize


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def photo(n, height, width, seed=0):
    """Smooth random images: neighbouring pixels agree, channels differ."""
    coarse = torch.rand(n, 3, 5, 5, generator=seeded(seed))
    return torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic").clamp(0, 1)


@pytest.mark.parametrize(
    "views", [SimCLRViews(16), MoCoV2Views(40, num_views=3), CACRViews(8, num_views=1), DINOViews(24)]
)
@pytest.mark.parametrize("shape", [(5, 3, 24, 33), (2, 3, 1, 1), (1, 3, 2, 9)])
def test_shape_type_and_range(views, shape):
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=seeded())
    result = views(images, seeded(1))
    assert result.shape == (views.num_views, shape[0], 3, views.size, views.size)
    assert result.dtype == torch.float32
    assert result.is_contiguous()
    assert 0 <= result.min() <= result.max() <= 1


def test_bytes_and_real_numbers_agree():
    images = torch.randint(0, 256, (6, 3, 20, 20), dtype=torch.uint8, generator=seeded())
    views = SimCLRViews(40)
    torch.testing.assert_close(views(images, seeded(3)), views(images / 255, seeded(3)), atol=2e-6, rtol=0)
    torch.testing.assert_close(
        views(images, seeded(3)), views(images.double() / 255, seeded(3)).float(), atol=1e-5, rtol=0
    )


def test_same_seed_same_bits_and_another_seed_another_view():
    images, views = photo(8, 32, 32), SimCLRViews(32, blur=0.5)
    assert torch.equal(views(images, seeded(5)), views(images, seeded(5)))
    assert not torch.equal(views(images, seeded(5)), views(images, seeded(6)))


def test_without_a_generator_the_global_one_is_used():
    images, views = photo(4, 16, 16), SimCLRViews(16)
    torch.manual_seed(7)
    first = views(images)
    torch.manual_seed(7)
    assert torch.equal(first, views(images))


def test_every_view_of_every_image_is_drawn_anew():
    views = SimCLRViews(16, num_views=3)(photo(1, 32, 32).expand(6, -1, -1, -1), seeded()).flatten(0, 1).flatten(1)
    distances = torch.cdist(views, views) + torch.eye(18) * 1e3
    assert distances.min() > 1e-2


def test_an_image_does_not_depend_on_its_neighbours():
    images, views = photo(6, 32, 32), SimCLRViews(32, blur=0.5, solarize=0.3)
    other = torch.cat([images[:3], torch.rand(3, 3, 32, 32, generator=seeded(9))])
    torch.testing.assert_close(views(images, seeded(2))[:, :3], views(other, seeded(2))[:, :3])


def test_options_do_not_shift_each_others_draws():
    plain = SimCLRViews(32).draw(50, 32, 32, seeded())
    changed = SimCLRViews(32, blur=1.0, jitter=0.0, flip=0.0).draw(50, 32, 32, seeded())
    assert torch.equal(plain.top, changed.top)
    assert torch.equal(plain.grayscale, changed.grayscale)


def test_everything_switched_off_is_resize():
    images = photo(3, 24, 24)
    off = SimCLRViews(16, crop_scale=(1, 1), crop_ratio=(1, 1), flip=0, jitter=0, grayscale=0)
    torch.testing.assert_close(off(images)[1], resize(images, 16))


def test_zero_strengths_change_no_colour():
    images = photo(4, 16, 16)
    geometry = {"crop_scale": (0.3, 1.0), "grayscale": 0.0}
    still = SimCLRViews(16, jitter=1, brightness=0, contrast=0, saturation=0, hue=0, **geometry)
    none = SimCLRViews(16, jitter=0, **geometry)
    torch.testing.assert_close(still(images, seeded()), none(images, seeded()), atol=1e-6, rtol=0)


def test_grey_images_stay_grey_and_lose_nothing_to_hue_and_saturation():
    images = torch.rand(32, 1, 16, 16, generator=seeded()).expand(-1, 3, -1, -1)
    views = SimCLRViews(16, jitter=1, brightness=0, contrast=0, saturation=0.8, hue=0.5, grayscale=0.5)
    plain = SimCLRViews(16, jitter=0, grayscale=0)
    result = views(images, seeded(4))
    assert (result - result[:, :, :1]).abs().max() < 1e-6
    # The luma weights sum to 0.9999.
    torch.testing.assert_close(result, plain(images, seeded(4)), atol=3e-4, rtol=0)


def test_blur_is_off_by_default_for_small_views():
    assert SimCLRViews(32).blur == 0
    assert SimCLRViews(33).blur == 0.5
    assert SimCLRViews(32, blur=0.5).blur == 0.5


def composed(size, scale, jitter, strengths, blur):
    """The same pipeline in torchvision, which draws once a call."""
    return v2.Compose(
        [
            v2.RandomResizedCrop(size, scale=scale, antialias=True),
            v2.RandomHorizontalFlip(0.5),
            v2.RandomApply([v2.ColorJitter(*strengths)], p=jitter),
            v2.RandomGrayscale(0.2),
            v2.RandomApply([v2.GaussianBlur(3, (0.1, 2.0))], p=blur),
        ]
    )


@pytest.mark.parametrize(
    ("views", "peer"),
    [
        (SimCLRViews(12, blur=0.5), composed(12, (0.08, 1), 0.8, (0.8, 0.8, 0.8, 0.2), 0.5)),
        (MoCoV2Views(12), composed(12, (0.2, 1), 0.8, (0.4, 0.4, 0.4, 0.1), 0.5)),
        (CACRViews(12), composed(12, (0.2, 1), 1.0, (0.4, 0.4, 0.4, 0.4), 0.0)),
    ],
)
def test_the_moments_are_those_of_torchvision(views, peer):
    image, draws = photo(1, 16, 20), 700
    ours = views(image.expand(2000, -1, -1, -1), seeded()).flatten(0, 1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = torch.stack([peer(image[0]) for _ in range(draws)])

    def statistics(batch):
        """One row a view: mean, mean square and spread of each channel, and how far the channels differ."""
        gap = (batch[:, 0] - batch[:, 2]).square().mean((1, 2))[:, None]
        halves = (batch[..., :6] - batch[..., 6:]).mean((2, 3))
        means = batch.mean((2, 3))
        return torch.cat([means, means.square(), batch.square().mean((2, 3)), batch.var((2, 3)), gap, halves], 1)

    a, b = statistics(ours), statistics(theirs)
    error = (a.var(0) / len(a) + b.var(0) / len(b)).sqrt()
    assert ((a.mean(0) - b.mean(0)).abs() / error).max() < 4.5


def test_gradients_are_exact():
    images = photo(2, 3, 4).double() * 0.8 + 0.1
    views = SimCLRViews(3, blur=0.7, solarize=0.4, grayscale=0.4)
    images.requires_grad_()
    assert views(images, seeded(1)).dtype == torch.float64
    assert torch.autograd.gradcheck(lambda x: views(x, seeded(1)), images)


def test_recording_gradients_changes_no_value():
    images, views = photo(40, 32, 32), SimCLRViews(40)
    recorded = views(images.clone().requires_grad_(), seeded())
    assert recorded.requires_grad
    torch.testing.assert_close(recorded.detach(), views(images, seeded()), atol=1e-6, rtol=0)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.5])
def test_flat_images_have_finite_gradients(value):
    images = torch.full((20, 3, 8, 8), value, requires_grad=True)
    views = SimCLRViews(8, blur=0.5)(images, seeded())
    assert views.isfinite().all()
    views.square().sum().backward()
    assert images.grad.isfinite().all()


def test_the_input_is_left_alone():
    images = torch.rand(4, 3, 16, 16)
    before = images.clone()
    SimCLRViews(16)(images, seeded())
    assert torch.equal(images, before)


@pytest.mark.parametrize("size", [8, 15, 16, 21])
@pytest.mark.parametrize("shape", [(16, 16), (24, 16), (15, 30)])
def test_resize_equals_torchvision(size, shape):
    images = photo(3, *shape)
    square = v2.functional.center_crop(images, [min(shape)] * 2)
    expected = v2.functional.resize(square, [size, size], antialias=True)
    torch.testing.assert_close(resize(images, size), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(resize((images * 255).byte(), size), expected, atol=1e-2, rtol=0)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**31))
@settings(max_examples=15, deadline=None)
def test_any_small_image_gives_finite_views(height, width, size, seed):
    images = torch.rand(3, 3, height, width, generator=seeded(seed))
    for views in (SimCLRViews(size, blur=0.5, solarize=0.5)(images, seeded(seed)), resize(images, size)):
        assert views.isfinite().all()
        assert 0 <= views.min() <= views.max() <= 1


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.rand(3, 8, 8), "Add a batch axis"),
        (torch.rand(2, 1, 8, 8), "Repeat grey ones"),
        (torch.rand(0, 3, 8, 8), "at least one image"),
        (torch.ones(2, 3, 8, 8, dtype=torch.int64), "expected uint8"),
        (torch.ones(2, 3, 8, 8) * 255, "Divide bytes by 255"),
        (torch.full((2, 3, 8, 8), torch.nan), "expected \\[0, 1\\]"),
    ],
)
def test_bad_images_are_refused(images, message):
    for transform in (SimCLRViews(8), lambda some: resize(some, 8)):
        with pytest.raises(InputError, match=message):
            transform(images)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 0}, "size is 0"),
        ({"num_views": 0}, "num_views is 0"),
        ({"flip": 1.5}, "flip is 1.5: expected a probability"),
        ({"blur": -0.1}, "blur is -0.1"),
        ({"jitter": float("nan")}, "jitter is nan"),
        ({"hue": 0.6}, "hue is 0.6"),
        ({"contrast": -1.0}, "contrast is -1.0"),
        ({"crop_scale": (0.5, 1.5)}, "at most 1, the smaller one first"),
        ({"crop_scale": (0.5, 0.2)}, "crop_scale"),
        ({"crop_ratio": (0.0, 1.0)}, "crop_ratio"),
        ({"blur_sigma": (0.0, 1.0)}, "blur_sigma"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        SimCLRViews(**settings)


def test_resize_refuses_a_size_below_one():
    with pytest.raises(InputError, match="size is 0"):
        resize(torch.rand(1, 3, 4, 4), 0)


@pytest.mark.parametrize("cls", [SimCLRViews, MoCoV2Views, CACRViews, DINOViews])
def test_signatures_are_explicit(cls):
    parameters = inspect.signature(cls).parameters
    assert not any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters.values())
    assert all(p.annotation is not p.empty for p in parameters.values())
    assert f"size={cls().size}" in repr(cls())


def test_kinds_of_views_take_turns():
    views = DINOViews(32, num_views=4, blur=(1.0, 0.0), solarize=(0.0, 1.0))
    drawn = views.draw(4 * 50, 32, 32, seeded())
    assert drawn.blur.view(4, 50).float().mean(dim=1).tolist() == [1, 0, 1, 0]
    assert drawn.solarize.view(4, 50).float().mean(dim=1).tolist() == [0, 1, 0, 1]
    assert len(drawn.top.unique()) > 1
    with pytest.raises(InputError, match="7 views are no multiple of 4"):
        views.draw(7, 32, 32)


def test_two_equal_kinds_are_one():
    images = photo(3, 24, 24)
    options = {"crop_scale": (0.3, 1.0), "brightness": 0.4, "contrast": 0.4, "saturation": 0.2, "hue": 0.1}
    twice, generator = DINOViews(16, blur=(0.5, 0.5), solarize=(0.1, 0.1), **options), seeded()
    once = SimCLRViews(16, num_views=1, blur=0.5, solarize=0.1, **options)
    expected = torch.cat([once(images, generator), once(images, generator)])
    torch.testing.assert_close(twice(images, seeded()), expected)


def test_the_base_class_makes_no_views():
    with pytest.raises(NotImplementedError):
        ImageViews(8)(torch.rand(1, 3, 8, 8))


@pytest.mark.parametrize(("kinds", "kept"), [("a", "crop"), ("d", "jitter"), ("e", "flip"), ("", "nothing")])
def test_kinds_that_are_left_out_do_nothing(kinds: str, kept: str) -> None:
    images = torch.rand(16, 3, 16, 16)
    views = SimCLRViews(16, kinds=kinds, blur=0.5)(images, generator=torch.Generator().manual_seed(0))
    same = torch.isclose(views, images.expand(2, -1, -1, -1, -1), atol=1e-5).flatten(2).all(dim=2)
    flipped = torch.isclose(views, images.flip(3).expand(2, -1, -1, -1, -1), atol=1e-5).flatten(2).all(dim=2)
    if kept == "nothing":
        assert bool(same.all())
    elif kept == "flip":
        assert bool((same | flipped).all())
        assert bool(flipped.any())
    else:
        assert not bool(same.all())
    with pytest.raises(InputError, match="expected letters"):
        SimCLRViews(16, kinds="xyz")
