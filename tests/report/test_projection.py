import torch

from dipole.report.projection import plane, sample


def test_the_map_keeps_groups_together_and_repeats() -> None:
    generator = torch.Generator().manual_seed(0)
    label = torch.arange(40) % 2
    x = 4 * torch.eye(2, 6)[label] + 0.2 * torch.randn(40, 6, generator=generator)
    points = plane(x, seed=3)
    assert points is not None
    distance = torch.cdist(points, points).fill_diagonal_(torch.inf)
    assert torch.equal(label[distance.argmin(1)], label)
    assert torch.equal(points, plane(x, seed=3))


def test_one_dimension_is_enough() -> None:
    points = plane(torch.tensor([[1.0], [-1.0]]).repeat(5, 1), seed=0)
    assert points is not None
    assert bool(points.isfinite().all())


def test_the_sample_is_sorted_without_repetition_and_seeded() -> None:
    rows = sample(100, 30, seed=1)
    assert len(rows) == 30
    assert bool((rows.diff() > 0).all())
    assert torch.equal(rows, sample(100, 30, seed=1))
    assert not torch.equal(rows, sample(100, 30, seed=2))
