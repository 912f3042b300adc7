"""GroCo's loss beside its formula, at its limits and at its edges."""

import math
import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dipole.errors import InputError
from dipole.losses import anchor_groups, differentiable_sort, groco_loss, group_ordering_loss
from losses.table import DIM, assert_same, random

N = 6
VIEWS = random(3, N, DIM, seed=3)


def by_loops(views: Tensor, top_k: int, full: int, stop_gradient: bool) -> Tensor:
    """Anchor by anchor: the whole permutation and both cross entropies of the authors."""
    references = views.detach() if stop_gradient else views
    values = []
    for v, view in enumerate(views):
        for b, anchor in enumerate(view):
            positives = [F.cosine_similarity(anchor, references[p, b], dim=0) for p in range(full) if p != v]
            negatives = [F.cosine_similarity(anchor, references[v, j], dim=0) for j in range(len(view)) if j != b]
            hardest = torch.stack(negatives).sort().values[-top_k:]
            s = torch.cat([hardest, torch.stack(positives).sort().values])
            permutation = differentiable_sort(s).permutation
            target = (torch.arange(len(s)) >= len(hardest)).to(s.dtype)
            upper, lower = permutation[:, len(hardest) :].sum(dim=1), permutation[:, : len(hardest)].sum(dim=1)
            halves = F.binary_cross_entropy(upper, target), F.binary_cross_entropy(lower, 1 - target)
            values.append(sum(halves) / 2)
    return torch.stack(values)  # type: ignore[arg-type]


@pytest.mark.parametrize("stop_gradient", [True, False])
@pytest.mark.parametrize(("top_k", "full"), [(1, 3), (3, 3), (5, 2)])
def test_the_loss_is_its_loop(top_k: int, full: int, stop_gradient: bool) -> None:
    views = VIEWS.clone().requires_grad_()
    ours = groco_loss(views, top_k=top_k, num_positive_views=full, stop_gradient=stop_gradient, reduction="none")
    assert_same(ours, by_loops(views, top_k, full, stop_gradient), (views,))


def test_an_order_with_a_wide_gap_costs_little_and_a_wrong_one_much() -> None:
    low, high = torch.linspace(0, 1, 4).expand(2, 4), torch.linspace(10, 11, 3).expand(2, 3)
    for steepness in (1.0, 10.0, 1000.0):
        right = group_ordering_loss(high, low, steepness=steepness)
        assert right < 0.3
        assert group_ordering_loss(low, high, steepness=steepness) > 5 * right
    assert group_ordering_loss(high, low, steepness=1e6) < 1e-4


def test_the_logarithm_ends_at_100_with_a_finite_gradient() -> None:
    positives, negatives = torch.zeros(1, 1, requires_grad=True), torch.ones(1, 1)
    loss = group_ordering_loss(positives, negatives, steepness=1e6, distribution="logistic")
    assert loss == 100  # both are certain to land in the other's place
    assert torch.autograd.grad(loss, positives)[0].isfinite().all()


def test_the_order_within_a_group_is_free() -> None:
    positives, negatives = random(4, 3), random(4, 5, seed=1)
    expected = group_ordering_loss(positives, negatives, reduction="none")
    shuffled = group_ordering_loss(positives[:, [2, 0, 1]], negatives.flip(1), reduction="none")
    assert torch.equal(shuffled, expected)


def test_only_the_hardest_negatives_count() -> None:
    z = F.normalize(random(2, 8, DIM), dim=-1)
    loss = groco_loss(z, top_k=2, reduction="none")
    similarities = z[0] @ z[0].T
    for anchor in range(8):
        near = similarities[anchor].topk(3).indices  # the anchor and its two hardest negatives
        alone = groco_loss(z[:, near], top_k=2, reduction="none")
        torch.testing.assert_close(loss[anchor], alone[int((near == anchor).nonzero())])


def test_the_gradient_reaches_anchors_alone() -> None:
    views = VIEWS.clone().requires_grad_()
    values = groco_loss(views, top_k=2, reduction="none").view(3, N)
    (gradient,) = torch.autograd.grad(values[1, 2], views)
    touched = gradient.abs().sum(dim=-1) > 0
    assert touched.nonzero().tolist() == [[1, 2]]


