import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dipole.diagnostics import ajne_statistic, covariance_eigenvalues, effective_eigenvalues
from dipole.diagnostics.rows import similarity_rows
from dipole.errors import InputError


def random(rows: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), rows=st.integers(2, 12), width=st.integers(1, 6))
def test_eigenvalues_are_those_of_the_covariance(seed: int, rows: int, width: int) -> None:
    x = random(rows, width, seed)
    expected = np.linalg.eigvalsh(np.cov(x.numpy(), rowvar=False).reshape(width, width))[::-1]
    torch.testing.assert_close(covariance_eigenvalues(x), torch.from_numpy(expected.copy()), rtol=1e-8, atol=1e-10)


def test_the_number_of_directions() -> None:
    x = random(500, 6) * torch.tensor([3.0, 3.0, 3.0, 0.01, 0.01, 0.01], dtype=torch.float64)
    assert effective_eigenvalues(x) == 3
    assert effective_eigenvalues(x, threshold=1.0) == 6
    assert effective_eigenvalues(x, threshold=0.1) == 1
    assert effective_eigenvalues(x + 100) == 3  # the mean does not count
    assert effective_eigenvalues(torch.ones(5, 3)) == 0


def test_ajne_by_definition() -> None:
    x = torch.nn.functional.normalize(random(30, 4), dim=1)
    angles = sum(torch.arccos(x[i] @ x[j]) for i in range(30) for j in range(i))
    torch.testing.assert_close(ajne_statistic(5 * x), 30 / 4 - angles / (torch.pi * 30))


def test_ajne_between_balanced_and_alike() -> None:
    x = random(20, 3)
    assert abs(float(ajne_statistic(torch.cat([x, -x])))) < 1e-8
    assert float(ajne_statistic(x[:1].expand(12, -1).float())) == pytest.approx(3.0, abs=1e-6)
    assert float(ajne_statistic(torch.randn(500, 16, generator=torch.Generator().manual_seed(0)))) < 2


def test_ajne_in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    x = random(20, 3)
    expected = ajne_statistic(x)
    monkeypatch.setattr("dipole.diagnostics.rows.TILE_ENTRIES", 60)
    assert len(list(similarity_rows(x, x))) == 7
    torch.testing.assert_close(ajne_statistic(x), expected)


def test_input_that_is_refused() -> None:
    x = random(5, 3)
    for function in (covariance_eigenvalues, effective_eigenvalues, ajne_statistic):
        with pytest.raises(InputError, match="pass 2 or more"):
            function(x[:1])
        with pytest.raises(InputError, match="contains NaN"):
            function(x / 0)
    for threshold in (0.0, 1.1):
        with pytest.raises(InputError, match="expected a share above 0"):
            effective_eigenvalues(x, threshold)
