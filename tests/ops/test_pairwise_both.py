"""Rows and columns from one pass: the same as two calls, values and gradients."""

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dipole.errors import InputError
from dipole.ops import pairwise_logsumexp, pairwise_logsumexp_both
from dipole.ops.tiles import bounded
from ops.dense import logits_of, tiles_of

MODERATE, LARGE = 1.7, 450.0  # beyond 0.6 · 709 maxima are subtracted
TILES = [(1 << 19, 1024), (4, 2)]


def rows(n: int, seed: int, d: int = 3) -> Tensor:
    z = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (z / z.norm(dim=1, keepdim=True)).requires_grad_()


def learnable(scale: float) -> Tensor:
    return torch.tensor(scale, dtype=torch.float64, requires_grad=True)


def dense(queries: Tensor, keys: Tensor, scale: Any, exclude: Tensor | None) -> tuple[Tensor, Tensor]:
    logits = logits_of(queries, keys, scale, exclude)
    return logits.logsumexp(dim=1), logits.logsumexp(dim=0)


@settings(max_examples=100, deadline=None)
@given(
    sizes=st.tuples(st.integers(1, 9), st.integers(1, 17), st.integers(1, 4)),
    scale=st.sampled_from([0.0, 1.0, -9.5, 400.0, -3e4, 1e6]),
    kind=st.sampled_from(["none", "index", "indices", "mask", "row and column", "all"]),
    tiles=st.sampled_from([*TILES, (1, 1), (30, 5)]),
    seed=st.integers(0, 2**32),
)
def test_equals_the_dense_one(sizes: tuple[int, int, int], scale: float, kind: str, tiles: Any, seed: int) -> None:
    n, m, d = sizes
    generator = torch.Generator().manual_seed(seed)
    queries, keys = (torch.randn(k, d, generator=generator, dtype=torch.float64).requires_grad_() for k in (n, m))
    cross = torch.zeros(n, m, dtype=torch.bool)
    cross[-1], cross[:, 0] = True, True
    exclude = {
        "none": None,
        "index": torch.randint(-1, m, (n,), generator=generator),
        "indices": torch.randint(-2, m, (n, 3), generator=generator),
        "mask": torch.rand(n, m, generator=generator) < 0.4,
        "row and column": cross,
        "all": torch.ones(n, m, dtype=torch.bool),
    }[kind]
    leaves = (queries, keys, learnable(scale))
    with tiles_of(*tiles):
        ours = pairwise_logsumexp_both(*leaves, exclude=exclude)
        expected = dense(*leaves, exclude)
        magnitude = max(1.0, 10 * abs(scale))
        total, wanted = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
        for found, truth in zip(ours, expected, strict=True):
            torch.testing.assert_close(found, truth, rtol=1e-9, atol=1e-11 * magnitude)
            # Only what is not empty has a gradient in the dense form.
            weight = torch.linspace(-1, 2, len(found), dtype=torch.float64)
            filled = truth > -math.inf
            total, wanted = total + (weight * found)[filled].sum(), wanted + (weight * truth)[filled].sum()
        if total.requires_grad:
            slopes = torch.autograd.grad(total, leaves, materialize_grads=True)
            for slope, truth in zip(slopes, torch.autograd.grad(wanted, leaves, materialize_grads=True), strict=True):
                torch.testing.assert_close(slope, truth, rtol=1e-9, atol=1e-11 * magnitude)


@pytest.fixture(params=["one tile", "many tiles"])
def cut(request: pytest.FixtureRequest) -> Iterator[None]:
    with tiles_of(*TILES[request.param == "many tiles"]):
        yield


@pytest.mark.usefixtures("cut")
@pytest.mark.parametrize("scale", [MODERATE, LARGE, -MODERATE])
@pytest.mark.parametrize("exclude", [None, torch.tensor([0, 3, -1, 2]), torch.eye(4, 6, dtype=torch.bool)])
def test_finite_differences(scale: float, exclude: Tensor | None) -> None:
    queries, keys = rows(4, 0), rows(6, 1)
    assert bounded(queries, keys, torch.tensor(scale), None) == (abs(scale) < LARGE)
    assert torch.autograd.gradcheck(
        lambda q, k, s: pairwise_logsumexp_both(q, k, s, exclude=exclude),
        (queries, keys, learnable(scale)),
        eps=1e-7,
        atol=1e-4,
    )


