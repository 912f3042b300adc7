"""Softmax retrieval beside the dense one: rectangular and symmetric, in groups, in tiles."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from dipole.errors import InputError
from dipole.ops import softmax_retrieval
from dipole.ops.retrieval import _Retrieval, _SymmetricRetrieval
from ops.dense import tiles_of

MODERATE, LARGE = 1.7, 450.0
TILES = [(1 << 19, 1024), (4, 2)]


def rows(n: int, seed: int, d: int = 3) -> Tensor:
    z = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (z / z.norm(dim=1, keepdim=True)).requires_grad_()


def learnable(scale: float) -> Tensor:
    return torch.tensor(scale, dtype=torch.float64, requires_grad=True)


def dense(queries: Tensor, stored: Tensor, scale: Any, groups: Sequence[int]) -> Tensor:
    return torch.stack([torch.softmax(scale * queries @ part.T, dim=1) @ part for part in stored.split(list(groups))])


@settings(max_examples=120, deadline=None)
@given(
    n=st.integers(1, 9),
    groups=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    d=st.integers(1, 4),
    scale=st.sampled_from([0.0, 1.0, -9.5, 400.0, -3e4]),
    symmetric=st.booleans(),
    tiles=st.sampled_from([*TILES, (1, 1), (30, 5)]),
    seed=st.integers(0, 2**32),
)
def test_equals_the_dense_one(
    n: int, groups: list[int], d: int, scale: float, symmetric: bool, tiles: Any, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    stored = torch.randn(sum(groups), d, generator=generator, dtype=torch.float64).requires_grad_()
    queries = stored if symmetric else torch.randn(n, d, generator=generator, dtype=torch.float64).requires_grad_()
    beta = learnable(scale)
    leaves = [stored, beta] if symmetric else [queries, stored, beta]
    with tiles_of(*tiles):
        ours = softmax_retrieval(queries, stored, beta, groups=groups)
        expected = dense(queries, stored, beta, groups)
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)
        weight = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
        # Derivatives of a near-hard softmax are differences of almost equal numbers times the scale.
        magnitude = max(1.0, abs(scale)) * 100
        for slope, truth in zip(
            torch.autograd.grad((weight * ours).sum(), leaves),
            torch.autograd.grad((weight * expected).sum(), leaves),
            strict=True,
        ):
            torch.testing.assert_close(slope, truth, rtol=1e-8, atol=1e-11 * magnitude)


@pytest.fixture(params=["one tile", "many tiles"])
def cut(request: pytest.FixtureRequest) -> Iterator[None]:
    with tiles_of(*TILES[request.param == "many tiles"]):
        yield


@pytest.mark.usefixtures("cut")
@pytest.mark.parametrize("scale", [MODERATE, LARGE, -MODERATE])
@pytest.mark.parametrize("groups", [None, [2, 4], [1, 3, 2]])
def test_finite_differences(scale: float, groups: list[int] | None) -> None:
    assert torch.autograd.gradcheck(
        lambda q, s, beta: softmax_retrieval(q, s, beta, groups=groups),
        (rows(4, 0), rows(6, 1), learnable(scale)),
        eps=1e-7,
        atol=1e-4,
    )


@pytest.mark.usefixtures("cut")
@pytest.mark.parametrize("scale", [0.0, MODERATE, LARGE])
@pytest.mark.parametrize("groups", [None, [2, 3], [1, 3, 1]])
def test_finite_differences_of_what_retrieves_from_itself(
    scale: float, groups: list[int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = []
    for function in (_Retrieval, _SymmetricRetrieval):
        original = function.forward

        def recorded(*arguments: Any, function: Any = function, original: Any = original) -> Tensor:
            paths.append(function)
            return original(*arguments)

        monkeypatch.setattr(function, "forward", staticmethod(recorded))
    assert torch.autograd.gradcheck(
        lambda z, beta: softmax_retrieval(z, z, beta, groups=groups),
        (rows(5, 0), learnable(scale)),
        eps=1e-7,
        atol=1e-4,
    )
    assert set(paths) == {_Retrieval if scale == LARGE else _SymmetricRetrieval}


def test_one_group_is_attention() -> None:
    queries, stored = rows(7, 0, 8), rows(9, 1, 8)
    expected = scaled_dot_product_attention(queries[None], stored[None], stored[None], scale=3.0)
    torch.testing.assert_close(softmax_retrieval(queries, stored, 3.0), expected)


@pytest.mark.parametrize("symmetric", [False, True])
def test_half_precision_and_autocast(symmetric: bool) -> None:
    def results(dtype: torch.dtype) -> list[Tensor]:
        stored = rows(60, 1, 16).detach().bfloat16().to(dtype).requires_grad_()
        queries = stored if symmetric else rows(50, 0, 16).detach().bfloat16().to(dtype).requires_grad_()
        result = softmax_retrieval(queries, stored, 10.0, groups=[20, 40])
        return [result, *torch.autograd.grad(result.square().sum(), [stored])]

    expected, half = results(torch.float32), results(torch.bfloat16)
    assert half[0].dtype == torch.float32
    assert torch.equal(half[0], expected[0])
    assert torch.equal(half[1], expected[1].bfloat16())
    with torch.autocast("cpu", torch.bfloat16):
        assert all(torch.equal(*pair) for pair in zip(results(torch.float32), expected, strict=True))


def test_scales_whose_exponentials_overflow_float32() -> None:
    queries, stored = (rows(n, n, 16).detach().float().requires_grad_() for n in (20, 30))
    result = softmax_retrieval(queries, stored, 1e6)[0]
    torch.testing.assert_close(result, stored[(queries @ stored.T).argmax(dim=1)])
    assert all(slope.isfinite().all() for slope in torch.autograd.grad(result.sum(), (queries, stored)))


@pytest.mark.usefixtures("unchecked")
def test_input_that_does_not_fit() -> None:
    for groups in ([3], [2, 3], [5, -1], [4, 0], []):
        with pytest.raises(InputError, match="at least 1 that add up to 4 patterns"):
            softmax_retrieval(torch.ones(3, 2), torch.ones(4, 2), groups=groups)
    with pytest.raises(InputError, match=r"queries \(3, 2\) and keys \(4, 3\)"):
        softmax_retrieval(torch.ones(3, 2), torch.ones(4, 3))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("symmetric", [False, True])
def test_a_gpu_gives_the_same(symmetric: bool) -> None:
    found = []
    for device in ("cpu", "cuda"):
        stored = rows(3000, 1, 16).detach().to(device).requires_grad_()
        queries = stored if symmetric else rows(300, 0, 16).detach().to(device)
        result = softmax_retrieval(queries, stored, 5.0, groups=[1000, 2000])
        found.append([result.cpu(), torch.autograd.grad(result.square().sum(), stored)[0].cpu()])
    for there, here in zip(*found, strict=True):
        torch.testing.assert_close(there, here, rtol=1e-9, atol=1e-12)
