"""Losses with several positives, hard negatives or smoothed labels, beside what they are by definition."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dipole.errors import InputError
from dipole.losses import hard_negatives_info_nce_loss, info_nce_loss, multi_positive_info_nce_loss
from losses.table import DIM, assert_same, bank, random

SEEDS = st.integers(0, 2**32)
SMOOTHING = st.sampled_from([0.0, 0.1, 0.7])


def logits(queries: Tensor, keys: Tensor, temperature: float, normalize: bool) -> Tensor:
    if normalize:
        queries, keys = F.normalize(queries, dim=1), F.normalize(keys, dim=1)
    return queries @ keys.T / temperature


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, rows=st.integers(2, 7), smoothing=SMOOTHING, normalize=st.booleans())
def test_info_nce_is_cross_entropy(seed: int, rows: int, smoothing: float, normalize: bool) -> None:
    q, k, negatives = (z.requires_grad_() for z in random(3, rows, DIM, seed=seed))
    options: dict[str, Any] = {"temperature": 0.3, "normalize": normalize, "reduction": "none"}
    target = torch.arange(rows)
    expected = F.cross_entropy(logits(q, k, 0.3, normalize), target, label_smoothing=smoothing, reduction="none")
    assert_same(info_nce_loss(q, k, label_smoothing=smoothing, **options), expected, (q, k))
    own = torch.stack([logits(q[i : i + 1], k[i : i + 1], 0.3, normalize)[0] for i in range(rows)])
    with_bank = torch.cat([own, logits(q, negatives, 0.3, normalize)], dim=1)
    expected = F.cross_entropy(with_bank, 0 * target, label_smoothing=smoothing, reduction="none")
    assert_same(info_nce_loss(q, k, negatives, label_smoothing=smoothing, **options), expected, (q, k, negatives))


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, rows=st.integers(1, 5), more=st.integers(1, 6), smoothing=SMOOTHING, normalize=st.booleans())
def test_hard_negatives_serve_every_query(seed: int, rows: int, more: int, smoothing: float, normalize: bool) -> None:
    q, k = (z.requires_grad_() for z in random(2, rows, DIM, seed=seed))
    negatives = random(more, DIM, seed=seed + 1).requires_grad_()
    valid = random(more, seed=seed + 2) > 0
    valid[0] = True
    keys = torch.cat([k, negatives[valid]])
    expected = F.cross_entropy(
        logits(q, keys, 0.3, normalize), torch.arange(rows), label_smoothing=smoothing, reduction="none"
    )
    ours = hard_negatives_info_nce_loss(
        q, k, negatives, valid=valid, temperature=0.3, label_smoothing=smoothing, normalize=normalize, reduction="none"
    )
    assert_same(ours, expected, (q, k, negatives))


def test_without_a_valid_hard_negative_the_batch_is_left() -> None:
    q, k = random(2, 5, DIM)
    none = torch.zeros(7, dtype=torch.bool)
    torch.testing.assert_close(
        hard_negatives_info_nce_loss(q, k, bank(q), valid=none, temperature=0.3), info_nce_loss(q, k, temperature=0.3)
    )
    with pytest.raises(InputError, match="a batch of 1 sample has no negatives"):
        hard_negatives_info_nce_loss(q[:1], k[:1], bank(q), valid=none)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, rows=st.integers(2, 6), views=st.integers(1, 4))
def test_several_positives_by_definition(seed: int, rows: int, views: int) -> None:
    anchor, positives = random(rows, DIM, seed=seed), random(views, rows, DIM, seed=seed + 1)
    weights = random(views, seed=seed + 2).abs()
    leaves = (anchor.requires_grad_(), positives.requires_grad_())
    probabilities = torch.stack([logits(anchor, view, 0.3, True).softmax(dim=1).diagonal() for view in positives])
    options: dict[str, Any] = {"temperature": 0.3, "weights": weights, "reduction": "none"}
    outside = -(weights[:, None] * probabilities.log()).sum(dim=0)
    assert_same(multi_positive_info_nce_loss(anchor, positives, **options), outside, leaves)
    inside = -(weights[:, None] * probabilities).sum(dim=0).log()
    assert_same(multi_positive_info_nce_loss(anchor, positives, mode="inside_log", **options), inside, leaves)


def test_one_positive_is_info_nce() -> None:
    anchor, positive = random(2, 5, DIM)
    expected = info_nce_loss(anchor, positive, temperature=0.2)
    for mode in ("sum", "inside_log"):
        torch.testing.assert_close(
            multi_positive_info_nce_loss(anchor, positive[None], temperature=0.2, mode=mode), expected
        )


def test_a_positive_without_weight_does_not_count() -> None:
    anchor, positives = random(5, DIM), random(2, 5, DIM, seed=1).requires_grad_()
    for mode in ("sum", "inside_log"):
        loss = multi_positive_info_nce_loss(anchor, positives, weights=[1.0, 0.0], mode=mode)
        torch.testing.assert_close(loss, info_nce_loss(anchor, positives[0], temperature=0.05))
        (gradient,) = torch.autograd.grad(loss, positives)
        assert gradient.isfinite().all()
        assert not gradient[1].any()


def test_equal_positives_weigh_as_one() -> None:
    """With λ that sums to 1 and equal views both modes are InfoNCE."""
    anchor, positive = random(2, 5, DIM)
    expected = info_nce_loss(anchor, positive, temperature=0.2)
    for mode in ("sum", "inside_log"):
        loss = multi_positive_info_nce_loss(
            anchor, positive.expand(3, -1, -1), temperature=0.2, weights=[0.2, 0.3, 0.5], mode=mode
        )
        torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("weights", [[1.0], [0.0, 0.0], [1.0, -0.1], [1.0, math.nan]])
def test_weights_that_do_not_fit(weights: list[float]) -> None:
    with pytest.raises(InputError, match="expected 2 numbers of at least 0, one a positive, not all 0"):
        multi_positive_info_nce_loss(random(5, DIM), random(2, 5, DIM), weights=weights)


@pytest.mark.usefixtures("unchecked")
def test_other_input_that_is_refused() -> None:
    z, views = random(5, DIM), random(2, 5, DIM)
    wrong: list[tuple[Any, str]] = [
        (lambda: multi_positive_info_nce_loss(z[:4], views), r"anchor has shape \(4, 4\)"),
        (lambda: multi_positive_info_nce_loss(z, z), r"expected \(V, N, D\)"),
        (lambda: multi_positive_info_nce_loss(z, views, mode="mean"), "expected one of 'sum', 'inside_log'"),
        (lambda: multi_positive_info_nce_loss(z[:1], views[:, :1]), "a batch of 1 sample"),
        (lambda: multi_positive_info_nce_loss(z, views, temperature=0.0), "expected a number above 0"),
        (lambda: info_nce_loss(z, z, label_smoothing=1.0), "expected a number from 0 to below 1"),
        (lambda: hard_negatives_info_nce_loss(z, z, z, label_smoothing=-0.1), "expected a number from 0 to below 1"),
        (lambda: hard_negatives_info_nce_loss(z, z, z[:, :3]), "hard_negatives has width 3"),
        (lambda: hard_negatives_info_nce_loss(z, z, z, valid=torch.ones(4, dtype=torch.bool)), "one entry for each"),
    ]
    for call, message in wrong:
        with pytest.raises(InputError, match=message):
            call()