@pytest.mark.parametrize("scale", [MODERATE, LARGE])
@pytest.mark.parametrize("direction", [0, 1])
def test_each_direction_is_a_call_of_its_own(scale: float, direction: int) -> None:
    leaves = rows(4, 0), rows(6, 1), learnable(scale)
    ours = pairwise_logsumexp_both(*leaves)[direction]
    pair = leaves[:2] if direction == 0 else leaves[1::-1]
    expected = pairwise_logsumexp(*pair, leaves[2])
    torch.testing.assert_close(ours, expected)
    for found, truth in zip(
        torch.autograd.grad(ours.square().sum(), leaves),
        torch.autograd.grad(expected.square().sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(found, truth)


@pytest.mark.parametrize("wanted", [0, 1, 2])
def test_only_the_inputs_that_ask_get_a_gradient(wanted: int) -> None:
    every = [rows(4, 0), rows(6, 1), learnable(MODERATE)]
    expected = torch.autograd.grad(torch.cat(pairwise_logsumexp_both(*every)).sum(), every)[wanted]
    inputs = [leaf if index == wanted else leaf.detach() for index, leaf in enumerate(every)]
    torch.cat(pairwise_logsumexp_both(*inputs)).sum().backward()
    torch.testing.assert_close(every[wanted].grad, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_accumulated_in_float32(dtype: torch.dtype) -> None:
    found = []
    for cast in (dtype, torch.float32):
        leaves = [z.detach().to(dtype).to(cast).requires_grad_() for z in (rows(50, 0, 16), rows(300, 1, 16))]
        result = torch.cat(pairwise_logsumexp_both(*leaves, 10.0))
        found.append((result, *torch.autograd.grad(result.sum(), leaves)))
    assert found[0][0].dtype == torch.float32
    for half, single in zip(*found, strict=True):
        assert torch.equal(half, single.to(half.dtype))


@pytest.mark.parametrize("scale", [10.0, 100.0])
def test_autocast_changes_no_bit(scale: float) -> None:
    def results() -> list[Tensor]:
        leaves = [rows(50, seed, 16).detach().float().requires_grad_() for seed in (0, 1)]
        result = torch.cat(pairwise_logsumexp_both(*leaves, scale))
        return [result, *torch.autograd.grad(result.sum(), leaves)]

    expected = results()
    with torch.autocast("cpu", torch.bfloat16):
        found = results()
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


@pytest.mark.parametrize("scale", [100.0, 1e4, 1e6])
def test_logits_whose_exponentials_overflow_float32(scale: float) -> None:
    leaves = [rows(n, n, 16).detach().float().requires_grad_() for n in (20, 30)]
    results = pairwise_logsumexp_both(*leaves, scale)
    similarities = leaves[0].double() @ leaves[1].double().T
    for axis, result in enumerate(results):
        largest = similarities.amax(dim=1 - axis)
        torch.testing.assert_close(result.double() / scale, largest, rtol=1e-5, atol=4 / scale)
    assert all(slope.isfinite().all() for slope in torch.autograd.grad(torch.cat(results).sum(), leaves))


@pytest.mark.parametrize("scale", [MODERATE, LARGE])
def test_second_derivatives(scale: float) -> None:
    scales = torch.tensor(scale, dtype=torch.float64, requires_grad=True)
    leaves = (rows(4, 0, 3).detach().requires_grad_(), rows(5, 1, 3).detach().requires_grad_(), scales)
    exclude = torch.arange(4)
    assert torch.autograd.gradgradcheck(lambda *x: pairwise_logsumexp_both(*x, exclude=exclude), leaves, atol=1e-3)


@pytest.mark.usefixtures("unchecked")
def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(InputError, match=r"queries \(3, 2\) and keys \(4, 3\)"):
        pairwise_logsumexp_both(torch.ones(3, 2), torch.ones(4, 3))
    with pytest.raises(InputError, match="names column 4: there are 4 keys"):
        pairwise_logsumexp_both(torch.ones(3, 2), torch.ones(4, 2), exclude=torch.tensor([0, 1, 4]))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("scale", [MODERATE, LARGE])
def test_a_gpu_gives_the_same(scale: float) -> None:
    found = []
    for device in ("cpu", "cuda"):
        leaves = [rows(n, n, 16).detach().to(device).requires_grad_() for n in (300, 5000)]
        result = torch.cat(pairwise_logsumexp_both(*leaves, scale))
        found.append([result.cpu(), *(slope.cpu() for slope in torch.autograd.grad(result.sum(), leaves))])
    for there, here in zip(*found, strict=True):
        torch.testing.assert_close(there, here, rtol=1e-9, atol=1e-12)
