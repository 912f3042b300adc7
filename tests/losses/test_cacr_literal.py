"""CACR beside its formulas, written out view by view with the whole matrices and autograd."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dipole.losses import cacr_loss, cacr_momentum_loss, cacr_momentum_views_loss, cacr_queue_loss, info_nce_loss
from losses.table import DIM, assert_same, bank, random

T_POSITIVE, T_NEGATIVE, ALPHA, BETA, RBF = 1.3, 2.2, 0.7, 1.9, 1.5


@pytest.fixture
def views() -> Tensor:
    return random(3, 5, DIM, seed=8).requires_grad_()


def distances(x: Tensor, y: Tensor) -> Tensor:
    return (x[:, None] - y[None]).square().sum(dim=-1)


def constant(x: Tensor, if_so: bool) -> Tensor:
    return x.detach() if if_so else x


def literal(
    views: Tensor,
    *,
    t_positive: float = T_POSITIVE,
    t_negative: float = T_NEGATIVE,
    cost: str = "euclidean",
    symmetric: bool = False,
    detach_weights: bool = False,
    false_negatives: Tensor | None = None,
    debias: float | None = None,
) -> Tensor:
    z = F.normalize(views, dim=-1)
    count, n = z.shape[:2]
    attraction = []
    for x in range(count):
        d = torch.stack([distances(z[x], z[v]).diagonal() for v in range(count) if v != x])
        attraction.append((constant(torch.softmax(t_positive * d, dim=0), detach_weights) * d).sum(dim=0).mean())
    repulsion = []
    for x in range(count):
        for y in range(count):
            if x == y or (x > y and not symmetric):
                continue
            d, rows = distances(z[x], z[y]), []
            for i in range(n):
                left = [j for j in range(n) if j != i and not (false_negatives is not None and false_negatives[i, j])]
                if not left:
                    rows += [] if cost == "rbf" else [0 * d[i, i]]
                    continue
                weights = constant(torch.softmax(-t_negative * d[i, left], dim=0), detach_weights)
                if cost == "rbf":
                    rows.append((weights * torch.exp(-RBF * d[i, left])).sum())
                    continue
                value = -BETA * (weights * d[i, left]).sum()
                rows.append(value if debias is None else (value + debias * BETA * d[i, i]) / (1 - debias))
            mean = torch.stack(rows).mean()
            repulsion.append(BETA * mean.log() if cost == "rbf" else mean)
    return ALPHA * torch.stack(attraction).mean() + torch.stack(repulsion).mean()


def ours(views: Tensor, **options: Any) -> Tensor:
    settings = {"t_positive": T_POSITIVE, "t_negative": T_NEGATIVE, "alpha": ALPHA, "beta": BETA, "rbf_scale": RBF}
    return cacr_loss(views, **{**settings, **options})


@pytest.mark.parametrize("cost", ["euclidean", "rbf"])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("detach_weights", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_cacr(views: Tensor, cost: str, symmetric: bool, detach_weights: bool, masked: bool) -> None:
    false_negatives = None
    if masked:
        false_negatives = random(5, 5, seed=3) > 0.5
        false_negatives[2] = True  # nothing is left for this sample
    options: dict[str, Any] = {
        "cost": cost,
        "symmetric": symmetric,
        "detach_weights": detach_weights,
        "false_negatives": false_negatives,
    }
    assert_same(ours(views, **options), literal(views, **options), (views,))


@pytest.mark.parametrize(
    ("weighting", "t_positive", "t_negative"),
    [("none", 0, 0), ("uniform_positives", 0, T_NEGATIVE), ("uniform_negatives", T_POSITIVE, 0)],
)
def test_ablations(views: Tensor, weighting: Any, t_positive: float, t_negative: float) -> None:
    expected = literal(views, t_positive=t_positive, t_negative=t_negative)
    assert_same(ours(views, weighting=weighting), expected, (views,))


def test_debiased_repulsion(views: Tensor) -> None:
    assert_same(ours(views, debias=0.2), literal(views, debias=0.2), (views,))
    assert_same(ours(views, debias=0.0), ours(views), (views,))


@pytest.mark.parametrize("cost", ["euclidean", "rbf"])
def test_a_mask_of_all_pairs_leaves_the_attraction(views: Tensor, cost: Any) -> None:
    everything = torch.ones(5, 5, dtype=torch.bool)
    assert_same(ours(views, cost=cost, false_negatives=everything), ours(views, beta=0), (views,))


@pytest.mark.parametrize("cost", ["euclidean", "rbf"])
def test_a_single_sample_has_no_repulsion(cost: Any) -> None:
    views = random(2, 1, DIM).requires_grad_()
    assert_same(ours(views, cost=cost), ours(views, beta=0), (views,))
    assert ours(views, cost=cost, alpha=0) == 0


@pytest.mark.parametrize("intra_batch", [True, False])
@pytest.mark.parametrize("detach_weights", ["all", "queue"])
@pytest.mark.parametrize("queue_queries", ["own", "first_view"])
def test_queue_form(views: Tensor, intra_batch: bool, detach_weights: Any, queue_queries: Any) -> None:
    keys, queue = random(3, 5, DIM, seed=1).requires_grad_(), bank(views[0]).requires_grad_()
    q, k, m = F.normalize(views, dim=-1), F.normalize(keys, dim=-1).detach(), F.normalize(queue, dim=-1).detach()
    attraction, repulsion = [], []
    for x in range(3):
        d = torch.stack([(q[x] - k[v]).square().sum(dim=1) for v in range(3) if v != x])
        attraction.append((torch.softmax(T_POSITIVE * d, dim=0).detach() * d).sum(dim=0).mean())
        to_queue = distances(q[x] if queue_queries == "own" else q[0], m)
        logits = [-T_NEGATIVE * to_queue.detach()]
        parts = [to_queue]
        if intra_batch:
            inside = distances(q[x], q[x])[~torch.eye(5, dtype=torch.bool)].view(5, 4)
            parts.append(inside)
            logits.append(-T_NEGATIVE * constant(inside, detach_weights == "all"))
        weights = torch.softmax(torch.cat(logits, dim=1), dim=1)
        repulsion.append(-(weights * torch.cat(parts, dim=1)).sum(dim=1).mean())
    expected = ALPHA * torch.stack(attraction).mean() + BETA * torch.stack(repulsion).mean()
    settings: dict[str, Any] = {"t_positive": T_POSITIVE, "t_negative": T_NEGATIVE, "alpha": ALPHA, "beta": BETA}
    loss = cacr_queue_loss(
        views,
        keys,
        queue,
        **settings,
        intra_batch=intra_batch,
        detach_weights=detach_weights,
        queue_queries=queue_queries,
    )
    assert_same(loss, expected, (views, keys, queue))


def test_an_empty_queue_leaves_the_batch(views: Tensor) -> None:
    keys = views.detach()
    loss = cacr_queue_loss(views, keys, views.new_zeros(0, DIM), t_negative=T_NEGATIVE, alpha=0)
    z = F.normalize(views, dim=-1)
    expected = []
    for x in range(3):
        d = distances(z[x], z[x])[~torch.eye(5, dtype=torch.bool)].view(5, 4)
        expected.append(-(torch.softmax(-T_NEGATIVE * d, dim=1).detach() * d).sum(dim=1).mean())
    assert_same(loss, torch.stack(expected).mean(), (views,))


@pytest.mark.parametrize("cost", ["euclidean", "rbf"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_momentum_form(views: Tensor, cost: Any, reduction: Any) -> None:
    key, temperature = random(5, DIM, seed=2).requires_grad_(), 0.6
    q, k = F.normalize(views, dim=-1), F.normalize(key, dim=-1).detach()
    weights = torch.softmax(torch.stack([(x - k).square().sum(dim=1) for x in q]) / temperature, dim=0).detach()
    others = ~torch.eye(5, dtype=torch.bool)
    per_sample = []
    for x in q:
        if cost == "rbf":
            entropy = F.cross_entropy(x @ k.T / temperature, torch.arange(5), reduction="none")
            per_sample.append(2 * temperature * entropy)
        else:
            c = 1 - x @ k.T
            rest = c[others].view(5, 4)
            repulsion = (torch.softmax(-rest / temperature, dim=1).detach() * rest).sum(dim=1)
            per_sample.append(c.diagonal() - repulsion)
    weighted = (weights * torch.stack(per_sample)).sum(dim=0)
    expected = weighted.sum() if reduction == "sum" and cost == "euclidean" else weighted.mean()
    loss = cacr_momentum_loss(views, key, temperature=temperature, cost=cost, reduction=reduction)
    assert_same(loss, expected, (views, key))


def test_a_single_sample_has_no_repulsion_from_momentum_keys() -> None:
    queries, key = random(2, 1, DIM).requires_grad_(), random(1, DIM, seed=3)
    cosine = F.normalize(queries, dim=-1) @ F.normalize(key, dim=-1).T
    weights = torch.softmax(-2 * cosine.detach() / 0.6, dim=0)
    loss = cacr_momentum_loss(queries, key, temperature=0.6, cost="euclidean")
    assert_same(loss, (weights * (1 - cosine)).sum(), (queries,))


def test_one_positive_makes_the_momentum_form_info_nce(views: Tensor) -> None:
    pair, keys = views[:2], random(2, 5, DIM, seed=4)
    ours = cacr_momentum_views_loss(pair, keys, temperature=0.6)
    expected = info_nce_loss(pair[1], keys[0], temperature=0.6) + info_nce_loss(pair[0], keys[1], temperature=0.6)
    assert_same(ours, 2 * 0.6 * expected / 2, (views,))
