"""Encoders of time series and the learned augmentation."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dipole.errors import InputError
from dipole.nn.timeseries import (
    DilatedConvEncoder,
    LearnedAugmenter,
    causal_convolution,
    causal_sliding_encode,
    hard_concrete,
)


def encoder(channels: int = 2, **options: Any) -> DilatedConvEncoder:
    torch.manual_seed(0)
    options = {"hidden": 6, "depth": 2, "features": 5, "kernels": (1, 2, 4)} | options
    return DilatedConvEncoder(channels, **options).double()


def series(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_last_layer_is_the_mean_of_causal_convolutions() -> None:
    f, x = encoder(), series(3, 20, 2)
    z = f(x, output="convolutions").transpose(1, 2)
    layers: Any = f.trend
    expected = [F.conv1d(F.pad(z, (layer.kernel_size[0] - 1, 0)), layer.weight, layer.bias) for layer in layers]
    torch.testing.assert_close(f(x), torch.stack(expected).mean(dim=0).transpose(1, 2))


@pytest.mark.parametrize(("steps", "taps"), [(50, 32), (20, 32), (33, 17), (1, 64), (9, 16)])
def test_long_filters_are_applied_to_the_spectrum(steps: int, taps: int) -> None:
    x, weight = series(2, 3, steps).requires_grad_(), series(4, 3, taps, seed=1).requires_grad_()
    ours, direct = causal_convolution(x, weight), F.conv1d(F.pad(x, (taps - 1, 0)), weight)
    torch.testing.assert_close(ours, direct)
    upstream = series(2, 4, steps, seed=2)
    for a, b in zip(
        torch.autograd.grad((upstream * ours).sum(), (x, weight)),
        torch.autograd.grad((upstream * direct).sum(), (x, weight)),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_half_precision_does_not_reach_the_spectrum() -> None:
    f, x = encoder(kernels=(1, 3, 32)).float(), series(2, 40, 2).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z = f(x)
    torch.testing.assert_close(z, f(x), rtol=0.1, atol=0.1)


def test_the_last_step_alone() -> None:
    f = encoder(kernels=(1, 3, 32))
    for steps in (3, 32, 50):
        x = series(2, steps, 2)
        torch.testing.assert_close(f(x, last=True), f(x)[:, -1:])
        torch.testing.assert_close(f(x, output="convolutions", last=True), f(x, output="convolutions")[:, -1:])


def test_reach_is_how_far_a_step_is_seen() -> None:
    f, x = encoder(), series(1, 60, 2)
    changed = x.clone()
    changed[0, 30] += 1
    moved = (f(x, output="convolutions") != f(changed, output="convolutions")).any(dim=2).squeeze(0).nonzero()
    assert f.reach == 14
    assert (int(moved.min()), int(moved.max())) == (30 - f.reach, 30 + f.reach)


def test_a_step_with_a_gap_is_missing_whatever_its_other_channels_hold() -> None:
    f, x = encoder(), series(2, 20, 2)
    x[0, 4, 1] = torch.nan
    z = f(x)
    x[0, 4, 0] = 99.0
    assert bool(z.isfinite().all())
    assert torch.equal(f(x), z)
    gradients = torch.autograd.grad(z.sum(), list(f.parameters()))
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)


def test_nothing_but_gaps_and_constant_series_are_embedded() -> None:
    f = encoder()
    for x in (torch.full((1, 9, 2), torch.nan), torch.full((1, 9, 2), 7.0)):
        assert bool(f(x.double()).isfinite().all())


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_series_shorter_than_the_reach(steps: int) -> None:
    assert encoder()(series(2, steps, 2)).shape == (2, steps, 5)


def test_gates_are_open_as_often_as_their_logit_says() -> None:
    uniform = torch.rand(20_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for logit in (-1.0, 0.0, 1.0):
        gates = hard_concrete(torch.full_like(uniform, logit), uniform, bias=1e-6, gamma=0.0)
        assert float(gates.mean()) == pytest.approx(float(torch.tensor(logit).sigmoid()), abs=0.02)
        assert set(gates.unique().tolist()) <= {0.0, 1.0}


def test_a_hard_gate_has_the_gradient_of_the_soft_one() -> None:
    logits, uniform = series(50).requires_grad_(), torch.rand(50, dtype=torch.float64)
    soft, hard = (
        torch.autograd.grad(hard_concrete(logits, uniform, bias=0.1, gamma=0.2, hard=kind).sum(), logits)[0]
        for kind in (False, True)
    )
    assert torch.equal(soft, hard)
    assert bool((soft > 0).any())


def test_a_view_keeps_gaps_and_its_gradients_are_finite() -> None:
    augmenter, x = LearnedAugmenter(encoder(), bias=0.1).double(), series(3, 20, 2)
    x[0, 4, 1] = torch.nan
    view, kept = augmenter(x)
    assert torch.equal(view.isnan(), x.isnan())
    assert bool(((kept > 0) & (kept < 1)).all())
    shrunk = view.nan_to_num().abs() <= x.nan_to_num().abs()
    assert bool(shrunk.all())
    gradients = torch.autograd.grad(view.nan_to_num().sum() + kept.sum(), list(augmenter.parameters()))
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)


def test_a_raw_logit_closes_gates_that_the_other_leaves_half_open() -> None:
    x = series(4, 50, 2)
    views = {}
    for kind in ("sigmoid", "raw"):
        augmenter = LearnedAugmenter(encoder(), gate_logit=kind).double()  # type: ignore[arg-type]
        torch.nn.init.constant_(augmenter.keep.bias, -20.0)
        views[kind] = augmenter(x, torch.rand(x.shape, generator=torch.Generator().manual_seed(0)).double()).view
    assert bool((views["raw"] == 0).all())
    assert bool((views["sigmoid"] != 0).any())


def test_sliding_representations_see_the_past_alone() -> None:
    f, x = encoder().eval(), series(2, 30, 2)
    z = causal_sliding_encode(f, x, padding=6, batch_size=7)
    for t in (6, 17, 29):
        torch.testing.assert_close(z[:, t], f(x[:, t - 6 : t + 1])[:, -1])
    changed = x.clone()
    changed[:, 18:] = series(2, 12, 2, seed=1)
    assert torch.equal(causal_sliding_encode(f, changed, padding=6, batch_size=7)[:, :18], z[:, :18])
    assert bool(z.isfinite().all())


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: encoder(0), "channels is 0"),
        (lambda: encoder(depth=0), "depth is 0"),
        (lambda: encoder(kernels=()), r"kernels are \[\]"),
        (lambda: encoder(kernels=(1, 0)), r"kernels are \[1, 0\]"),
        (lambda: encoder()(series(3, 20, 3)), r"x has shape \(3, 20, 3\): expected \(N, T, 2\)"),
        (lambda: encoder()(series(20, 2)), r"x has shape \(20, 2\)"),
        (lambda: hard_concrete(series(3), bias=0.0), "bias is 0.0"),
        (lambda: hard_concrete(series(3), bias=0.6), "bias is 0.6"),
        (lambda: hard_concrete(series(3), gamma=-0.1), "gamma is -0.1"),
        (lambda: hard_concrete(series(3), zeta=0.9), "zeta is 0.9"),
        (lambda: hard_concrete(series(3), temperature=0.0), "temperature is 0.0"),
        (lambda: LearnedAugmenter(encoder(), gate_logit="logit"), "gate_logit is 'logit'"),  # type: ignore[arg-type]
        (lambda: causal_sliding_encode(encoder(), series(1, 9, 2), padding=-1), "padding is -1"),
        (lambda: causal_sliding_encode(encoder(), series(1, 9, 2), batch_size=0), "batch_size is 0"),
    ],
)
def test_wrong_input(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
