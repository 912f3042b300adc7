"""The contrast of nodes: the loss of the authors' code term by term, limits, shares of the nodes."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dipole.errors import InputError
from dipole.losses import node_contrast, nt_xent_loss, team_up_gamma, team_up_loss
from losses.table import DIM, assert_same, random


def literal(z1: Tensor, z2: Tensor, strength: Tensor, gamma: float, temperature: float) -> Tensor:
    """Both terms of the bonus, as the authors write it."""

    def half(a: Tensor, b: Tensor) -> Tensor:
        bonus = gamma * (strength + strength[:, None])
        within, between = (torch.exp((a @ other.T + bonus) / temperature) for other in (a, b))
        return -torch.log(between.diag() / (within.sum(1) + between.sum(1) - within.diag()))

    z1, z2 = F.normalize(z1), F.normalize(z2)
    return (half(z1, z2) + half(z2, z1)) / 2


@pytest.mark.parametrize("gamma", [0.0, 0.3, 5.0])
def test_it_is_what_the_authors_write(gamma: float) -> None:
    z1, z2 = (z.requires_grad_() for z in random(2, 9, DIM))
    strength = random(9, seed=1)
    ours = team_up_loss(z1, z2, strength, gamma=gamma, temperature=0.3, reduction="none")
    assert_same(ours, literal(z1, z2, strength, gamma, 0.3), (z1, z2))


def test_without_strengths_it_is_nt_xent() -> None:
    z1, z2 = random(2, 9, DIM)
    torch.testing.assert_close(team_up_loss(z1, z2, temperature=0.3), nt_xent_loss(z1, z2, temperature=0.3))


def test_equal_strengths_cancel() -> None:
    z1, z2 = random(2, 9, DIM)
    equal = torch.full((9,), 0.7, dtype=torch.float64)
    torch.testing.assert_close(team_up_loss(z1, z2, equal, gamma=3.0), team_up_loss(z1, z2))


def test_anchors_are_rows_of_the_whole() -> None:
    z1, z2 = (z.requires_grad_() for z in random(2, 9, DIM))
    strength, anchors = random(9, seed=1), torch.tensor([7, 0, 3])
    whole = team_up_loss(z1, z2, strength, reduction="none")
    assert_same(team_up_loss(z1, z2, strength, anchors=anchors, reduction="none"), whole[anchors], (z1, z2))


def test_the_mean_over_all_shares_is_the_mean_over_all_nodes() -> None:
    z1, z2 = (z.requires_grad_() for z in random(2, 8, DIM))
    parts = [team_up_loss(z1, z2, anchors=share) for share in torch.randperm(8).split(2)]
    assert_same(torch.stack(parts).mean(), team_up_loss(z1, z2), (z1, z2))


def test_one_node_has_nothing_to_lose() -> None:
    z = random(1, DIM).requires_grad_()
    loss = team_up_loss(z, z.flip(1), torch.ones(1), gamma=2.0)
    assert float(loss.detach()) == pytest.approx(0.0, abs=1e-12)
    (gradient,) = torch.autograd.grad(loss, z)
    torch.testing.assert_close(gradient, torch.zeros_like(z))


def test_a_huge_bonus_does_not_overflow() -> None:
    z1, z2 = random(2, 9, DIM).float()
    assert team_up_loss(z1, z2, torch.linspace(0, 1, 9), gamma=1000.0, temperature=0.05).isfinite()


def test_gamma_rises_between_its_limits() -> None:
    values = [team_up_gamma(epoch, start=10, maximum=0.5, ramp=20) for epoch in range(40)]
    assert values == sorted(values)
    assert values[:11] == [0.0] * 11
    assert values[15] == 0.25
    assert values[20:] == [0.5] * 20


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"anchors": torch.tensor([9])},
            "anchors are no nodes of this graph: expected one or more numbers from 0 to 8",
        ),
        ({"anchors": torch.tensor([-1])}, "anchors are no nodes"),
        ({"anchors": torch.tensor([], dtype=torch.long)}, "anchors are no nodes"),
        ({"bonus": torch.ones(8)}, r"bonus has shape \(8,\): expected one number for each of 9 nodes"),
        ({"bonus": torch.full((9,), math.nan)}, "bonus contains NaN"),
        ({"temperature": 0.0}, "temperature is 0.0"),
    ],
)
def test_mistakes(options: dict[str, object], message: str) -> None:
    z1, z2 = random(2, 9, DIM)
    with pytest.raises(InputError, match=message):
        node_contrast(z1, z2, **options)  # type: ignore[arg-type]


def test_a_negative_gamma_is_refused() -> None:
    with pytest.raises(InputError, match="gamma is -1"):
        team_up_loss(*random(2, 9, DIM), gamma=-1.0)
