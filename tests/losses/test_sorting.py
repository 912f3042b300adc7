"""Differentiable sorting networks: they sort, softly, and nothing is lost on the way."""

import itertools
import math
from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dipole.errors import InputError
from dipole.losses import differentiable_sort, rank_group_probability, sorting_network
from dipole.losses.sorting import Distribution, NetworkName
from losses.table import random

NETWORKS, DISTRIBUTIONS = get_args(NetworkName), get_args(Distribution)


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("n", range(1, 11))
def test_a_network_sorts_all_zeros_and_ones_and_so_everything(kind: Any, n: int) -> None:
    for bits in itertools.product([0, 1], repeat=n):
        values = list(bits)
        for layer in sorting_network(n, kind):
            assert len({wire for pair in layer for wire in pair}) == 2 * len(layer)
            for lower, upper in layer:
                values[lower], values[upper] = sorted((values[lower], values[upper]))
        assert values == sorted(bits)


@pytest.mark.parametrize("n", [1, 2, 5, 8, 11, 100])
def test_networks_have_so_many_layers(n: int) -> None:
    blocks = math.ceil(math.log2(n))
    assert len(sorting_network(n, "odd_even")) == n
    assert len(sorting_network(n, "bitonic")) == blocks * (blocks + 1) // 2


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**32), n=st.integers(1, 9), steepness=st.floats(0.1, 100))
def test_nothing_is_lost(kind: Any, distribution: Any, seed: int, n: int, steepness: float) -> None:
    x = random(2, 3, n, seed=seed)
    found = differentiable_sort(x, network=kind, steepness=steepness, distribution=distribution)
    ones = torch.ones(2, 3, n, dtype=x.dtype)
    assert (found.permutation >= -1e-12).all()
    torch.testing.assert_close(found.permutation.sum(dim=-1), ones)
    torch.testing.assert_close(found.permutation.sum(dim=-2), ones)
    torch.testing.assert_close((x[..., None, :] @ found.permutation)[..., 0, :], found.values)
    for top in range(1, n):
        groups = rank_group_probability(x, top, network=kind, steepness=steepness, distribution=distribution)
        torch.testing.assert_close(groups[..., 1], found.permutation[..., n - top :].sum(dim=-1))
        torch.testing.assert_close(groups[..., 0], found.permutation[..., : n - top].sum(dim=-1))


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_a_steep_network_is_the_ordinary_sort(kind: Any, distribution: Any) -> None:
    x = torch.stack([torch.randperm(7, generator=torch.Generator().manual_seed(seed)) for seed in range(5)]).double()
    found = differentiable_sort(x, network=kind, steepness=1e9, distribution=distribution)
    ordinary = x.sort(dim=-1)
    torch.testing.assert_close(found.values, ordinary.values, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.permutation.argmax(dim=-2), ordinary.indices)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_gradients_are_finite_differences(distribution: Any) -> None:
    x = random(5).requires_grad_()
    for kind in NETWORKS:
        options: dict[str, Any] = {"network": kind, "distribution": distribution, "steepness": 2.0}
        assert torch.autograd.gradcheck(lambda y, o=options: differentiable_sort(y, **o), x)  # type: ignore[misc]
        assert torch.autograd.gradcheck(lambda y, o=options: rank_group_probability(y, 2, **o), x)  # type: ignore[misc]


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("steepness", [1.0, 1e30])
def test_ties_are_shared_and_have_finite_gradients(distribution: Any, steepness: float) -> None:
    x = torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0]).requires_grad_()
    for values in (x, torch.zeros_like(x).requires_grad_()):
        found = differentiable_sort(values, distribution=distribution, steepness=steepness)
        (gradient,) = torch.autograd.grad(found.permutation.square().sum() + found.values.square().sum(), values)
        assert found.permutation.isfinite().all()
        assert gradient.isfinite().all()
    pair = differentiable_sort(torch.ones(2), distribution=distribution, steepness=steepness)
    assert torch.equal(pair.permutation, torch.full((2, 2), 0.5))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sorting_network(0), "a sorting network of 0 wires: expected 1 or more"),
        (lambda: sorting_network(3, "bubble"), "network is 'bubble': expected one of 'odd_even', 'bitonic'"),  # type: ignore[arg-type]
        (lambda: differentiable_sort(torch.tensor(1.0)), r"x is torch.float32 of shape \(\): expected floating point"),
        (lambda: differentiable_sort(torch.zeros(2, 0)), r"of shape \(2, 0\)"),
        (lambda: differentiable_sort(torch.arange(3)), "x is torch.int64"),
        (lambda: differentiable_sort(torch.tensor([1.0, math.nan])), "x contains NaN or infinite values"),
        (lambda: differentiable_sort(torch.ones(2), steepness=0.0), "steepness is 0.0: expected a number above 0"),
        (lambda: differentiable_sort(torch.ones(2), steepness=math.inf), "steepness is inf"),
        (lambda: differentiable_sort(torch.ones(2), art_lambda=-1.0), "art_lambda is -1.0"),
        (lambda: differentiable_sort(torch.ones(2), distribution="normal"), "distribution is 'normal'"),  # type: ignore[arg-type]
        (lambda: rank_group_probability(torch.ones(3), 0), "top is 0 of 3 ranks: expected 1 to 2"),
        (lambda: rank_group_probability(torch.ones(3), 3), "top is 3 of 3 ranks"),
        (lambda: rank_group_probability(torch.ones(3), 1, steepness=-1.0), "steepness is -1.0"),
    ],
)
def test_mistakes_are_explained(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
