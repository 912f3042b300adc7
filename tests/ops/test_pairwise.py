"""Values and gradients of the tiled statistics beside the dense ones, over shapes, scales and exclusions."""

import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dipole.errors import InputError
from dipole.ops import pairwise_logsumexp, pairwise_softmax_mean
from ops.dense import dense_logsumexp, dense_softmax_mean, excluded_pairs, tiles_of

SCALES = (0.0, 1.0, -1.0, 9.5, -30.0, 400.0, -3e4, 1e6)  # float64 overflows in exp above 709


@dataclass
class Problem:
    queries: Tensor
    keys: Tensor
    scale: Tensor
    exclude: Tensor | None
    symmetric: bool

    def leaves(self) -> tuple[Tensor, Tensor, Tensor]:
        """New leaves; queries are the keys, one tensor, in the symmetric case."""
        queries = self.queries.clone().requires_grad_()
        keys = queries if self.symmetric else self.keys.clone().requires_grad_()
        return queries, keys, self.scale.clone().requires_grad_()

    @property
    def filled_rows(self) -> Tensor:
        return ~excluded_pairs(self.exclude, len(self.queries), len(self.keys)).all(dim=1)


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    n, d = draw(st.integers(1, 9)), draw(st.integers(1, 4))
    symmetric = draw(st.booleans())
    m = n if symmetric else draw(st.integers(1, 17))
    queries = torch.randn(n, d, generator=generator, dtype=torch.float64)
    keys = queries if symmetric else torch.randn(m, d, generator=generator, dtype=torch.float64)
    kind = draw(st.sampled_from(["none", "index", "indices", "mask", "symmetric mask", "row", "all"]))
    mask = torch.rand(n, m, generator=generator) < 0.4
    exclude = {
        "none": None,
        "index": torch.randint(-1, m, (n,), generator=generator),
        "indices": torch.randint(-2, m, (n, 3), generator=generator),
        "mask": mask,
        "symmetric mask": mask | mask.T if n == m else mask,
        "row": torch.zeros(n, m, dtype=torch.bool).index_fill(0, torch.tensor([n - 1]), True),
        "all": torch.ones(n, m, dtype=torch.bool),
    }[kind]
    scale = torch.tensor(draw(st.sampled_from(SCALES)), dtype=torch.float64)
    return Problem(queries, keys, scale, exclude, symmetric)


TILES = st.sampled_from([(1 << 19, 1024), (1, 1), (12, 2), (30, 5)])


def gradients(function: Any, problem: Problem, row_weight: Tensor, **options: Any) -> list[Tensor]:
    """Gradients of a weighted sum of the rows in which something is left."""
    leaves = problem.leaves()
    result = function(*leaves[:2], leaves[2], exclude=problem.exclude, **options)
    loss = (result * row_weight)[problem.filled_rows].sum()
    unique = [leaves[0], leaves[2]] if problem.symmetric else list(leaves)
    return list(torch.autograd.grad(loss, unique, allow_unused=True, materialize_grads=True))


def assert_near(ours: Tensor, expected: Tensor, magnitude: float = 1.0) -> None:
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-11 * max(1.0, magnitude))


@settings(max_examples=150, deadline=None)
@given(problems(), TILES)
def test_logsumexp_equals_the_dense_one(problem: Problem, tiles: tuple[int, int]) -> None:
    row_weight = torch.linspace(-1, 2, len(problem.queries), dtype=torch.float64)
    keys = problem.queries if problem.symmetric else problem.keys
    magnitude = abs(float(problem.scale)) * 10
    with tiles_of(*tiles):
        ours = pairwise_logsumexp(problem.queries, keys, problem.scale, exclude=problem.exclude)
        slopes = gradients(pairwise_logsumexp, problem, row_weight)
    assert_near(ours, dense_logsumexp(problem.queries, keys, problem.scale, exclude=problem.exclude), magnitude)
    assert torch.equal(ours == -math.inf, ~problem.filled_rows)
    for slope, expected in zip(slopes, gradients(dense_logsumexp, problem, row_weight), strict=True):
        assert_near(slope, expected, magnitude)


@settings(max_examples=150, deadline=None)
@given(problems(), TILES, st.sampled_from([None, torch.exp, torch.square, torch.sin]), st.booleans())
def test_softmax_mean_equals_the_dense_one(
    problem: Problem, tiles: tuple[int, int], value: Any, detach_weights: bool
) -> None:
    row_weight = torch.linspace(-1, 2, len(problem.queries), dtype=torch.float64)
    keys = problem.queries if problem.symmetric else problem.keys
    options = {"value": value, "detach_weights": detach_weights}
    with tiles_of(*tiles):
        ours = pairwise_softmax_mean(problem.queries, keys, problem.scale, exclude=problem.exclude, **options)
        slopes = gradients(pairwise_softmax_mean, problem, row_weight, **options)
    expected = dense_softmax_mean(problem.queries, keys, problem.scale, exclude=problem.exclude, **options)
    largest = float(expected.abs().max())
    assert_near(ours, expected, largest)
    assert (ours[~problem.filled_rows] == 0).all()
    # Derivatives of a near-hard softmax are differences of almost equal numbers times the scale.
    magnitude = largest * max(1.0, abs(float(problem.scale))) * 100
    for slope, expected_slope in zip(
        slopes, gradients(dense_softmax_mean, problem, row_weight, **options), strict=True
    ):
        assert_near(slope, expected_slope, magnitude)


