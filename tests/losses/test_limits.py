"""What the losses become at the ends of their hyperparameters."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dipole.losses import (
    attraction_weights,
    cacr_loss,
    cacr_queue_loss,
    cacr_weights,
    contrastive_attraction,
    contrastive_repulsion,
    dcl_loss,
    dclw_loss,
    hard_contrastive_loss,
    hardest_negatives,
    info_nce_loss,
    momentum_query_weights,
    nt_xent_loss,
    repulsion_weights,
    simple_contrastive_loss,
    sup_con_loss,
)
from dipole.losses.cacr import positive_distances
from losses.table import DIM, bank, random

N = 6


@pytest.fixture
def views() -> Tensor:
    return F.normalize(random(3, N, DIM, seed=11), dim=-1)


def others(square: Tensor) -> Tensor:
    return square[~torch.eye(len(square), dtype=torch.bool)].view(len(square), -1)


@pytest.mark.parametrize(
    ("loss", "candidates"),
    [(nt_xent_loss, 2 * N - 1), (info_nce_loss, N), (dcl_loss, 2 * N - 2), (dclw_loss, 2 * N - 2)],
)
def test_a_high_temperature_only_counts_candidates(views: Tensor, loss: Any, candidates: int) -> None:
    assert float(loss(views[0], views[1], temperature=1e9)) == pytest.approx(math.log(candidates), abs=1e-7)


def test_a_high_temperature_makes_the_contrastive_loss_the_simple_one(views: Tensor) -> None:
    queries, positives = views[0].requires_grad_(), views[1]
    # ℓ · τ (M + 1)/M → −s⁺ + mean s⁻, up to a constant.
    contrastive = hard_contrastive_loss(queries, positives, temperature=1e5) * 1e5 * N / (N - 1)
    simple = simple_contrastive_loss(queries, positives)
    torch.testing.assert_close(
        torch.autograd.grad(contrastive, queries)[0], torch.autograd.grad(simple, queries)[0], rtol=1e-3, atol=1e-6
    )


def test_a_low_temperature_sees_the_hardest_negative_alone(views: Tensor) -> None:
    z1, z2 = views[:2]
    hardest = torch.stack([others(z1 @ z2.T).amax(dim=1) - (z1 * z2).sum(dim=1)]).relu().mean()
    tau = 1e-4
    torch.testing.assert_close(info_nce_loss(z1, z2, temperature=tau) * tau, hardest, rtol=0, atol=1e-3)


@pytest.mark.parametrize("weights", [attraction_weights, repulsion_weights])
def test_t_of_zero_weighs_alike(views: Tensor, weights: Any) -> None:
    distances = positive_distances(views)
    assert torch.equal(weights(distances, 0.0), torch.full_like(distances, 0.5))


def test_repulsion_between_the_mean_and_the_hardest_negative(views: Tensor) -> None:
    pair = views[:2]
    distances = others(torch.cdist(pair[0], pair[1]).square())
    torch.testing.assert_close(contrastive_repulsion(pair, 0.0), -distances.mean(dim=1).mean())
    torch.testing.assert_close(contrastive_repulsion(pair, 1e-9), -distances.mean(dim=1).mean())
    torch.testing.assert_close(contrastive_repulsion(pair, 1e6), -distances.amin(dim=1).mean())
    steps = [float(contrastive_repulsion(pair, t)) for t in (0, 0.5, 1, 2, 5, 100)]
    assert steps == sorted(steps)


def test_attraction_between_the_mean_and_the_farthest_positive(views: Tensor) -> None:
    distances = positive_distances(views)
    torch.testing.assert_close(contrastive_attraction(views, 0.0), distances.mean())
    torch.testing.assert_close(contrastive_attraction(views, 1e6), distances.amax(dim=-1).mean())
    steps = [float(contrastive_attraction(views, t)) for t in (0, 0.5, 1, 2, 5, 100)]
    assert steps == sorted(steps)


def test_the_weights_of_the_inspection_are_those_of_the_loss(views: Tensor) -> None:
    weights = cacr_weights(views, t_positive=1.5, t_negative=2.5)
    assert weights.positive.shape == (3, N, 2)
    assert weights.negative.shape == (3, N, N - 1)
    for found in weights:
        torch.testing.assert_close(found.sum(dim=-1), torch.ones(found.shape[:-1], dtype=found.dtype))
    attraction = (weights.positive * positive_distances(views)).sum(dim=-1).mean()
    torch.testing.assert_close(cacr_loss(views, t_positive=1.5, t_negative=2.5, beta=0), attraction)
    pairs = [(0, 1), (0, 2), (1, 2)]
    terms = [
        (weight * others(torch.cdist(views[x], views[y]).square())).sum(dim=-1).mean()
        for weight, (x, y) in zip(weights.negative, pairs, strict=True)
    ]
    torch.testing.assert_close(cacr_loss(views, t_positive=1.5, t_negative=2.5, alpha=0), -torch.stack(terms).mean())


def test_far_queries_of_a_momentum_key_weigh_more(views: Tensor) -> None:
    key = views[0]
    weights = momentum_query_weights(views[1:], key, 0.5)
    far = (views[1:] - key).square().sum(dim=-1).argmax(dim=0)
    assert torch.equal(weights.argmax(dim=0), far)
    torch.testing.assert_close(momentum_query_weights(views, key, 1e9), torch.full((3, N), 1 / 3, dtype=key.dtype))


@pytest.mark.parametrize("kept", [{"top_k": N - 1}, {"top_k": 10_000}, {"alpha": 1.0}])
def test_keeping_all_negatives_is_the_plain_loss(views: Tensor, kept: dict[str, Any]) -> None:
    z1, z2 = views[:2]
    expected = info_nce_loss(z1, z2, temperature=0.4)
    torch.testing.assert_close(hard_contrastive_loss(z1, z2, temperature=0.4, **kept), expected)
    torch.testing.assert_close(hard_contrastive_loss(z1, z2, temperature=0.4), expected)
    torch.testing.assert_close(simple_contrastive_loss(z1, z2, **kept), simple_contrastive_loss(z1, z2))


@pytest.mark.parametrize(("share", "count", "kept"), [(0.07, 100, 7), (0.3, 10, 3), (0.31, 10, 4), (1e-6, 10, 1)])
def test_the_share_of_negatives_is_rounded_up_but_not_by_rounding_errors(share: float, count: int, kept: int) -> None:
    assert hardest_negatives(random(2, count), alpha=share).similarities.shape == (2, kept)


def test_exactly_k_negatives_are_kept_among_ties() -> None:
    found = hardest_negatives(torch.tensor([[0.5, 0.5, 0.5, 0.1], [0.9, 0.1, 0.1, 0.1]]), top_k=2)
    assert found.mask.sum(dim=1).tolist() == [2, 2]
    assert found.threshold.tolist() == pytest.approx([0.5, 0.1])


def test_sup_con_without_positives_is_zero() -> None:
    z = random(5, DIM).requires_grad_()
    loss = sup_con_loss(z, torch.arange(5))
    assert loss == 0
    assert (torch.autograd.grad(loss, z)[0] == 0).all()


def test_sup_con_of_one_class_is_lowest_where_all_agree() -> None:
    labels, alike = torch.zeros(5, dtype=torch.long), random(1, DIM).expand(5, DIM)
    assert float(sup_con_loss(alike, labels)) == pytest.approx(math.log(4))
    assert sup_con_loss(random(5, DIM), labels) > math.log(4)


def test_an_anchor_without_positives_does_not_poison_the_mean() -> None:
    z, labels = random(5, DIM), torch.tensor([0, 0, 1, 1, 2])
    values = sup_con_loss(z, labels, reduction="none")
    assert values[4] == 0
    assert (values[:4] > 0).all()
    torch.testing.assert_close(sup_con_loss(z, labels), values.mean())


def test_labels_may_be_any_integers() -> None:
    z = random(6, DIM)
    small, large = torch.tensor([0, 1, 0, 1, 2, 2]), torch.tensor([-7, 10**12, -7, 10**12, 3, 3])
    assert torch.equal(sup_con_loss(z, small), sup_con_loss(z, large))


def test_a_full_queue_overrules_the_batch(views: Tensor) -> None:
    """With t⁻ = 0 every negative, of the queue or the batch, weighs the same."""
    queue = bank(views[0])
    loss = cacr_queue_loss(views, views, queue, t_negative=0.0, alpha=0)
    unit_queue = F.normalize(queue, dim=1)
    every = [torch.cat([torch.cdist(v, unit_queue).square(), others(torch.cdist(v, v).square())], dim=1) for v in views]
    torch.testing.assert_close(loss, -torch.stack(every).mean())


def test_unit_rows_need_no_normalisation(views: Tensor) -> None:
    z1, z2 = views[:2]
    for loss in (nt_xent_loss, info_nce_loss, dcl_loss, dclw_loss, hard_contrastive_loss, simple_contrastive_loss):
        torch.testing.assert_close(loss(z1, z2, normalize=False), loss(3 * z1, 5 * z2))
    torch.testing.assert_close(cacr_loss(views, normalize=False), cacr_loss(2 * views))


def test_a_learnable_temperature_gets_its_gradient() -> None:
    z1, z2 = random(2, N, DIM)
    bank_ = bank(z1)
    losses: list[Any] = [
        lambda t: nt_xent_loss(z1, z2, temperature=t),
        lambda t: info_nce_loss(z1, z2, temperature=t),
        lambda t: info_nce_loss(z1, z2, bank_, temperature=t),
        lambda t: dcl_loss(z1, z2, temperature=t),
        lambda t: dclw_loss(z1, z2, temperature=t),
        lambda t: sup_con_loss(z1, torch.arange(N) % 2, temperature=t),
        lambda t: hard_contrastive_loss(z1, z2, temperature=t, top_k=2),
    ]
    for loss in losses:
        temperature = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(loss, temperature)
