"""What all losses do first: rows of length 1."""

import pytest
import torch
import torch.nn.functional as F

from dipole.losses.common import unit_rows


@pytest.mark.parametrize("shape", [(5, 3), (2, 4, 3), (7, 1)])
@pytest.mark.parametrize("length", [1.0, 1e-11, 1e18])
def test_unit_rows_are_those_of_torch(shape, length):
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    x.flatten(0, -2)[1] *= length
    x.requires_grad_()
    ours, expected = unit_rows(x), F.normalize(x, dim=-1)
    torch.testing.assert_close(ours, expected, rtol=1e-14, atol=0)
    (slope,), (wanted,) = (torch.autograd.grad((weight * unit).sum(), x) for unit in (ours, expected))
    torch.testing.assert_close(slope, wanted, rtol=1e-10, atol=1e-14 / min(length, 1.0))


@pytest.mark.parametrize("factor", [1e-40, 1e-25, 1e-15, 1e15, 1e19, 1e37])
def test_rows_of_any_length_keep_their_direction(factor):
    x = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    scaled = (x * factor).requires_grad_()
    unit = unit_rows(scaled)
    torch.testing.assert_close(unit, unit_rows(x), rtol=1e-5 if factor > 1e-38 else 1e-3, atol=1e-5)
    unit.square().sum().backward()
    unit_rows(scaled)[:, 0].sum().backward()
    assert bool(scaled.grad.isfinite().all())


def test_a_row_of_zeros_has_no_gradient():
    x = torch.ones(3, 4)
    x[1] = 0
    x.requires_grad_()
    unit_rows(x)[:, 0].sum().backward()
    assert x.grad[1].tolist() == [0.0] * 4
    assert torch.func.grad(lambda y: unit_rows(y)[:, 0].sum())(x.detach())[1].tolist() == [0.0] * 4


def test_unit_rows_have_second_derivatives():
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(unit_rows, x)
    assert torch.autograd.gradgradcheck(unit_rows, x)
