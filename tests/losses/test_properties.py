"""What holds for every loss."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dipole.losses import barlow_twins_loss, cacr_loss, dcl_loss, dclw_loss, nt_xent_loss, soft_contrastive_loss
from losses.table import DIM, LOSSES, SMOOTH, random

FEW = settings(max_examples=8, deadline=None)
SEEDS = st.integers(0, 2**32)
ROWS = st.integers(3, 8)


@pytest.mark.parametrize("name", LOSSES)
@FEW
@given(seed=SEEDS, rows=ROWS)
def test_the_order_of_the_batch_does_not_matter(name: str, seed: int, rows: int) -> None:
    z1, z2 = random(2, rows, DIM, seed=seed)
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(LOSSES[name](z1[order], z2[order]), LOSSES[name](z1, z2), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", LOSSES)
@FEW
@given(seed=SEEDS, rows=ROWS)
def test_the_length_of_a_row_does_not_matter(name: str, seed: int, rows: int) -> None:
    z1, z2 = random(2, rows, DIM, seed=seed)
    factor1, factor2 = random(2, rows, 1, seed=seed + 1).exp()
    torch.testing.assert_close(LOSSES[name](factor1 * z1, factor2 * z2), LOSSES[name](z1, z2), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", SMOOTH)
@settings(max_examples=4, deadline=None)
@given(seed=SEEDS)
def test_gradients_are_finite_differences(name: str, seed: int) -> None:
    z1, z2 = (z.requires_grad_() for z in random(2, 4, DIM, seed=seed))
    # The choice of hardest negatives and of labels is a step: stay away from it by a tiny difference.
    assert torch.autograd.gradcheck(SMOOTH[name], (z1, z2), eps=1e-7, atol=1e-5, rtol=1e-4, fast_mode=True)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("case", ["duplicates", "equal views", "zero row", "opposite views", "zero batch"])
def test_degenerate_rows_give_finite_values_and_gradients(name: str, case: str) -> None:
    z1, z2 = random(2, 6, DIM)
    if case == "duplicates":
        z1[1:], z2[1:] = z1[:1], z2[:1]
    elif case == "equal views":
        z2 = z1.clone()
    elif case == "zero row":
        z1[2] = z2[3] = 0
    elif case == "opposite views":
        z2 = -z1
    else:
        z1, z2 = torch.zeros(2, 6, DIM)
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        leaves = [z.to(dtype, copy=True).requires_grad_() for z in (z1, z2)]
        loss = LOSSES[name](*leaves)
        assert loss.isfinite(), dtype
        gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
        assert all(gradient is None or gradient.isfinite().all() for gradient in gradients), dtype


@pytest.mark.parametrize("name", LOSSES)
def test_types(name: str) -> None:
    z1, z2 = random(2, 6, DIM)
    expected = LOSSES[name](z1, z2)
    assert expected.dtype == torch.float64
    for dtype in (torch.float16, torch.bfloat16):
        half = LOSSES[name](z1.to(dtype), z2.to(dtype))
        assert half.dtype == torch.float32
        assert abs(float(half - expected)) < 100 * torch.finfo(dtype).eps
        single = LOSSES[name](z1.to(dtype).float(), z2.to(dtype).float())
        assert abs(float(half - single)) < 1e-5


@pytest.mark.parametrize("name", LOSSES)
def test_autocast_does_not_touch_a_loss(name: str) -> None:
    z1, z2 = random(2, 6, DIM).float()
    expected = LOSSES[name](z1, z2)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(LOSSES[name](z1, z2), expected)


def test_autocast_does_not_touch_what_is_summed_before_it_is_compared() -> None:
    z1, z2 = random(2, 6, DIM).float()
    soft = random(6, 3).float().softmax(dim=1)
    for loss in (lambda: barlow_twins_loss(z1, z2), lambda: soft_contrastive_loss(torch.stack([z1, z2]), soft)):
        expected = loss()
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(loss(), expected)


@FEW
@given(seed=SEEDS, rows=ROWS, temperature=st.floats(0.01, 10))
def test_the_views_may_be_swapped(seed: int, rows: int, temperature: float) -> None:
    z1, z2 = random(2, rows, DIM, seed=seed)
    for loss in (nt_xent_loss, dcl_loss, dclw_loss):
        torch.testing.assert_close(loss(z1, z2, temperature=temperature), loss(z2, z1, temperature=temperature))
        values = loss(z1, z2, temperature=temperature, reduction="none")
        swapped = loss(z2, z1, temperature=temperature, reduction="none")
        torch.testing.assert_close(values, swapped.roll(rows))
    options: dict[str, Any] = {"t_negative": 1 / temperature, "symmetric": True}
    torch.testing.assert_close(cacr_loss(torch.stack([z1, z2]), **options), cacr_loss(torch.stack([z2, z1]), **options))


WITHOUT_FIXED_DIRECTIONS = ["nt_xent", "info_nce", "dcl", "dclw", "dcl_neighbour", "cacr, symmetric", "cacr, rbf"]


@pytest.mark.parametrize(
    "name",
    [
        *WITHOUT_FIXED_DIRECTIONS,
        "cacr, debiased",
        "groco, references detached",
        "hard_contrastive, top_k",
        "simple",
    ],
)
@FEW
@given(seed=SEEDS, rows=ROWS)
def test_a_rotation_does_not_matter(name: str, seed: int, rows: int) -> None:
    z1, z2 = random(2, rows, DIM, seed=seed)
    rotation = torch.linalg.qr(random(DIM, DIM, seed=seed + 1)).Q
    torch.testing.assert_close(LOSSES[name](z1 @ rotation, z2 @ rotation), LOSSES[name](z1, z2))


@pytest.mark.parametrize("name", ["nt_xent", "info_nce", "dcl", "dclw", "cacr", "sup_con", "groco", "hard_contrastive"])
def test_a_step_downhill_lowers_the_loss(name: str) -> None:
    z1, z2 = (z.requires_grad_() for z in random(2, 8, DIM))
    loss = LOSSES[name](z1, z2)
    step = [z - 1e-3 * gradient for z, gradient in zip((z1, z2), torch.autograd.grad(loss, (z1, z2)), strict=True)]
    assert LOSSES[name](*step) < loss
