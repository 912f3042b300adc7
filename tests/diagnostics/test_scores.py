import pytest
import torch
import torch.nn.functional as F

from dipole.diagnostics import rows as tiles
from dipole.diagnostics import score_distributions
from dipole.errors import InputError


@pytest.mark.parametrize("entries", [1 << 20, 90])
def test_every_pair_counts_once(entries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "TILE_ENTRIES", entries)
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(2, 40, 3, generator=generator, dtype=torch.float64)
    similarity = F.normalize(x, dim=1) @ F.normalize(y, dim=1).T
    own = torch.eye(40, dtype=torch.bool)
    found = score_distributions(x, y, bins=10)
    for scores, expected in ((found.positive, similarity[own]), (found.negative, similarity[~own])):
        assert scores.mean == pytest.approx(float(expected.mean()))
        assert scores.variance == pytest.approx(float(expected.var(correction=0)))
        density = torch.histogram(expected, bins=10, range=(-1, 1), density=True).hist
        torch.testing.assert_close(scores.density, density)


def test_densities_integrate_to_one_with_scores_at_the_ends() -> None:
    x = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0, 1e-4]])
    found = score_distributions(x, x, bins=8)
    for scores in (found.positive, found.negative):
        assert float(scores.density.sum()) * 2 / 8 == pytest.approx(1)
    assert float(found.positive.density[-1]) == 4
    assert found.edges.tolist()[0::8] == [-1, 1]


def test_wrong_input_is_refused() -> None:
    with pytest.raises(InputError, match="bins is 0"):
        score_distributions(torch.eye(2), torch.eye(2), bins=0)
    with pytest.raises(InputError, match="2 or more"):
        score_distributions(torch.ones(1, 2), torch.ones(1, 2))
