"""Wrong input is refused with a message that says what came, what was expected and what to do."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from dipole.errors import InputError
from dipole.losses import (
    arbitrary_pair_loss,
    cacr_loss,
    cacr_momentum_loss,
    cacr_momentum_views_loss,
    cacr_queue_loss,
    contrastive_loss_from_similarities,
    dcl_loss,
    dcl_neighbour_loss,
    dcl_queue_loss,
    dclw_loss,
    hard_contrastive_loss,
    hardest_negatives,
    info_nce_loss,
    npc_multiplier,
    nt_xent_loss,
    simple_contrastive_loss,
    simple_loss_from_similarities,
    sup_con_loss,
    vmf_negative_weights,
)
from losses.table import DIM, LOSSES, bank, random

PAIRS: list[Callable[..., Tensor]] = [
    nt_xent_loss,
    info_nce_loss,
    dcl_loss,
    dclw_loss,
    dcl_neighbour_loss,
    hard_contrastive_loss,
    npc_multiplier,
]


def with_temperature(temperature: Any) -> list[Callable[[], Tensor]]:
    z, views = random(5, DIM), random(2, 5, DIM)
    return [
        *(lambda loss=loss: loss(z, z, temperature=temperature) for loss in PAIRS),  # type: ignore[misc]
        lambda: dcl_queue_loss(z, z, z, temperature=temperature),
        lambda: sup_con_loss(z, torch.zeros(5, dtype=torch.long), temperature=temperature),
        lambda: arbitrary_pair_loss(z, z, None, torch.arange(5), torch.arange(5), temperature=temperature),
        lambda: cacr_momentum_views_loss(views, views, temperature=temperature),
    ]


@pytest.mark.parametrize("temperature", [0.0, -0.1, math.nan, math.inf])
def test_temperatures_that_are_not_positive(temperature: float) -> None:
    for loss in with_temperature(temperature):
        with pytest.raises(InputError, match=r"temperature is .*expected a number above 0"):
            loss()


def test_temperatures_that_a_parameter_reached() -> None:
    for loss in with_temperature(torch.tensor(-0.1))[:-1]:
        with pytest.raises(InputError, match=r"temperature is -0\.1"):
            loss()


@pytest.mark.parametrize("name", LOSSES)
def test_values_that_are_not_finite(name: str) -> None:
    z1, z2 = random(2, 5, DIM)
    for bad in (math.nan, math.inf, -math.inf):
        z2[3, 1] = bad
        with pytest.raises(InputError, match="contains NaN or infinite values"):
            LOSSES[name](z1, z2)


def test_banks_that_are_not_finite() -> None:
    z, views, broken = random(5, DIM), random(2, 5, DIM), torch.full((3, DIM), math.nan, dtype=torch.float64)
    for loss, name in (
        (lambda: info_nce_loss(z, z, broken), "negatives"),
        (lambda: hard_contrastive_loss(z, z, broken), "negatives"),
        (lambda: dcl_queue_loss(z, z, broken), "queue"),
        (lambda: cacr_queue_loss(views, views, broken), "queue"),
    ):
        with pytest.raises(InputError, match=f"{name} contains NaN"):
            loss()


@pytest.mark.parametrize("loss", [*PAIRS, simple_contrastive_loss])
def test_a_batch_of_one_has_no_negatives(loss: Callable[..., Tensor]) -> None:
    z = random(1, DIM)
    with pytest.raises(InputError, match="a batch of 1 sample has no negatives: use a batch of 2 or more"):
        loss(z, z)


def test_a_row_of_one_class_has_nothing_to_contrast() -> None:
    with pytest.raises(InputError, match="a batch of 1 sample"):
        sup_con_loss(random(1, DIM), torch.zeros(1, dtype=torch.long))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("loss", [*PAIRS, simple_contrastive_loss, vmf_negative_weights])
@pytest.mark.parametrize(
    ("shape1", "shape2", "message"),
    [
        ((5, DIM), (4, DIM), "row i of each must belong to the same sample"),
        ((5, DIM), (5, DIM + 1), "has width 5 and the embeddings before it 4"),
        ((5,), (5,), r"expected embeddings of shape \(N, D\)"),
        ((2, 5, DIM), (2, 5, DIM), r"expected embeddings of shape \(N, D\)"),
        ((0, DIM), (0, DIM), "at least one row"),
    ],
)
def test_shapes_of_pairs(loss: Any, shape1: Any, shape2: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        loss(random(*shape1), random(*shape2))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("loss", [*PAIRS, simple_contrastive_loss])
def test_integers_are_no_embeddings(loss: Any) -> None:
    z = torch.ones(5, DIM, dtype=torch.long)
    with pytest.raises(InputError, match=r"type torch\.int64: expected floating point"):
        loss(z, z)


Z, VIEWS = random(5, DIM), random(2, 5, DIM)
NARROW = random(5, DIM - 1)
MASK = torch.zeros(5, 5, dtype=torch.bool)
OTHER_SHAPES: list[tuple[Callable[[], Any], str]] = [
    (lambda: info_nce_loss(Z, Z, NARROW), "negatives has width 3 and the embeddings before it 4"),
    (lambda: hard_contrastive_loss(Z, Z, NARROW), "negatives has width 3"),
    (lambda: dcl_queue_loss(Z, Z, NARROW), "queue has width 3"),
    (lambda: sup_con_loss(Z, torch.zeros(4, dtype=torch.long)), "expected one label for each of 5 rows"),
    (lambda: sup_con_loss(Z, torch.zeros(5, 2, dtype=torch.long)), "expected one label for each of 5 rows"),
    (lambda: cacr_loss(Z), r"views has shape \(5, 4\): expected \(V, N, D\)"),
    (lambda: cacr_loss(VIEWS[:1]), "2 or more views are needed"),
    (lambda: cacr_loss(VIEWS, false_negatives=MASK[:, :1]), r"false_negatives is torch.bool \(5, 1\): expected a bool"),
    (lambda: cacr_loss(VIEWS, false_negatives=MASK[:4, :4]), r"false_negatives is torch.bool \(4, 4\)"),
    (lambda: cacr_loss(VIEWS, false_negatives=MASK.float()), r"false_negatives is torch.float32"),
    (lambda: cacr_queue_loss(VIEWS, random(3, 5, DIM), Z), "encode the same views"),
    (lambda: cacr_queue_loss(VIEWS, VIEWS, NARROW), r"has width 3"),
    (lambda: cacr_queue_loss(VIEWS[:1], VIEWS[:1], Z), "2 or more views are needed"),
    (lambda: cacr_momentum_loss(VIEWS, random(4, DIM)), "encode the same samples"),
    (lambda: cacr_momentum_views_loss(VIEWS, random(3, 5, DIM)), "3 keys came for 2 views"),
    (lambda: cacr_momentum_views_loss(VIEWS, VIEWS[:0]), "0 keys came for 2 views: give the keys of one or more"),
    (lambda: contrastive_loss_from_similarities(Z[:, 0], Z[:4], temperature=1.0), r"\(5,\) and .*\(4, 4\)"),
    (lambda: contrastive_loss_from_similarities(Z, Z, temperature=1.0), r"expected \(N,\) and \(N, M\)"),
    (lambda: simple_loss_from_similarities(Z[:, 0], Z[:, 1]), r"expected \(N,\) and \(N, M\)"),
]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("loss", "message"), OTHER_SHAPES)
def test_other_shapes(loss: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        loss()


OPTIONS: list[tuple[Callable[[], Any], str]] = [
    (lambda: nt_xent_loss(Z, Z, reduction="average"), "reduction is 'average': expected"),  # type: ignore[arg-type]
    (lambda: sup_con_loss(Z, torch.zeros(5).long(), reduction="max"), "reduction is 'max'"),  # type: ignore[arg-type]
    (lambda: dcl_loss(Z, Z, reduction="sum_of_all"), "reduction is 'sum_of_all'"),  # type: ignore[arg-type]
    (lambda: dclw_loss(Z, Z, sigma=0.0), "sigma is 0.0: expected a number above 0"),
    (lambda: vmf_negative_weights(Z, Z, sigma=-1.0), "sigma is -1.0"),
    (lambda: hard_contrastive_loss(Z, Z, top_k=2, alpha=0.5), "give exactly one of them"),
    (lambda: hardest_negatives(Z), "give exactly one of them"),
    (lambda: hardest_negatives(Z[:, :0], top_k=1), "there are no negatives to choose from"),
    (lambda: hard_contrastive_loss(Z, Z, top_k=0), "top_k is 0: expected a number of at least 1"),
    (lambda: hard_contrastive_loss(Z, Z, alpha=0.0), "alpha is 0.0: expected a share"),
    (lambda: hard_contrastive_loss(Z, Z, alpha=1.1), "alpha is 1.1: expected a share"),
    (lambda: cacr_loss(VIEWS, t_positive=-1.0), "t_positive is -1.0: expected a number of at least 0"),
    (lambda: cacr_loss(VIEWS, t_negative=math.nan), "t_negative is nan"),
    (lambda: cacr_loss(VIEWS, cost="l1"), "cost is 'l1': expected one of 'euclidean', 'rbf'"),  # type: ignore[arg-type]
    (lambda: cacr_loss(VIEWS, weighting="ful"), "weighting is 'ful': expected one of 'full'"),  # type: ignore[arg-type]
    (lambda: cacr_loss(VIEWS, debias=0.1, debias_sign="plus"), "debias_sign is 'plus'"),  # type: ignore[arg-type]
    (lambda: cacr_loss(VIEWS, cost="rbf", rbf_scale=-1.0), "rbf_scale is -1.0"),
    (lambda: cacr_loss(VIEWS, debias=1.0), "debias is 1.0: expected a share from 0 to below 1"),
    (lambda: cacr_loss(VIEWS, debias=-0.1), "debias is -0.1"),
    (lambda: cacr_loss(VIEWS, debias=0.1, cost="rbf"), 'debias needs weighting="full" and cost="euclidean"'),
    (lambda: cacr_loss(VIEWS, debias=0.1, weighting="none"), "debias needs"),
    (lambda: cacr_loss(VIEWS, gather=True, false_negatives=MASK), "false_negatives covers the local batch only"),
    (lambda: cacr_queue_loss(VIEWS, VIEWS, Z, t_negative=-1.0), "t_negative is -1.0"),
    (lambda: cacr_queue_loss(VIEWS, VIEWS, Z[:0], intra_batch=False), "there is no negative: the queue is empty"),
    (lambda: cacr_queue_loss(VIEWS[:, :1], VIEWS[:, :1], Z[:0]), "there is no negative"),
    (lambda: cacr_queue_loss(VIEWS, VIEWS, Z, detach_weights="batch"), "detach_weights is 'batch'"),  # type: ignore[arg-type]
    (lambda: cacr_queue_loss(VIEWS, VIEWS, Z, queue_queries="all"), "queue_queries is 'all'"),  # type: ignore[arg-type]
    (lambda: cacr_momentum_views_loss(VIEWS, VIEWS, cost="l1"), "cost is 'l1'"),  # type: ignore[arg-type]
    (lambda: cacr_momentum_views_loss(VIEWS, VIEWS, reduction="none"), "reduction is 'none'"),  # type: ignore[arg-type]
]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("loss", "message"), OPTIONS)
def test_options(loss: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        loss()


def test_a_queue_serves_a_batch_of_one() -> None:
    z = random(1, DIM)
    assert info_nce_loss(z, z, bank(z)).isfinite()
    assert dcl_queue_loss(z, z, bank(z)).isfinite()
    assert hard_contrastive_loss(z, z, bank(z), top_k=2).isfinite()
