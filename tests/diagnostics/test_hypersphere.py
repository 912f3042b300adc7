import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dipole.diagnostics import alignment, uniformity
from dipole.errors import InputError


def embeddings(rows: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(rows, 5, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def by_pairs(x: torch.Tensor, t: float) -> torch.Tensor:
    """Uniformity as it is defined, pair by pair."""
    z = x / x.norm(dim=1, keepdim=True)
    return torch.pdist(z).square().mul(-t).exp().mean().log()


@settings(deadline=None, max_examples=20)
@given(rows=st.integers(2, 40), t=st.floats(0.1, 8), seed=st.integers(0, 99))
def test_uniformity_is_the_log_mean_potential_over_pairs(rows: int, t: float, seed: int) -> None:
    x = embeddings(rows, seed)
    torch.testing.assert_close(uniformity(x, t), by_pairs(x, t), rtol=1e-9, atol=1e-9)


def test_including_oneself_adds_the_diagonal_and_both_orders() -> None:
    x = embeddings(7)
    potential = by_pairs(x, 2.0).exp()
    torch.testing.assert_close(uniformity(x, include_self=True), ((potential * 42 + 7) / 49).log())


def test_uniformity_across_tiles_equals_one_matrix() -> None:
    x = embeddings(2500, dtype=torch.float32)
    torch.testing.assert_close(uniformity(x), by_pairs(x, 2.0), rtol=1e-4, atol=1e-5)


def test_collapse_has_uniformity_zero_and_alignment_zero() -> None:
    x = torch.ones(6, 3, dtype=torch.float64)
    assert float(uniformity(x)) == pytest.approx(0, abs=1e-12)
    assert float(alignment(x, 3 * x)) == pytest.approx(0, abs=1e-12)


def test_both_have_gradients() -> None:
    x = embeddings(6).requires_grad_()
    (alignment(x, embeddings(6, 1)) + uniformity(x)).backward()
    assert x.grad is not None
    assert bool(x.grad.isfinite().all())
    assert float(x.grad.abs().sum()) > 0


def test_alignment_exponent_acts_on_the_distance() -> None:
    x, y = embeddings(4), embeddings(4, 1)
    cosine = torch.nn.functional.cosine_similarity(x, y)
    torch.testing.assert_close(alignment(x, y), (2 - 2 * cosine).mean())
    torch.testing.assert_close(alignment(x, y, alpha=1), (2 - 2 * cosine).sqrt().mean())


def test_half_precision_is_accumulated_in_float32() -> None:
    x = embeddings(8).bfloat16()
    assert uniformity(x).dtype == torch.float32
    torch.testing.assert_close(uniformity(x), uniformity(x.float()))


@pytest.mark.parametrize("alpha", [0.0, -1.0, math.nan])
def test_a_wrong_exponent_is_refused(alpha: float) -> None:
    with pytest.raises(InputError, match="alpha is"):
        alignment(torch.eye(2), torch.eye(2), alpha)


def test_wrong_input_is_refused() -> None:
    with pytest.raises(InputError, match="2 or more"):
        uniformity(torch.ones(1, 3))
    with pytest.raises(InputError, match="t is 0"):
        uniformity(torch.eye(3), t=0.0)
    with pytest.raises(InputError, match="NaN"):
        uniformity(torch.full((3, 3), math.nan))
