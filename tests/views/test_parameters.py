import pytest
import torch
from scipy import stats
from torchvision.transforms import v2

from dipole.views import SimCLRViews
from dipole.views.parameters import draw_crops


@pytest.mark.parametrize(
    ("height", "width", "scale", "ratio"),
    [
        (32, 32, (0.08, 1.0), (3 / 4, 4 / 3)),
        (20, 37, (0.2, 1.0), (3 / 4, 4 / 3)),
        (11, 40, (0.9, 1.0), (0.9, 1.1)),  # no candidate fits: the fallback
        (40, 11, (0.9, 1.0), (0.9, 1.1)),
        (30, 34, (0.95, 1.0), (0.5, 2.0)),  # few candidates fit
    ],
)
def test_crops_are_distributed_as_torchvisions(height, width, scale, ratio):
    uniform = torch.rand(22, 4000, generator=torch.Generator().manual_seed(0))
    ours = torch.stack(draw_crops(uniform, height, width, scale, ratio))
    peer = v2.RandomResizedCrop(8, scale=scale, ratio=ratio)
    image = torch.zeros(1, 3, height, width)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        draws = [peer.make_params([image]) for _ in range(1000)]
    theirs = torch.tensor([[d["top"], d["left"], d["height"], d["width"]] for d in draws], dtype=torch.float32).t()
    for a, b in ((ours, theirs), (ours[2:].prod(0)[None], theirs[2:].prod(0)[None])):
        for mine, other in zip(a, b, strict=True):
            if other.unique().numel() == 1:
                assert mine.unique().tolist() == other.unique().tolist()
            else:
                assert stats.ks_2samp(mine, other).pvalue > 1e-3


def test_crops_lie_inside_even_at_the_largest_uniform_number():
    uniform = torch.full((22, 1), 1 - 2**-24)
    top, left, height, width = draw_crops(uniform, 13, 17, (0.2, 0.3), (3 / 4, 4 / 3))
    assert top + height <= 13
    assert left + width <= 17


def test_rates_ranges_and_orders():
    n = 24000
    drawn = SimCLRViews(64, flip=0.3, solarize=0.1).draw(n, 64, 64, torch.Generator().manual_seed(0))
    for name, rate in (("flip", 0.3), ("jitter", 0.8), ("grayscale", 0.2), ("blur", 0.5), ("solarize", 0.1)):
        assert abs(float(getattr(drawn, name).float().mean()) - rate) < 4 * (rate * (1 - rate) / n) ** 0.5
    for name, low, high in (
        ("brightness", 0.2, 1.8),
        ("contrast", 0.2, 1.8),
        ("saturation", 0.2, 1.8),
        ("hue", -0.2, 0.2),
        ("blur_sigma", 0.1, 2.0),
    ):
        assert stats.kstest(getattr(drawn, name), stats.uniform(low, high - low).cdf).pvalue > 1e-3
    counts = torch.unique(drawn.order, dim=0, return_counts=True)[1]
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > 1e-3


def test_a_strength_above_one_keeps_factors_positive():
    drawn = SimCLRViews(8, brightness=1.5).draw(1000, 8, 8, torch.Generator().manual_seed(0))
    assert 0 <= drawn.brightness.min() < 0.02
    assert 2.45 < drawn.brightness.max() <= 2.5