def test_more_views_than_positives() -> None:
    values = groco_loss(VIEWS, top_k=2, num_positive_views=1, reduction="none")
    assert values.shape == (2 * N,)  # the only full crop has no positive: it is no anchor
    torch.testing.assert_close(groco_loss(VIEWS, top_k=2, num_positive_views=1), values.mean())
    assert [group.view for group in anchor_groups(VIEWS, top_k=2, num_positive_views=1)] == [1, 2]


def test_fewer_negatives_than_asked_for_all_count() -> None:
    with pytest.warns(UserWarning, match=f"top_k is 100, but an anchor has {N - 1} negatives: they all count"):
        loss = groco_loss(VIEWS, top_k=100)
    torch.testing.assert_close(loss, groco_loss(VIEWS, top_k=N - 1))


def test_equal_samples_are_no_negatives() -> None:
    twice = torch.cat([VIEWS, VIEWS[:, :2]], dim=1)
    ids = torch.tensor([*range(N), 0, 1])
    values = groco_loss(twice, top_k=3, ids=ids, reduction="none").view(3, -1)
    # Each is now contrasted with the others as if its copy were not there; copies of others count twice.
    torch.testing.assert_close(values[:, :2], values[:, N:])
    sims = F.normalize(twice, dim=-1)
    for group in anchor_groups(twice, top_k=3, ids=ids):
        every = sims[group.view] @ sims[group.view].T
        hardest = every.masked_fill(ids[:, None] == ids, -2).sort(dim=1).values[:, -3:]
        torch.testing.assert_close(group.negatives, hardest)
    distinct = groco_loss(VIEWS, top_k=3, ids=torch.arange(N))
    assert torch.equal(distinct, groco_loss(VIEWS, top_k=3))


def test_half_precision_under_autocast_is_that_of_the_loss() -> None:
    views = VIEWS.bfloat16()
    with torch.autocast("cpu", torch.bfloat16), warnings.catch_warnings():
        warnings.simplefilter("error")
        loss = groco_loss(views, top_k=3)
    assert torch.equal(loss, groco_loss(views, top_k=3))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: groco_loss(VIEWS[0]), r"views has shape \(6, 4\): expected \(V, N, D\)"),
        (lambda: groco_loss(VIEWS[:1]), "2 or more views are needed"),
        (lambda: groco_loss(VIEWS[:, :1]), "a batch of 1 sample has no negatives"),
        (lambda: groco_loss(VIEWS, top_k=0), "top_k is 0: expected a number of at least 1"),
        (lambda: groco_loss(VIEWS, top_k=2, steepness=0.0), "steepness is 0.0"),
        (lambda: groco_loss(VIEWS, top_k=2, network="bubble"), "network is 'bubble'"),  # type: ignore[arg-type]
        (lambda: groco_loss(VIEWS, top_k=2, distribution="l"), "distribution is 'l'"),  # type: ignore[arg-type]
        (lambda: groco_loss(VIEWS, top_k=2, reduction="max"), "reduction is 'max'"),  # type: ignore[arg-type]
        (lambda: groco_loss(VIEWS, num_positive_views=0), "num_positive_views is 0 of 3 views: expected 1 to 3"),
        (lambda: groco_loss(VIEWS, num_positive_views=4), "num_positive_views is 4 of 3 views"),
        (lambda: groco_loss(VIEWS, ids=torch.arange(3)), r"ids is torch.int64 of shape \(3,\): expected integers of"),
        (lambda: groco_loss(VIEWS, ids=torch.arange(N).float()), "ids is torch.float32"),
        (lambda: groco_loss(VIEWS, ids=torch.zeros(N).long()), "it has no negatives"),
        (lambda: group_ordering_loss(VIEWS[0], VIEWS[0, :3]), r"expected \(N, P\) and \(N, K\), one row for each"),
        (lambda: group_ordering_loss(VIEWS[0, :, :0], VIEWS[0]), r"positive_similarities has shape \(6, 0\)"),
        (lambda: group_ordering_loss(VIEWS[0], VIEWS[0] * math.nan), "negative_similarities contains NaN"),
    ],
)
def test_mistakes_are_explained(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
