"""The temperature analysis: exact identities, the paper's limits and edge cases."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dipole.diagnostics import (
    loss_at_infinite_temperature,
    loss_at_zero_temperature,
    loss_gradients,
    penalties,
    penalty_entropy,
    penalty_of,
    relative_penalty,
)
from dipole.errors import InputError


def similarities(rows: int, columns: int, seed: int = 0) -> Tensor:
    return 2 * torch.rand(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 1


def info_nce(s: Tensor, temperature: float) -> Tensor:
    return -(s / temperature).log_softmax(dim=1).diagonal()


@settings(deadline=None, max_examples=25)
@given(rows=st.integers(1, 12), temperature=st.floats(0.03, 5), seed=st.integers(0, 99))
def test_the_closed_gradient_is_that_of_autograd(rows: int, temperature: float, seed: int) -> None:
    s = similarities(rows, rows, seed)
    profile = penalty_of(lambda s: info_nce(s, temperature), s)
    torch.testing.assert_close(loss_gradients(s, temperature), profile.gradient)
    torch.testing.assert_close(profile.attraction, profile.repulsion.sum(dim=1))
    relative = relative_penalty(s, temperature, ~torch.eye(rows, dtype=torch.bool))
    torch.testing.assert_close(profile.relative, relative, rtol=1e-5, atol=1e-9)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 99), low=st.floats(0.05, 2), factor=st.floats(1.2, 10))
def test_entropy_grows_with_the_temperature(seed: int, low: float, factor: float) -> None:
    s_neg = similarities(6, 9, seed)
    cool, warm = (penalty_entropy(relative_penalty(s_neg, t)) for t in (low, low * factor))
    assert bool((cool < warm).all())
    assert bool((warm <= math.log(9) + 1e-12).all())


def test_the_slope_of_the_entropy_is_the_variance_over_the_cubed_temperature() -> None:
    s_neg, temperature, step = similarities(4, 7), 0.5, 1e-5
    above, below = (penalty_entropy(relative_penalty(s_neg, temperature + sign * step)) for sign in (1, -1))
    r = relative_penalty(s_neg, temperature)
    variance = (r * s_neg.square()).sum(1) - (r * s_neg).sum(1).square()
    torch.testing.assert_close((above - below) / (2 * step), variance / temperature**3, rtol=1e-6, atol=1e-8)


def test_the_loss_tends_to_its_limits() -> None:
    s = similarities(6, 6)
    torch.testing.assert_close(info_nce(s, 1e-3), loss_at_zero_temperature(s, 1e-3), rtol=0, atol=1e-3)
    torch.testing.assert_close(info_nce(s, 1e3), loss_at_infinite_temperature(s, 1e3), rtol=0, atol=1e-6)


def test_equal_similarities_are_penalised_alike() -> None:
    r = relative_penalty(torch.full((2, 8), 0.3, dtype=torch.float64), 0.1)
    torch.testing.assert_close(penalty_entropy(r), torch.full((2,), math.log(8), dtype=torch.float64))


def test_without_negatives_nothing_is_penalised() -> None:
    assert penalty_entropy(relative_penalty(torch.empty(3, 0), 0.1)).tolist() == [0, 0, 0]
    r = relative_penalty(torch.tensor([[0.1, 0.2], [0.3, 0.4]]), 1e-3, torch.tensor([[False, False], [True, False]]))
    assert r.tolist() == [[0, 0], [1, 0]]
    alone = torch.tensor([[0.5]])
    assert loss_gradients(alone, 0.1).tolist() == [[0]]
    assert loss_at_zero_temperature(alone, 0.1).tolist() == [0]


def test_a_tiny_temperature_keeps_only_the_hardest() -> None:
    r = relative_penalty(torch.tensor([[0.1, 0.9, 0.8]]), 1e-4)
    assert r.tolist() == [[0, 1, 0]]
    assert penalty_entropy(r).tolist() == [0]


def test_half_precision_is_accumulated_in_float32() -> None:
    s = similarities(4, 4).bfloat16()
    torch.testing.assert_close(penalties(s, 0.1), penalties(s.float(), 0.1))


def test_any_loss_can_be_inspected() -> None:
    s = similarities(5, 5)
    simple = penalty_of(lambda s: (s.sum(1) - 2 * s.diagonal()).mean(), s)
    assert simple.relative[0].tolist() == [0, 0.25, 0.25, 0.25, 0.25]
    constant = penalty_of(lambda s: (0 * s).sum(), s)
    assert constant.relative.abs().max() == 0
    with torch.no_grad():
        torch.testing.assert_close(penalty_of(lambda s: s.sum(), s).gradient, torch.ones_like(s))


def test_wrong_input_is_refused() -> None:
    s = similarities(3, 3)
    with pytest.raises(InputError, match="temperature is 0"):
        penalties(s, 0.0)
    with pytest.raises(InputError, match="s_neg contains NaN"):
        relative_penalty(s / 0 * 0, 0.1)
    with pytest.raises(InputError, match="negative values"):
        penalty_entropy(s)
    with pytest.raises(InputError, match="does not depend"):
        penalty_of(lambda s: torch.zeros(()), s)
