"""What all losses do first: rows of length 1."""

import pytest
import torch
import torch.nn.functional as F

from dipole.losses.common import unit_rows


@pytest.mark.parametrize("shape", [(5, 3), (2, 4, 3), (7, 1)])
@pytest.mark.parametrize("length", [1.0, 1e-13, 0.0, 1e18])
def test_unit_rows_are_those_of_torch(shape, length):
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    x.flatten(0, -2)[1] *= length
    x.requires_grad_()
    ours, expected = unit_rows(x), F.normalize(x, dim=-1)
    torch.testing.assert_close(ours, expected, rtol=1e-14, atol=0)
    (slope,), (wanted,) = (torch.autograd.grad((weight * unit).sum(), x) for unit in (ours, expected))
    torch.testing.assert_close(slope, wanted, rtol=1e-10, atol=1e-14)


def test_unit_rows_have_second_derivatives():
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(unit_rows, x)
    assert torch.autograd.gradgradcheck(unit_rows, x)
