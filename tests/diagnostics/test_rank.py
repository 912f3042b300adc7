import pytest
import torch

from dipole.diagnostics import effective_rank, spread


def test_it_counts_equally_used_directions() -> None:
    basis = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))).Q
    torch.testing.assert_close(effective_rank(7 * basis[:3]), torch.tensor(3.0, dtype=torch.float64))


def test_an_unequal_spectrum_counts_less() -> None:
    share = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64)
    torch.testing.assert_close(effective_rank(torch.diag(share)), torch.tensor(2.0, dtype=torch.float64) ** 1.5)


def test_collapse_has_rank_one() -> None:
    assert round(float(effective_rank(torch.ones(9, 4, dtype=torch.float64))), 6) == 1
    assert float(effective_rank(torch.zeros(9, 4))) == 1


def test_spread_tells_collapse() -> None:
    generator = torch.Generator().manual_seed(0)
    assert float(spread(torch.randn(4000, 32, generator=generator))) == pytest.approx(1, abs=0.02)
    assert float(spread(torch.randn(1, 32, generator=generator).expand(50, 32))) == pytest.approx(0, abs=1e-6)
    z = torch.randn(20, 4, generator=generator)
    torch.testing.assert_close(spread(z * torch.rand(20, 1, generator=generator) * 1e20), spread(z))
