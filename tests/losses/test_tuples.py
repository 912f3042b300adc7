"""Tuples, masks and distillation against loops, in their limits, and refused."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dipole.errors import InputError
from dipole.losses import (
    curved_loss,
    domain_router_loss,
    false_negative_mask,
    hard_negatives_info_nce_loss,
    info_nce_loss,
    load_balancing_loss,
    margin_contrastive_loss,
    masked_contrast_loss,
    mnr_plus_loss,
    score_distillation_loss,
    tuple_info_nce_loss,
)
from losses.table import random

N, K, D = 5, 3, 4
Q, P = random(2, N, D)
H = random(N, K, D, seed=3)


def literal(valid: torch.Tensor, exclude: torch.Tensor, scope: str, temperature: float) -> torch.Tensor:
    """The formula, written out."""
    cosine = torch.nn.functional.cosine_similarity
    losses = []
    for i in range(N):
        own = math.exp(float(cosine(Q[i], P[i], dim=0)) / temperature)
        total = own
        for j in range(N):
            if j != i and scope != "own" and not exclude[i, j]:
                total += math.exp(float(cosine(Q[i], P[j], dim=0)) / temperature)
            for m in range(K):
                if valid[j, m] and not exclude[i, N + j * K + m] and (j == i or scope == "batch"):
                    total += math.exp(float(cosine(Q[i], H[j, m], dim=0)) / temperature)
        losses.append(math.log(total / own))
    return torch.tensor(losses, dtype=torch.float64)


@pytest.mark.parametrize("scope", ["batch", "own_negatives", "own"])
@given(seed=st.integers(0, 1000))
def test_every_scope_is_its_formula(scope: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    valid = torch.rand(N, K, generator=generator) > 0.3
    exclude = torch.rand(N, N + N * K, generator=generator) > 0.6
    if scope == "own" and not bool(valid.any()):
        return
    exclude[:, :N][torch.eye(N, dtype=torch.bool)] = True  # one's own positive always counts
    found = tuple_info_nce_loss(
        Q,
        P,
        H,
        valid=valid,
        exclude=exclude,
        scope=scope,
        temperature=0.3,
        reduction="none",  # type: ignore[arg-type]
    )
    torch.testing.assert_close(found, literal(valid, exclude, scope, 0.3))


def test_limits() -> None:
    none = H[:, :0]
    torch.testing.assert_close(tuple_info_nce_loss(Q, P, none), info_nce_loss(Q, P, temperature=0.05))
    flat = hard_negatives_info_nce_loss(Q, P, H.flatten(0, 1), temperature=0.3)
    torch.testing.assert_close(tuple_info_nce_loss(Q, P, H, temperature=0.3), flat)
    everything = torch.ones(N, N + N * K, dtype=torch.bool)
    assert tuple_info_nce_loss(Q, P, H, exclude=everything).abs() < 1e-12
    torch.testing.assert_close(tuple_info_nce_loss(7 * Q, P / 3, 2 * H), tuple_info_nce_loss(Q, P, H))


def test_masks() -> None:
    rows = torch.cat([P, H[:, 0]])
    own = torch.arange(N)
    assert not false_negative_mask(Q, rows, threshold=1.0).any()
    everything = false_negative_mask(Q, rows, threshold=-1.1, positives=own)
    assert int((~everything).sum()) == N
    assert masked_contrast_loss(Q, P, H[:, 0], everything).abs() < 1e-12
    nothing = torch.zeros(N, 2 * N, dtype=torch.bool)
    plain = tuple_info_nce_loss(Q, P, H[:, :1], temperature=0.2)
    for form in ("info_nce", "zeroed"):
        torch.testing.assert_close(masked_contrast_loss(Q, P, H[:, 0], nothing, form=form, temperature=0.2), plain)  # type: ignore[arg-type]


def test_what_the_authors_compute_is_finite_where_theirs_is_not() -> None:
    z = torch.eye(3).requires_grad_()
    marked = torch.zeros(3, 6, dtype=torch.bool)
    for negatives in (torch.eye(3).roll(1, 0), torch.eye(3)):
        loss = masked_contrast_loss(z, z.detach(), negatives, marked, form="official_bce", temperature=1e-3)
        (gradient,) = torch.autograd.grad(loss, z)
        assert loss.isfinite()
        assert gradient.isfinite().all()


def test_distillation_is_zero_where_both_agree_and_never_below() -> None:
    scores = torch.nn.functional.cosine_similarity(Q[:, None], P[None], dim=2)
    assert score_distillation_loss(Q, P, scores).abs() < 1e-9
    assert score_distillation_loss(Q, P, -scores) > 0


def test_routers_and_turns() -> None:
    even = torch.zeros(2, 4, 4)
    torch.testing.assert_close(domain_router_loss(even, torch.arange(4)), torch.tensor(math.log(4)))
    one = torch.full((1, 6, 3), -50.0)
    one[..., 0] = 50
    torch.testing.assert_close(load_balancing_loss(one), torch.tensor(3.0))
    assert curved_loss(Q, Q, torch.ones(N).double()).abs() < 1e-12
    assert margin_contrastive_loss(Q, -Q, torch.zeros(N).double()).abs() < 1e-12
    torch.testing.assert_close(
        mnr_plus_loss(5 * torch.eye(4), 5 * torch.eye(4)), info_nce_loss(torch.eye(4), torch.eye(4), temperature=1 / 25)
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tuple_info_nce_loss(Q, P, H[:3]), r"negatives are \(3, 3, 4\): expected \(5, K, 4\)"),
        (lambda: tuple_info_nce_loss(Q, P, H, valid=torch.ones(5, 2) > 0), "valid is bool"),
        (lambda: tuple_info_nce_loss(Q, P, H, exclude=torch.zeros(5, 5) > 0), r"expected bool \(5, 20\)"),
        (lambda: tuple_info_nce_loss(Q, P, H, scope="all"), "scope is 'all'"),  # type: ignore[arg-type]
        (lambda: tuple_info_nce_loss(Q[:1], P[:1], H[:1, :0]), "no negatives"),
        (lambda: tuple_info_nce_loss(Q, P, H[:, :0], scope="own"), "no negatives"),
        (lambda: masked_contrast_loss(Q, P, H[:, 0], torch.zeros(5, 5) > 0), "exclude is"),
        (lambda: false_negative_mask(Q, P, positives=torch.tensor([0, 1, 2, 3, 9])), "positives are"),
        (lambda: domain_router_loss(torch.zeros(1, 2, 3), torch.tensor([0, 3])), "from 0 to 2"),
        (lambda: load_balancing_loss(torch.zeros(2, 3)), "layers, texts, experts"),
        (lambda: curved_loss(Q, P, torch.ones(3)), r"labels have shape \(3,\)"),
        (lambda: score_distillation_loss(Q, P, torch.zeros(2, 2)), "teacher_scores are"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_wrong_input(call: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()  # type: ignore[operator]
