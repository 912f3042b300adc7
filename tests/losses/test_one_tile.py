"""NT-Xent of small batches goes a way of its own: it must be the general one, in values, gradients and refusals."""

import pytest
import torch

from dipole.errors import InputError
from dipole.losses import nt_xent_loss
from dipole.losses.one_tile import LARGEST, small_nt_xent
from dipole.ops import check_values


def _views(rows: int, dim: int, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(rows)
    return tuple(torch.randn(rows, dim, generator=generator, dtype=dtype).requires_grad_() for _ in range(2))  # type: ignore[return-value]


@pytest.mark.parametrize(("rows", "dim"), [(2, 3), (5, 1), (33, 17), (LARGEST // 2, 8)])
@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("learned", [False, True])
def test_it_is_the_general_way(rows: int, dim: int, reduction: str, learned: bool) -> None:
    z1, z2 = _views(rows, dim)
    temperature = torch.tensor(0.3, requires_grad=True) if learned else 0.3
    inputs = [z1, z2, temperature] if isinstance(temperature, torch.Tensor) else [z1, z2]
    found = []
    assert small_nt_xent(z1, z2, temperature, gather=False) is not None
    for looks in (True, False):  # without looks it is not known whether the small way is open
        with check_values(looks):
            value = nt_xent_loss(z1, z2, temperature=temperature, reduction=reduction)  # type: ignore[arg-type]
        weights = torch.linspace(1, 2, value.numel()).view_as(value)
        found.append((value, *torch.autograd.grad((value * weights).sum(), inputs)))
    for small, general in zip(*found, strict=True):
        torch.testing.assert_close(small, general, rtol=2e-5, atol=2e-6)


def test_second_derivatives_at_a_temperature_that_is_a_number() -> None:
    inputs = _views(4, 3, torch.float64)
    assert torch.autograd.gradgradcheck(lambda a, b: nt_xent_loss(a, b, temperature=0.2), inputs)


def test_derivatives_in_double_precision() -> None:
    inputs = (*_views(4, 3, torch.float64), torch.tensor(0.2, dtype=torch.float64, requires_grad=True))
    assert torch.autograd.gradcheck(lambda a, b, t: small_nt_xent(a, b, t, gather=False), inputs)
    assert torch.autograd.gradgradcheck(lambda a, b, t: small_nt_xent(a, b, t, gather=False), inputs)


def test_unusual_rows_are_left_to_the_general_way() -> None:
    z1, z2 = (z.detach() for z in _views(4, 3))
    for scale in (0.0, 1e-30, 1e30):
        assert small_nt_xent(z1, z2 * scale, 0.1, gather=False) is None
        assert torch.isfinite(nt_xent_loss(z1, z2 * scale))
    assert small_nt_xent(z1, z2, 0.001, gather=False) is None
    assert small_nt_xent(z1, z2.double(), 0.1, gather=False) is None
    with pytest.raises(InputError, match="z2 contains NaN"):
        nt_xent_loss(z1, torch.where(z2 == z2[1, 1], torch.nan, z2))
    assert small_nt_xent(z1, z2[:3], 0.1, gather=False) is None
    with pytest.raises(InputError, match="temperature is -1"):
        nt_xent_loss(z1, z2, temperature=-1)


def test_half_precision_around_it_changes_nothing() -> None:
    z1, z2 = _views(8, 16)
    plain = nt_xent_loss(z1, z2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = nt_xent_loss(z1, z2)
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, plain)
