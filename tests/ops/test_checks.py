import math

import pytest
import torch
from torch import Tensor

from dipole.errors import InputError
from dipole.ops import gather, gather_mean, rank, world_size
from dipole.ops.checks import (
    check_at_least,
    check_choice,
    check_embeddings,
    check_same_rows,
    check_temperature,
    check_views,
)


@pytest.mark.parametrize(
    ("z", "message"),
    [
        (torch.ones(3), r"z has shape \(3,\): expected embeddings of shape \(N, D\)"),
        (torch.ones(3, 2, dtype=torch.long), r"torch.int64: expected floating point. Convert it with .float\(\)"),
        (torch.ones(0, 2), "at least one row and one column"),
        (torch.ones(2, 0), "at least one row and one column"),
        (torch.tensor([[1.0, math.nan]]), "z contains NaN or infinite values"),
        (torch.tensor([[1.0, math.inf]]), "z contains NaN or infinite values"),
        (torch.tensor([[math.inf, -math.inf]]), "z contains NaN or infinite values"),
    ],
)
def test_embeddings_that_are_none(z: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_embeddings(z=z)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_largest_finite_values_pass(dtype: torch.dtype) -> None:
    check_embeddings(z=torch.full((300, 30), torch.finfo(dtype).max, dtype=dtype))


def test_widths_and_rows_must_agree() -> None:
    with pytest.raises(InputError, match="keys has width 3 and the embeddings before it 2"):
        check_embeddings(queries=torch.ones(4, 2), keys=torch.ones(4, 3))
    with pytest.raises(InputError, match=r"z1 \(4, 2\), z2 \(3, 2\).*same sample"):
        check_same_rows(z1=torch.ones(4, 2), z2=torch.ones(3, 2))


def test_views_need_three_axes_and_enough_views() -> None:
    with pytest.raises(InputError, match=r"expected \(V, N, D\)"):
        check_views(torch.ones(4, 2))
    with pytest.raises(InputError, match="2 or more views are needed"):
        check_views(torch.ones(1, 4, 2))
    check_views(torch.ones(1, 4, 2), minimum=1)


@pytest.mark.parametrize("value", [0.0, -0.1, math.nan, math.inf])
def test_temperatures_above_zero(value: float) -> None:
    for given in (value, torch.tensor(value)):
        with pytest.raises(InputError, match=r"sigma is .*above 0"):
            check_temperature(given, "sigma")


@pytest.mark.parametrize("value", [0.9, -math.inf, math.inf, math.nan])
def test_numbers_of_at_least(value: float) -> None:
    with pytest.raises(InputError, match=r"epochs is .* at least 1"):
        check_at_least(value, 1, "epochs")
    check_at_least(1, 1, "epochs")


def test_choices() -> None:
    with pytest.raises(InputError, match="cost is 'l2': expected one of 'euclidean', 'rbf'"):
        check_choice("l2", ("euclidean", "rbf"), "cost")


def test_one_process_gathers_nothing() -> None:
    x = torch.ones(3, 2, requires_grad=True)
    assert gather(x) is x
    assert gather_mean(x) is x
    assert (world_size(), rank()) == (1, 0)
