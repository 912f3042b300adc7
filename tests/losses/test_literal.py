"""The losses beside their formulas, written out with loops or with the whole matrix and autograd."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dipole.losses import (
    dcl_loss,
    dcl_neighbour_loss,
    dcl_queue_loss,
    dclw_loss,
    hard_contrastive_loss,
    info_nce_loss,
    npc_multiplier,
    npc_queue_multiplier,
    nt_xent_loss,
    simple_contrastive_loss,
    sup_con_loss,
    vmf_negative_weights,
)
from losses.table import DIM, assert_same, bank, random

T = 0.3
unit = F.normalize


@pytest.fixture
def views() -> tuple[Tensor, Tensor]:
    z1, z2 = random(2, 6, DIM, seed=5)
    return z1.requires_grad_(), z2.requires_grad_()


def similarity_of_both(z1: Tensor, z2: Tensor) -> Tensor:
    z = unit(torch.cat([z1, z2]), dim=1)
    return z @ z.T


@pytest.mark.parametrize("temperature", [0.002, 0.3, 20.0])
def test_nt_xent_is_a_cross_entropy(views: tuple[Tensor, Tensor], temperature: float) -> None:
    n = len(views[0])
    logits = similarity_of_both(*views) / temperature
    logits = logits.masked_fill(torch.eye(2 * n, dtype=torch.bool), -math.inf)
    expected = F.cross_entropy(logits, torch.arange(2 * n).roll(n), reduction="none")
    assert_same(nt_xent_loss(*views, temperature=temperature, reduction="none"), expected, views)


def test_info_nce_is_a_cross_entropy(views: tuple[Tensor, Tensor]) -> None:
    queries, keys = views
    logits = unit(queries, dim=1) @ unit(keys, dim=1).T / T
    expected = F.cross_entropy(logits, torch.arange(len(keys)), reduction="none")
    assert_same(info_nce_loss(queries, keys, temperature=T, reduction="none"), expected, views)


def test_info_nce_with_a_bank_is_a_cross_entropy(views: tuple[Tensor, Tensor]) -> None:
    queries, keys = views
    negatives = bank(queries).requires_grad_()
    q, k = unit(queries, dim=1), unit(keys, dim=1)
    logits = torch.cat([(q * k).sum(dim=1, keepdim=True), q @ unit(negatives, dim=1).T], dim=1) / T
    expected = F.cross_entropy(logits, torch.zeros(len(q), dtype=torch.long), reduction="none")
    ours = info_nce_loss(queries, keys, negatives, temperature=T, reduction="none")
    assert_same(ours, expected, (*views, negatives))


def test_sup_con_is_its_loop(views: tuple[Tensor, Tensor]) -> None:
    z, labels = torch.cat(views), torch.tensor([0, 0, 1, 2, 1, 0, 3, 0, 1, 4, 4, 4])
    s = unit(z, dim=1) @ unit(z, dim=1).T / T
    expected = []
    for i in range(len(z)):
        others = [j for j in range(len(z)) if j != i]
        positives = [j for j in others if labels[j] == labels[i]]
        denominator = torch.stack([s[i, j] for j in others]).logsumexp(0)
        terms = [denominator - s[i, j] for j in positives]
        expected.append(torch.stack(terms).mean() if terms else 0.0 * denominator)
    assert expected[3] == expected[6] == 0  # the only ones of their class
    assert_same(sup_con_loss(z, labels, temperature=T, reduction="none"), torch.stack(expected), views)


def test_sup_con_of_two_views_without_labels_is_nt_xent(views: tuple[Tensor, Tensor]) -> None:
    labels = torch.arange(len(views[0])).repeat(2)
    ours = sup_con_loss(torch.cat(views), labels, temperature=T, reduction="none")
    assert_same(ours, nt_xent_loss(*views, temperature=T, reduction="none"), views)


def dcl_by_loops(z1: Tensor, z2: Tensor, weight: Tensor) -> Tensor:
    n = len(z1)
    s = similarity_of_both(z1, z2) / T
    values = []
    for anchor in range(2 * n):
        negatives = [s[anchor, j] for j in range(2 * n) if j % n != anchor % n]
        values.append(torch.stack(negatives).logsumexp(0) - weight[anchor % n] * s[anchor, (anchor + n) % (2 * n)])
    return torch.stack(values)


def test_dcl_is_its_loop(views: tuple[Tensor, Tensor]) -> None:
    ones = torch.ones(len(views[0]), dtype=torch.float64)
    assert_same(dcl_loss(*views, temperature=T, reduction="none"), dcl_by_loops(*views, ones), views)


@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize("sigma", [0.5, 0.003])
def test_dclw_is_its_loop(views: tuple[Tensor, Tensor], detach: bool, sigma: float) -> None:
    positive = (unit(views[0], dim=1) * unit(views[1], dim=1)).sum(dim=1) / sigma
    weight = 2 - len(positive) * torch.softmax(positive, dim=0)
    ours = dclw_loss(*views, temperature=T, sigma=sigma, detach_weight=detach, reduction="none")
    assert_same(ours, dcl_by_loops(*views, weight.detach() if detach else weight), views)


def test_queue_and_neighbour_forms_of_dcl(views: tuple[Tensor, Tensor]) -> None:
    queries, keys = views
    negatives = bank(queries).requires_grad_()
    q, k = unit(queries, dim=1), unit(keys, dim=1)
    expected = (q @ unit(negatives.detach(), dim=1).T / T).logsumexp(dim=1) - (q * k.detach()).sum(dim=1) / T
    ours = dcl_queue_loss(queries, keys, negatives, temperature=T, reduction="none")
    assert_same(ours, expected, (*views, negatives))
    others = (q.detach() @ k.T / T).masked_fill(torch.eye(len(q), dtype=torch.bool), -math.inf)
    expected = others.logsumexp(dim=1) - (q.detach() * k).sum(dim=1) / T
    assert_same(dcl_neighbour_loss(queries, keys, temperature=T, reduction="none"), expected, views)


def gradient_rows(values: Tensor, leaves: tuple[Tensor, ...]) -> Tensor:
    """Gradient of every value: (values, entries of all leaves)."""
    rows = [torch.autograd.grad(value, leaves, retain_graph=True, allow_unused=True) for value in values]
    return torch.stack([torch.cat([g.flatten() for g in row if g is not None]) for row in rows])


def test_the_gradient_of_nt_xent_is_that_of_dcl_times_the_multiplier(views: tuple[Tensor, Tensor]) -> None:
    multiplier = npc_multiplier(*views, temperature=T).flatten()
    assert (multiplier > 0).all()
    assert (multiplier < 1).all()
    coupled = gradient_rows(nt_xent_loss(*views, temperature=T, reduction="none"), views)
    decoupled = gradient_rows(dcl_loss(*views, temperature=T, reduction="none"), views)
    torch.testing.assert_close(coupled / multiplier.detach()[:, None], decoupled)


def test_the_same_with_a_queue(views: tuple[Tensor, Tensor]) -> None:
    queries, keys = views[0], views[1].detach()
    multiplier = npc_queue_multiplier(queries, keys, bank(queries), temperature=T)
    coupled = info_nce_loss(queries, keys, bank(queries), temperature=T, reduction="none")
    decoupled = dcl_queue_loss(queries, keys, bank(queries), temperature=T, reduction="none")
    torch.testing.assert_close(
        gradient_rows(coupled, (queries,)), multiplier.detach()[:, None] * gradient_rows(decoupled, (queries,))
    )


@pytest.mark.parametrize("sigma", [1e-4, 0.05, 0.5, 100.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_of_dclw_have_the_mean_one(sigma: float, dtype: torch.dtype) -> None:
    z1, z2 = unit(random(2, 50, DIM), dim=-1).to(dtype)
    weights = vmf_negative_weights(z1, z2, sigma=sigma)
    torch.testing.assert_close(weights.mean(), torch.ones((), dtype=dtype))
    similarity = (z1 * z2).sum(dim=1)
    assert weights[similarity.argmax()] == weights.min()
    assert (weights[similarity < similarity.median()] > weights[similarity.argmax()]).all()


@pytest.mark.parametrize("kept", [{}, {"top_k": 1}, {"top_k": 3}, {"alpha": 0.5}, {"alpha": 1.0}])
@pytest.mark.parametrize("with_bank", [False, True])
def test_hard_losses_are_their_loops(views: tuple[Tensor, Tensor], kept: dict[str, Any], with_bank: bool) -> None:
    queries, positives = views
    negatives = bank(queries).requires_grad_() if with_bank else None
    leaves = views if negatives is None else (*views, negatives)
    q, p = unit(queries, dim=1), unit(positives, dim=1)
    contrastive, simple = [], []
    for i in range(len(q)):
        if negatives is None:
            rest = [q[i] @ p[j] for j in range(len(q)) if j != i]
        else:
            rest = list(unit(negatives, dim=1) @ q[i])
        count = kept.get("top_k") or math.ceil(kept.get("alpha", 1) * len(rest))
        hardest = torch.stack(sorted(rest, reverse=True)[:count])
        own = q[i] @ p[i]
        contrastive.append(torch.cat([own[None], hardest]).div(T).logsumexp(0) - own / T)
        simple.append(-own + 0.2 * hardest.sum())
    options: dict[str, Any] = {**kept, "reduction": "none"}
    ours = hard_contrastive_loss(queries, positives, negatives, temperature=T, **options)
    assert_same(ours, torch.stack(contrastive), leaves)
    ours = simple_contrastive_loss(queries, positives, negatives, negative_weight=0.2, **options)
    assert_same(ours, torch.stack(simple), leaves)
