"""The sigmoid loss against its formula in float64, open_clip's, and its limits."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dipole.errors import InputError
from dipole.losses import siglip_loss
from dipole.ops import pairwise_softplus_sum
from losses.table import DIM, assert_same, random

SEEDS = st.integers(0, 2**32)
X, Y = random(2, 5, DIM)


def scalar(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64, requires_grad=True)


def literal(x: Tensor, y: Tensor, t: Tensor, b: Tensor) -> Tensor:
    logits = F.normalize(x, dim=1) @ F.normalize(y, dim=1).T * t + b
    signs = 2 * torch.eye(len(x), dtype=x.dtype) - 1
    return -F.logsigmoid(signs * logits).sum() / len(x)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, rows=st.integers(1, 9), t=st.floats(0.1, 2000), b=st.floats(-50, 50))
def test_by_definition(seed: int, rows: int, t: float, b: float) -> None:
    leaves = [z.requires_grad_() for z in random(2, rows, DIM, seed=seed)]
    scale, bias = scalar(t), scalar(b)
    ours = siglip_loss(*leaves, temperature=1 / scale, bias=bias)
    assert_same(ours, literal(*leaves, scale, bias), (*leaves, scale, bias))
    torch.testing.assert_close(siglip_loss(*leaves, temperature=1 / t, bias=b, reduction="sum"), rows * ours)


def test_open_clip_computes_the_same() -> None:
    from open_clip.loss import SigLipLoss

    leaves = [z.requires_grad_() for z in random(2, 300, 16, seed=3)]
    scale, bias = scalar(10.0), scalar(-10.0)
    theirs = SigLipLoss()(F.normalize(leaves[0], dim=1), F.normalize(leaves[1], dim=1), scale, bias)
    assert_same(siglip_loss(*leaves, temperature=1 / scale, bias=bias), theirs, (*leaves, scale, bias))


@pytest.mark.parametrize("scale", [3.0, 500.0])
def test_tiles_make_no_difference(scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    leaves = [z.requires_grad_() for z in random(2, 23, DIM, seed=1)]
    factor, bias = scalar(scale), scalar(-2.0)
    whole = -F.logsigmoid(-(factor * leaves[0] @ leaves[1].T + bias)).sum()
    monkeypatch.setattr("dipole.ops.tiles.TILE_ENTRIES", {"cpu": 35})
    monkeypatch.setattr("dipole.ops.tiles.TILE_COLUMNS", 5)
    assert_same(pairwise_softplus_sum(*leaves, factor, bias), whole, (*leaves, factor, bias))


def test_derivatives_of_every_argument_and_of_the_gradient() -> None:
    arguments = (X.clone().requires_grad_(), Y.clone().requires_grad_(), scalar(0.3), scalar(-1.0))

    def loss(x: Tensor, y: Tensor, temperature: Tensor, bias: Tensor) -> Tensor:
        return siglip_loss(x, y, temperature=temperature, bias=bias)

    assert torch.autograd.gradcheck(loss, arguments, fast_mode=True)
    assert torch.autograd.gradgradcheck(loss, arguments, fast_mode=True)


def test_the_towers_may_be_swapped() -> None:
    torch.testing.assert_close(siglip_loss(X, Y), siglip_loss(Y, X))


def test_a_bias_far_below_pays_for_the_pairs_alone() -> None:
    expected = 1000 - (F.normalize(X, dim=1) * F.normalize(Y, dim=1)).sum(dim=1).mean() / 0.1
    torch.testing.assert_close(siglip_loss(X, Y, bias=-1000.0), expected)


@pytest.mark.parametrize("wrong", [{"temperature": 0.0}, {"bias": float("nan")}])
def test_what_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        siglip_loss(X, Y, **wrong)
