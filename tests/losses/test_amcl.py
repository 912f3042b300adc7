"""AMCL: what holds for any input."""

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

from dipole.errors import InputError
from dipole.losses import amcl, info_nce_loss, nt_xent_loss
from dipole.losses.amcl import amcl_barlow_loss, amcl_loss, amcl_queue_loss, temperature_regulariser
from dipole.losses.non_contrastive import barlow_twins_loss, cross_correlation, prediction_loss
from dipole.nn.pair_temperature import MultiHeadProjector, PairTemperature, by_head


def views(heads: int = 2, count: int = 5, dim: int = 4, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(2, heads, count, dim, generator=generator, dtype=torch.float64)
    return z[0], z[1]


@given(st.integers(1, 3), st.integers(2, 6), st.floats(0.1, 2.0), st.floats(0.0, 1.0))
def test_a_constant_temperature_gives_ordinary_losses(heads: int, count: int, tau: float, beta: float) -> None:
    z1, z2 = views(heads, count)
    constant = torch.full((heads, 2 * count, 2 * count), tau, dtype=torch.float64)
    expected = sum(nt_xent_loss(a, b, temperature=tau) for a, b in zip(z1, z2, strict=True))
    torch.testing.assert_close(amcl_loss(z1, z2, constant, beta=beta), expected)


def test_a_constant_temperature_against_a_queue() -> None:
    z1, z2 = views()
    queue = views(count=7, seed=1)[0]
    found = amcl_queue_loss(z1, z2, queue, lambda a, b: torch.full((2, a.shape[1], b.shape[1]), 0.3).double())
    expected = sum(info_nce_loss(q, k, n, temperature=0.3) for q, k, n in zip(z1, z2, queue, strict=True))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("mode", ["max", "logsumexp"])
@pytest.mark.parametrize("include_positive", [True, False])
def test_parts_and_the_whole_are_one(mode: str, include_positive: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    z1, z2 = (z.requires_grad_() for z in views())
    network = PairTemperature(4, 8).double()
    leaves = [z1, z2, *network.parameters()]

    def found() -> tuple[torch.Tensor, ...]:
        loss = amcl_loss(z1, z2, network, mode=mode, include_positive=include_positive)  # type: ignore[arg-type]
        return (loss, *torch.autograd.grad(loss, leaves))

    whole = found()
    monkeypatch.setattr(amcl, "PAIRS_AT_ONCE", 2 * 10 * 3)
    for part, expected in zip(found(), whole, strict=True):
        torch.testing.assert_close(part, expected)


def test_order_of_the_samples_and_length_of_the_rows_do_not_matter() -> None:
    z1, z2 = views()
    network = PairTemperature(4).double()
    order = torch.randperm(5)
    expected = amcl_loss(z1, z2, network)
    torch.testing.assert_close(amcl_loss(z1[:, order], z2[:, order], network), expected)
    torch.testing.assert_close(amcl_loss(3 * z1, 1e-3 * z2, network), expected)


@pytest.mark.parametrize("mode", ["max", "logsumexp"])
def test_gradients_are_finite_differences(mode: str) -> None:
    z1, z2 = (z.requires_grad_() for z in views())
    network = PairTemperature(4).double()
    assert torch.autograd.gradcheck(lambda a, b: amcl_loss(a, b, network, mode=mode), (z1, z2))  # type: ignore[arg-type]


def test_the_regulariser_is_least_where_the_temperature_is_the_variance() -> None:
    similarity, dim = 0.4, 6
    tau = torch.linspace(0.01, 1, 20_000, dtype=torch.float64)
    best = tau[(temperature_regulariser(tau, dim) - similarity / tau).argmin()]
    assert float(best) == pytest.approx(2 * (1 - similarity) / dim, abs=1e-4)


def test_barlow_with_temperature_one_is_barlow_twins() -> None:
    z1, z2 = views()
    expected = sum(barlow_twins_loss(a, b, unbiased=True) for a, b in zip(z1, z2, strict=True))
    torch.testing.assert_close(amcl_barlow_loss(z1, z2, torch.ones(2, 4, 4).double(), beta=0.0), expected)


def test_constant_features_have_no_correlation() -> None:
    z = torch.tensor([[1.0, 2.0], [1.0, 3.0]])
    assert cross_correlation(z, z).tolist() == [[0, 0], [0, pytest.approx(1)]]


@pytest.mark.usefixtures("unchecked")
def test_mistakes() -> None:
    z1, z2 = views()
    for call, message in (
        (lambda: amcl_loss(z1, z2, torch.ones(2, 3, 3).double()), r"expected \(2, 10, 10\)"),
        (lambda: amcl_loss(z1[0], z2[0], torch.ones(2, 10, 10).double()), "one for each of C heads"),
        (lambda: amcl_loss(z1[:, :1], z2[:, :1], torch.ones(2, 2, 2).double()), "has no negatives"),
        (lambda: amcl_loss(z1, z2, -torch.ones(2, 10, 10).double()), "temperatures must be above 0"),
        (lambda: amcl_loss(z1, z2, torch.ones(2, 10, 10).double(), beta=math.nan), "beta"),
        (lambda: prediction_loss(z1[0], z2[0, :2]), "predictions"),
        (lambda: PairTemperature(4, lower=0.0), "0 < lower < upper"),
        (lambda: MultiHeadProjector(4, 4, heads=0), "heads"),
    ):
        with pytest.raises(InputError, match=message):
            call()


def test_heads_stand_side_by_side() -> None:
    projector = MultiHeadProjector(4, 3, heads=2)
    features = torch.randn(5, 4)
    torch.testing.assert_close(by_head(projector(features), 2)[1], projector.heads[1](features))