@settings(max_examples=60, deadline=None)
@given(problems(), TILES, st.sampled_from(["key", "pair"]), st.integers(0, 2**32))
def test_log_weights(problem: Problem, tiles: tuple[int, int], kind: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    n, m = len(problem.queries), len(problem.keys)
    log_weight = 3 * torch.randn((m,) if kind == "key" else (n, m), generator=generator, dtype=torch.float64)
    log_weight[torch.rand(log_weight.shape, generator=generator) < 0.3] = -math.inf
    keys = problem.queries if problem.symmetric else problem.keys
    options: dict[str, Any] = {"exclude": problem.exclude, "log_weight": log_weight}
    with tiles_of(*tiles):
        ours = pairwise_logsumexp(problem.queries, keys, problem.scale, **options)
    expected = dense_logsumexp(problem.queries, keys, problem.scale, **options)
    assert_near(ours, expected, abs(float(problem.scale)) * 10)


@settings(max_examples=40, deadline=None)
@given(TILES, st.integers(3, 9), st.integers(0, 2**32), st.booleans())
def test_gradients_of_weighted_keys_that_are_the_queries(
    tiles: tuple[int, int], rows: int, seed: int, own: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(rows, 3, generator=generator, dtype=torch.float64).requires_grad_()
    log_weight = 3 * torch.randn(rows, generator=generator, dtype=torch.float64)
    log_weight[0] = -math.inf
    scale = torch.tensor(1.7, dtype=torch.float64, requires_grad=True)
    options: dict[str, Any] = {"exclude": None if own else torch.arange(rows), "log_weight": log_weight}
    row_weight = torch.linspace(-1, 2, rows, dtype=torch.float64)
    with tiles_of(*tiles):
        ours = pairwise_logsumexp(z, z, scale, **options)
        slopes = torch.autograd.grad((ours * row_weight).sum(), (z, scale))
    expected = dense_logsumexp(z, z, scale, **options)
    assert_near(ours, expected)
    for slope, wanted in zip(slopes, torch.autograd.grad((expected * row_weight).sum(), (z, scale)), strict=True):
        assert_near(slope, wanted)


@pytest.mark.parametrize("statistic", [pairwise_logsumexp, pairwise_softmax_mean])
def test_a_row_with_nothing_left_has_zero_gradient(statistic: Any) -> None:
    queries, keys = torch.randn(3, 2, requires_grad=True), torch.randn(4, 2, requires_grad=True)
    scale = torch.tensor(2.0, requires_grad=True)
    exclude = torch.zeros(3, 4, dtype=torch.bool)
    exclude[1] = True
    result = statistic(queries, keys, scale, exclude=exclude)
    result[[0, 2]].sum().backward()
    assert queries.grad is not None
    assert (queries.grad[1] == 0).all()
    assert queries.grad[[0, 2]].abs().min() > 0
    (only_empty,) = torch.autograd.grad(statistic(queries, keys, scale, exclude=exclude)[1], keys)
    assert (only_empty == 0).all()


def test_a_number_and_a_tensor_scale_are_the_same() -> None:
    z = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(pairwise_logsumexp(z, z, 2), pairwise_logsumexp(z, z, torch.tensor(2.0)))


def test_the_symmetric_shortcut_is_left_when_the_exclusions_are_not_symmetric() -> None:
    z = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    exclude = torch.tensor([1, 2, 3, 0])
    ours = pairwise_logsumexp(z, z, 2.0, exclude=exclude)
    torch.testing.assert_close(ours, dense_logsumexp(z, z, 2.0, exclude=exclude))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("statistic", [pairwise_logsumexp, pairwise_softmax_mean])
@pytest.mark.parametrize(
    ("queries", "keys", "options", "message"),
    [
        ((3,), (4, 2), {}, r"queries \(3,\) and keys \(4, 2\): expected \(N, D\) and \(M, D\)"),
        ((3, 2), (4, 3), {}, r"queries \(3, 2\) and keys \(4, 3\)"),
        ((3, 2), (0, 2), {}, "not empty"),
        ((3, 2), (4, 2), {"exclude": torch.zeros(2, dtype=torch.long)}, "one row for each of 3 queries"),
        ((3, 2), (4, 2), {"exclude": torch.zeros(3, 1, 1, dtype=torch.long)}, "one row for each of 3 queries"),
        ((3, 2), (4, 2), {"exclude": torch.tensor([0, 1, 4])}, "names column 4: there are 4 keys"),
        ((3, 2), (4, 2), {"exclude": torch.zeros(3, 3, dtype=torch.bool)}, r"mask exclude has shape \(3, 3\)"),
    ],
)
def test_shapes_that_do_not_fit(statistic: Any, queries: Any, keys: Any, options: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        statistic(torch.ones(queries), torch.ones(keys), 1.0, **options)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("shape", [(3,), (4, 4), (3, 4, 1)])
def test_log_weights_that_do_not_fit(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="expected one per key or one per pair"):
        pairwise_logsumexp(torch.ones(3, 2), torch.ones(4, 2), log_weight=torch.zeros(shape))
