import pytest
import torch

from dipole.errors import InputError
from dipole.nn import MissingModalityProjector

MEAN = torch.tensor([1.0, -2.0, 3.0])


@pytest.fixture
def projector() -> MissingModalityProjector:
    torch.manual_seed(0)
    return MissingModalityProjector(3, 4, mean=MEAN)


def test_what_is_missing_is_not_looked_at(projector: MissingModalityProjector) -> None:
    features, missing = torch.randn(2, 5, 3), torch.tensor([True, False, True, False, False])
    first, second = (projector(rows, missing) for rows in features)
    assert torch.equal(first[missing], second[missing])
    assert torch.equal(first[0], first[2])
    assert not torch.equal(first[~missing], second[~missing])
    features[0, missing] = torch.nan
    assert projector(features[0], missing).isfinite().all()


def test_the_indicator_tells_a_mean_from_a_missing_one(projector: MissingModalityProjector) -> None:
    seen, missing = projector(MEAN.expand(2, -1), torch.tensor([False, True]))
    assert not torch.equal(seen, missing)
    with torch.no_grad():
        projector.indicator.weight[1] = projector.indicator.weight[0]
    seen, missing = projector(MEAN.expand(2, -1), torch.tensor([False, True]))
    torch.testing.assert_close(seen, missing)


def test_its_parts(projector: MissingModalityProjector) -> None:
    rows = projector(torch.randn(6, 3), torch.zeros(6, dtype=torch.bool))
    torch.testing.assert_close(rows.mean(dim=1), torch.zeros(6), atol=1e-5, rtol=0)
    assert {name for name, _ in projector.named_parameters()} == {
        "indicator.weight",
        "linear.weight",
        "linear.bias",
        "norm.weight",
        "norm.bias",
    }
    assert torch.equal(projector.state_dict()["mean"], MEAN)
    assert torch.equal(MissingModalityProjector(2, 4).mean, torch.zeros(2))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("sizes", "mean"), [((0, 4), None), ((3, 0), None), ((2, 4), MEAN), ((3, 4), MEAN[None])])
def test_sizes_that_are_refused(sizes: tuple[int, int], mean: torch.Tensor | None) -> None:
    with pytest.raises(InputError, match=r"expected (1 or more of each|\(\d,\), one of each feature)"):
        MissingModalityProjector(*sizes, mean=mean)
