"""The losses of AutoTCL: literal forms, limits, invariances, gradients, errors."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dipole.errors import InputError
from dipole.losses import (
    global_info_nce_loss,
    info_nce_loss,
    linear_mmd,
    local_info_nce_loss,
    mask_size_penalty,
    multi_kernel_mmd,
    pool_time,
    temporal_consistency,
)
from losses.table import random

Z, VIEW = random(5, 24, 4), random(5, 24, 4, seed=1)
KEPT = random(5, 24, 2).sigmoid()
STEPS = torch.tensor([1, 4, 21])
SEEDS = st.integers(0, 1000)


@given(SEEDS)
def test_the_order_of_series_does_not_matter(seed: int) -> None:
    order = torch.randperm(5, generator=torch.Generator().manual_seed(seed))
    for loss in (
        lambda z, view: global_info_nce_loss(z, view, temperature=0.5),
        lambda z, view: local_info_nce_loss(z, segments=5, start=2),
        lambda z, view: multi_kernel_mmd(pool_time(z), pool_time(view)),
    ):
        torch.testing.assert_close(loss(Z[order], VIEW[order]), loss(Z, VIEW))


@given(SEEDS)
def test_the_contrasts_ignore_lengths_and_the_discrepancy_ignores_a_common_scale(seed: int) -> None:
    scale = 0.1 + 10 * torch.rand(5, 1, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    torch.testing.assert_close(global_info_nce_loss(scale * Z, VIEW), global_info_nce_loss(Z, VIEW))
    steps = scale.expand(5, 24, 1).roll(seed, 1)
    torch.testing.assert_close(local_info_nce_loss(steps * Z, start=0), local_info_nce_loss(Z, start=0))
    factor = float(scale[0])
    torch.testing.assert_close(
        multi_kernel_mmd(factor * Z[:, 0], factor * VIEW[:, 0]), multi_kernel_mmd(Z[:, 0], VIEW[:, 0])
    )


@pytest.mark.parametrize(
    "loss",
    [
        lambda z, view: global_info_nce_loss(z, view, temperature=0.5),
        lambda z, view: global_info_nce_loss(z, view, pooling="mean"),
        lambda z, view: local_info_nce_loss(z, segments=5, start=2, temperature=0.5) + 0 * view.sum(),
        lambda z, view: linear_mmd(pool_time(z), pool_time(view)),
        lambda z, view: mask_size_penalty(z.sigmoid()) + 0 * view.sum(),
        lambda z, view: temporal_consistency(z, STEPS, STEPS + 1) + 0 * view.sum(),
    ],
)
def test_gradients(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    z, view = (x[:2, :, :2].clone().requires_grad_() for x in (Z, VIEW))
    assert torch.autograd.gradcheck(loss, (z, view), fast_mode=True)


def literal_local(z: Tensor, segments: int, start: int, temperature: float) -> Tensor:
    z = z / z.norm(dim=2, keepdim=True)
    c = z.shape[1] // segments
    values = []
    for series in z:
        u = [series[start + i * c : start + (i + 1) * c].amax(dim=0) for i in range(segments)]
        for i in range(segments):
            positive = i + 1 if i + 1 < segments else i - 1
            left_out = {i - 1, i, i + 1} | ({2} if i == 0 else set()) | ({segments - 3} if i == segments - 1 else set())
            others = [j for j in range(segments) if j not in left_out]
            assert len(others) == segments - 3
            logits = torch.stack([u[i] @ u[j] / temperature for j in (positive, *others)])
            values.append(logits.logsumexp(0) - logits[0])
    return torch.stack(values).mean()


@pytest.mark.parametrize(("segments", "start"), [(4, 0), (5, 4), (16, 8), (24, 0)])
def test_local_contrast_is_its_definition(segments: int, start: int) -> None:
    ours = local_info_nce_loss(Z, segments=segments, start=start, temperature=0.4)
    torch.testing.assert_close(ours, literal_local(Z, segments, start, 0.4))


def test_the_start_is_drawn_from_all_that_fit() -> None:
    torch.manual_seed(0)
    drawn = {round(float(local_info_nce_loss(Z, segments=11)), 9) for _ in range(40)}
    assert drawn == {round(float(local_info_nce_loss(Z, segments=11, start=start)), 9) for start in range(3)}


def test_global_contrast_is_info_nce_of_the_pooled_in_one_direction() -> None:
    ours = global_info_nce_loss(Z, VIEW, pooling="mean", temperature=0.3)
    torch.testing.assert_close(ours, info_nce_loss(Z.mean(1), VIEW.mean(1), temperature=0.3))
    assert ours != global_info_nce_loss(VIEW, Z, pooling="mean", temperature=0.3)


def test_what_cannot_be_contrasted_is_zero_and_keeps_gradients_finite() -> None:
    z, view = Z[:1].clone().requires_grad_(), VIEW[:1].clone().requires_grad_()
    loss = global_info_nce_loss(z, view) + local_info_nce_loss(z[:, :7], segments=8)
    gradients = torch.autograd.grad(loss, (z, view))
    assert loss == 0
    assert all(bool((gradient == 0).all()) for gradient in gradients)


def test_equal_samples_do_not_differ_and_others_do() -> None:
    x = Z[:, 0]
    assert multi_kernel_mmd(x, x.flip(0)).abs() < 1e-12
    assert multi_kernel_mmd(x, x + 1) > 0.1
    same = torch.ones(3, 2, dtype=torch.float64, requires_grad=True)
    loss = multi_kernel_mmd(same, same.detach())
    assert loss == 0
    assert bool((torch.autograd.grad(loss, same)[0] == 0).all())
    # At most every kernel is 1 within and 0 between.
    far = multi_kernel_mmd(torch.zeros(50, 1), torch.full((50, 1), 1e3))
    assert 2 < far < 2 * 5


def test_a_mask_below_the_threshold_is_free() -> None:
    kept = torch.full((2, 3, 1), 0.3, requires_grad=True)
    loss = mask_size_penalty(kept)
    assert loss == 0
    assert bool((torch.autograd.grad(loss, kept)[0] == 0).all())
    torch.testing.assert_close(mask_size_penalty(torch.full((2, 3, 2), 0.3)), torch.tensor(0.2))


def test_consistency_pulls_neighbours_together_and_distant_steps_apart() -> None:
    kept = torch.zeros(1, 6, 1)
    kept[0, 5] = 1.0
    anchor = torch.tensor([2])
    for other, intended, official in ((3, 0.0, 1.0), (5, 0.0, 1.0), (0, 1.0, 1.0)):
        pair = (kept, anchor, torch.tensor([other]))
        assert float(temporal_consistency(*pair)) == intended
        assert float(temporal_consistency(*pair, form="official")) == official


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pool_time(Z, "sum"), "pooling is 'sum'"),  # type: ignore[arg-type]
        (lambda: pool_time(Z[:, :0]), r"shape \(5, 0, 4\): expected \(N, T, D\)"),
        (lambda: global_info_nce_loss(Z, VIEW[:4]), "row i of each must belong to the same sample"),
        (lambda: global_info_nce_loss(Z, VIEW, temperature=0.0), "temperature is 0.0"),
        (lambda: global_info_nce_loss(Z[:1], VIEW[:1], temperature=0.0), "temperature is 0.0"),
        (lambda: global_info_nce_loss(Z[:1] * math.nan, VIEW[:1]), "contains NaN"),
        (lambda: local_info_nce_loss(Z * math.nan), "contains NaN"),
        (lambda: local_info_nce_loss(Z, segments=3), "segments is 3: expected a number of at least 4"),
        (lambda: local_info_nce_loss(Z, segments=5, start=5), "start is 5: expected a step from 0 to 4"),
        (lambda: local_info_nce_loss(Z, series="last"), "series is 'last'"),  # type: ignore[arg-type]
        (lambda: multi_kernel_mmd(Z[:, 0], Z[:4, 0]), "shapes differ"),
        (lambda: multi_kernel_mmd(Z[:, 0], Z[:, 1], kernels=0), "kernels is 0"),
        (lambda: multi_kernel_mmd(Z[:, 0], Z[:, 1], ratio=0.0), "ratio is 0.0"),
        (lambda: linear_mmd(Z[:, 0], Z[:, 1] / 0), "contains NaN"),
        (lambda: temporal_consistency(KEPT, STEPS - 1, STEPS), "anchors are .*: expected steps from 1 to 22"),
        (lambda: temporal_consistency(KEPT, STEPS, STEPS + 3), "others are .*: expected steps from 0 to 23"),
        (lambda: temporal_consistency(KEPT, STEPS, STEPS, form="paper"), "form is 'paper'"),  # type: ignore[arg-type]
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_wrong_input(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
