"""Losses in which labels say who sees whom: what holds for any input."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch import Tensor

from dipole.errors import InputError
from dipole.losses import (
    clip_loss,
    nt_xent_loss,
    same_index_nt_xent_loss,
    same_label_clip_loss,
    same_label_nt_xent_loss,
)


def drawn(count: int, classes: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(2, count, 4, generator=generator, dtype=torch.float64)
    return z[0], z[1], torch.randint(0, classes, (count,), generator=generator)


@given(st.integers(2, 7), st.integers(1, 4), st.floats(0.1, 2.0), st.integers(0, 20))
def test_each_label_is_a_batch_of_its_own(count: int, classes: int, tau: float, seed: int) -> None:
    z1, z2, labels = drawn(count, classes, seed)
    found = same_label_nt_xent_loss(z1, z2, labels, temperature=tau, reduction="none").view(2, count)
    pairs = same_label_clip_loss(z1, z2, labels, temperature=tau, reduction="none")
    for label in labels.unique():
        own = labels == label
        if int(own.sum()) == 1:
            torch.testing.assert_close(found[:, own], torch.zeros(2, 1).double())
            torch.testing.assert_close(pairs[own], torch.zeros(1).double())
            continue
        expected = nt_xent_loss(z1[own], z2[own], temperature=tau, reduction="none")
        torch.testing.assert_close(found[:, own].flatten(), expected)
        torch.testing.assert_close(pairs[own], clip_loss(z1[own], z2[own], temperature=tau, reduction="none"))


@given(st.integers(2, 7), st.integers(0, 20))
def test_order_and_length_of_rows_do_not_matter(count: int, seed: int) -> None:
    z1, z2, labels = drawn(count, 2, seed)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    expected = same_label_nt_xent_loss(z1, z2, labels)
    torch.testing.assert_close(same_label_nt_xent_loss(3 * z1[order], 0.1 * z2[order], labels[order]), expected)


def test_copies_of_a_sample_attract_each_other_if_they_share_an_index() -> None:
    z1, z2, _ = drawn(4, 1, 0)
    z, apart, together = torch.cat([z1, z2]), torch.arange(4), torch.tensor([0, 0, 2, 3])
    expected = nt_xent_loss(z1, z2, temperature=0.3)
    torch.testing.assert_close(same_index_nt_xent_loss(z, apart.repeat(2), temperature=0.3), expected)
    assert same_index_nt_xent_loss(z, together.repeat(2), temperature=0.3) < expected


@pytest.mark.parametrize("loss", [same_label_nt_xent_loss, same_label_clip_loss])
def test_gradients_are_those_of_finite_differences(loss: object) -> None:
    z1, z2, labels = drawn(5, 2, 3)
    assert torch.autograd.gradcheck(
        lambda a, b: loss(a, b, labels, temperature=0.5),  # type: ignore[operator]
        (z1.requires_grad_(), z2.requires_grad_()),
    )


@pytest.mark.usefixtures("unchecked")
def test_what_is_refused() -> None:
    z1, z2, labels = drawn(4, 2, 0)
    with pytest.raises(InputError, match="each of 4 rows"):
        same_label_nt_xent_loss(z1, z2, labels[:2])
    with pytest.raises(InputError, match="whole number"):
        same_label_clip_loss(z1, z2, labels.double())
    with pytest.raises(InputError, match="one row alone"):
        same_index_nt_xent_loss(z1, torch.arange(4))
