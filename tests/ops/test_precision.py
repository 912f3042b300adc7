"""Half precision comes in, float32 is computed: also under autocast, which must not round the products."""

from typing import Any

import pytest
import torch
from torch import Tensor

from dipole.ops import pairwise_logsumexp, pairwise_softmax_mean

STATISTICS = [pairwise_logsumexp, pairwise_softmax_mean]
HALF = [torch.bfloat16, torch.float16]


def unit_rows(n: int, seed: int) -> Tensor:
    return torch.nn.functional.normalize(torch.randn(n, 16, generator=torch.Generator().manual_seed(seed)), dim=1)


def value_and_gradients(statistic: Any, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    queries, keys = queries.clone().requires_grad_(), keys.clone().requires_grad_()
    result = statistic(queries, keys, 10.0)
    return (result.detach(), *torch.autograd.grad(result.sum(), (queries, keys)))


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("dtype", HALF)
def test_half_precision_is_accumulated_in_float32(statistic: Any, dtype: torch.dtype) -> None:
    queries, keys = unit_rows(50, 0).to(dtype), unit_rows(300, 1).to(dtype)
    value, *gradients = value_and_gradients(statistic, queries, keys)
    expected, *expected_gradients = value_and_gradients(statistic, queries.float(), keys.float())
    assert value.dtype == torch.float32
    assert torch.equal(value, expected)
    for gradient, expected_gradient in zip(gradients, expected_gradients, strict=True):
        assert torch.equal(gradient, expected_gradient.to(dtype))


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("dtype", HALF)
def test_half_precision_is_close_to_float32(statistic: Any, dtype: torch.dtype) -> None:
    queries, keys = unit_rows(50, 0), unit_rows(300, 1)
    value = statistic(queries.to(dtype), keys.to(dtype), 10.0)
    torch.testing.assert_close(value, statistic(queries, keys, 10.0), rtol=0, atol=20 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize("dtype", HALF)
def test_one_half_precision_input_is_enough(statistic: Any, dtype: torch.dtype) -> None:
    queries, keys = unit_rows(5, 0), unit_rows(7, 1).to(dtype)
    assert torch.equal(statistic(queries, keys, 10.0), statistic(queries, keys.float(), 10.0))
    assert statistic(queries.double(), keys, 10.0).dtype == torch.float64


@pytest.mark.parametrize("statistic", STATISTICS)
def test_autocast_changes_no_bit(statistic: Any) -> None:
    queries, keys = unit_rows(50, 0), unit_rows(300, 1)
    expected = value_and_gradients(statistic, queries, keys)
    with torch.autocast("cpu", torch.bfloat16):
        found = value_and_gradients(statistic, queries, keys)
        assert torch.is_autocast_enabled("cpu")
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours, theirs)


def test_autocast_changes_no_bit_of_the_symmetric_path() -> None:
    z = unit_rows(50, 0).requires_grad_()
    expected = torch.autograd.grad(pairwise_logsumexp(z, z, 10.0).sum(), z)[0]
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(torch.autograd.grad(pairwise_logsumexp(z, z, 10.0).sum(), z)[0], expected)


@pytest.mark.parametrize("scale", [100.0, 1e4, 1e6])
def test_logits_whose_exponentials_overflow_float32(scale: float) -> None:
    queries, keys = unit_rows(20, 0), unit_rows(30, 1)
    for statistic in STATISTICS:
        value, *gradients = value_and_gradients(lambda q, k, _: statistic(q, k, scale), queries, keys)  # noqa: B023
        assert all(found.isfinite().all() for found in (value, *gradients))
    largest = (queries.double() @ keys.double().T).amax(dim=1)
    ours = pairwise_logsumexp(queries, keys, scale) / scale
    torch.testing.assert_close(ours.double(), largest, rtol=1e-5, atol=4 / scale)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("statistic", STATISTICS)
def test_a_gpu_gives_the_same(statistic: Any) -> None:
    queries, keys = unit_rows(300, 0).double(), unit_rows(5000, 1).double()
    here = value_and_gradients(statistic, queries, keys)
    there = value_and_gradients(statistic, queries.cuda(), keys.cuda())
    for ours, theirs in zip(there, here, strict=True):
        torch.testing.assert_close(ours.cpu(), theirs, rtol=1e-9, atol=1e-12)
