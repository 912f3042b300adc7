"""CWCL: contrast weighted by the similarities of a frozen tower."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dipole.errors import InputError
from dipole.losses import clip_loss, continuous_weights, cwcl_loss, info_nce_loss, weighted_contrastive_loss
from losses.table import DIM, assert_same, random

SEEDS = st.integers(0, 2**32)
U, V = random(2, 5, DIM)
FEATURES = random(5, 7, seed=4)


def soft(queries: Tensor, keys: Tensor, weights: Tensor, scale: Any) -> Tensor:
    """The weighted cross entropy with the whole matrix."""
    logits = scale * F.normalize(queries, dim=1) @ F.normalize(keys, dim=1).T
    return -(weights / weights.sum(dim=1, keepdim=True) * logits.log_softmax(dim=1)).sum(dim=1)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, rows=st.integers(2, 8), width=st.integers(1, 6), scale=st.floats(0.1, 1000))
def test_by_definition(seed: int, rows: int, width: int, scale: float) -> None:
    leaves = [z.requires_grad_() for z in random(2, rows, DIM, seed=seed)]
    features = random(rows, width, seed=seed + 1)
    weights = continuous_weights(features)
    temperature = torch.tensor(1 / scale, dtype=torch.float64, requires_grad=True)
    options: dict[str, Any] = {"temperature": temperature, "reduction": "none"}
    expected = soft(*leaves, weights, 1 / temperature)
    for source in ({"weight_embeddings": features}, {"weights": weights}):
        assert_same(weighted_contrastive_loss(*leaves, **source, **options), expected, (*leaves, temperature))
    u, v = leaves
    eye = torch.eye(rows, dtype=torch.float64)
    forward, backward = soft(v, u, weights, 1 / temperature), soft(u, v, weights, 1 / temperature)
    plain_forward, plain_backward = soft(v, u, eye, 1 / temperature), soft(u, v, eye, 1 / temperature)
    for weighted, total in (
        ("frozen_to_trainable", forward + plain_backward),
        ("trainable_to_frozen", plain_forward + backward),
        ("both", forward + backward),
    ):
        for source in ({"weight_embeddings": features}, {"weights": weights}):
            ours = cwcl_loss(u, v, weighted=weighted, **source, **options)  # type: ignore[arg-type]
            assert_same(ours, total, (u, v, temperature))


def test_the_frozen_tower_weighs_by_itself_without_a_gradient_through_the_weights() -> None:
    u, v = (z.clone().requires_grad_() for z in (U, V))
    ours, expected = cwcl_loss(u, v), cwcl_loss(u, v, weights=continuous_weights(V))
    assert_same(ours[None], expected[None], (u, v))
    features = FEATURES.clone().requires_grad_()
    loss = cwcl_loss(u, v, weight_embeddings=features)
    assert torch.autograd.grad(loss, features, allow_unused=True) == (None,)


def test_weights_of_one_sample_each_are_clip() -> None:
    eye = torch.eye(5, dtype=torch.float64)
    torch.testing.assert_close(weighted_contrastive_loss(U, V, weights=eye), info_nce_loss(U, V, temperature=0.07))
    for weighted in ("frozen_to_trainable", "both"):
        options: dict[str, Any] = {"weights": eye, "weighted": weighted}
        torch.testing.assert_close(cwcl_loss(U, V, **options), 2 * clip_loss(U, V))
        torch.testing.assert_close(cwcl_loss(U, V, directions="mean", **options), clip_loss(U, V))


def test_weights_of_one_class_are_supervised_contrast() -> None:
    labels = torch.tensor([0, 0, 1, 1, 1])
    weights = (labels[:, None] == labels).double()
    log_probability = (F.normalize(U, dim=1) @ F.normalize(V, dim=1).T / 0.1).log_softmax(dim=1)
    expected = torch.stack([-log_probability[i, labels == labels[i]].mean() for i in range(5)])
    ours = weighted_contrastive_loss(U, V, weights=weights, temperature=0.1, reduction="none")
    torch.testing.assert_close(ours, expected)


def test_equal_frozen_rows_share_the_target() -> None:
    """All v alike: every weight is 1, and the target uniform."""
    same = V[:1].expand(5, -1)
    torch.testing.assert_close(continuous_weights(same), torch.ones(5, 5, dtype=torch.float64))
    expected = soft(V, U, torch.ones(5, 5, dtype=torch.float64), 1 / 0.07).mean()
    torch.testing.assert_close(weighted_contrastive_loss(V, U, weight_embeddings=same), expected)


def test_weights_of_opposite_and_of_zero_rows() -> None:
    weights = continuous_weights(torch.tensor([[1.0, 0.0], [-2.0, 0.0], [0.0, 0.0]]))
    assert torch.equal(weights, torch.tensor([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.5, 0.5, 1.0]]))
    features = FEATURES.clone()
    features[2] = 0
    torch.testing.assert_close(
        weighted_contrastive_loss(U, V, weight_embeddings=features, reduction="none"),
        weighted_contrastive_loss(U, V, weights=continuous_weights(features), reduction="none"),
    )


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, rows=st.integers(1, 8), width=st.integers(1, 5))
def test_weights_are_symmetric_shares(seed: int, rows: int, width: int) -> None:
    weights = continuous_weights(random(rows, width, seed=seed))
    assert ((weights >= 0) & (weights <= 1)).all()
    assert torch.equal(weights.diagonal(), torch.ones(rows, dtype=torch.float64))
    torch.testing.assert_close(weights, weights.T)


def test_a_high_temperature_only_counts_candidates() -> None:
    assert float(cwcl_loss(U, V, temperature=1e9)) == pytest.approx(2 * math.log(5), abs=1e-7)


def test_the_size_of_weights_does_not_matter() -> None:
    weights = random(5, 5, seed=8).exp()
    factor = random(5, 1, seed=9).exp()
    torch.testing.assert_close(cwcl_loss(U, V, weights=factor * weights), cwcl_loss(U, V, weights=weights))


@pytest.mark.usefixtures("unchecked")
def test_input_that_is_refused() -> None:
    eye = torch.eye(5, dtype=torch.float64)
    empty, negative, infinite = (eye.clone() for _ in range(3))
    empty[1, 1], negative[0, 1], infinite[0, 1] = 0, -0.1, math.inf
    wrong: list[tuple[Any, str]] = [
        (lambda: cwcl_loss(U, V[:4]), "row i of each must belong to the same sample"),
        (lambda: cwcl_loss(U[:1], V[:1]), "a batch of 1 sample has no negatives"),
        (lambda: cwcl_loss(U, V, temperature=0.0), "temperature is 0.0"),
        (lambda: cwcl_loss(U, V, weighted="none"), "weighted is 'none'"),  # type: ignore[arg-type]
        (lambda: cwcl_loss(U, V, directions="max"), "directions is 'max'"),  # type: ignore[arg-type]
        (lambda: cwcl_loss(U, V, weights=eye, weight_embeddings=FEATURES), "exactly one of them"),
        (lambda: weighted_contrastive_loss(U, V), "exactly one of them"),
        (lambda: weighted_contrastive_loss(U[:1], V[:1], weights=eye[:1, :1]), "a batch of 1 sample"),
        (lambda: weighted_contrastive_loss(U, V, weight_embeddings=FEATURES[:4]), "4 weight embeddings came for 5"),
        (lambda: weighted_contrastive_loss(U, V, weight_embeddings=FEATURES / 0), "weight_embeddings contains NaN"),
        (lambda: weighted_contrastive_loss(U, V, weights=eye[:4]), r"shape \(4, 5\): expected \(5, 5\)"),
        (lambda: weighted_contrastive_loss(U, V, weights=empty), "a row of zeros"),
        (lambda: weighted_contrastive_loss(U, V, weights=negative), "a negative or infinite entry"),
        (lambda: weighted_contrastive_loss(U, V, weights=infinite), "a negative or infinite entry"),
        (lambda: cwcl_loss(U, V, reduction="max"), "reduction is 'max'"),  # type: ignore[arg-type]
        (lambda: continuous_weights(V[0]), r"expected embeddings of shape \(N, D\)"),
    ]
    for call, message in wrong:
        with pytest.raises(InputError, match=message):
            call()
