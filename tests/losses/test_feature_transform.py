import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from dipole.errors import InputError
from dipole.losses import (
    TransformDraws,
    draw_transform,
    extrapolate_positives,
    feature_transform_loss,
    info_nce_loss,
    interpolate_negatives,
    sample_mixing_coefficients,
    transform_features,
)


def unit(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, 5, generator=generator, dtype=torch.float64), dim=1)


@settings(max_examples=40, deadline=None)
@given(coefficient=st.floats(1, 2), seed=st.integers(0, 1000))
def test_extrapolation_never_raises_the_score(coefficient: float, seed: int) -> None:
    q, k = unit(4, seed), unit(4, seed + 1)
    queries, keys = extrapolate_positives(q, k, coefficient)
    score = (q * k).sum(dim=1)
    mixed = (queries * keys).sum(dim=1)
    assert (mixed <= score + 1e-12).all()
    assert (mixed >= -9 - 1e-12).all()
    torch.testing.assert_close(mixed, 2 * coefficient * (1 - coefficient) * (1 - score) + score)
    same = extrapolate_positives(q, q, coefficient)
    torch.testing.assert_close(same[0], q)


def test_interpolation_leaves_a_single_negative_and_the_mean() -> None:
    bank = unit(9, 0)
    mixed = interpolate_negatives(bank, 0.3, torch.randperm(9, generator=torch.Generator().manual_seed(1)))
    torch.testing.assert_close(mixed.mean(dim=0), bank.mean(dim=0))
    assert mixed.norm(dim=1).max() <= 1
    torch.testing.assert_close(interpolate_negatives(bank[:1], 0.3, torch.tensor([0])), bank[:1])


def test_without_draws_of_a_side_the_side_stays() -> None:
    q, k, bank = unit(4, 0), unit(4, 1), unit(7, 2)
    plain = feature_transform_loss(q, k, bank, draws=TransformDraws(None, None, None))
    torch.testing.assert_close(plain, info_nce_loss(q, k, bank, temperature=0.2))
    ones = TransformDraws(1.0, 1.0, torch.arange(7).flip(0))
    torch.testing.assert_close(feature_transform_loss(q, k, bank, draws=ones), plain)


def test_the_query_inside_the_key_takes_part_in_the_gradient() -> None:
    q, k, bank, draws = unit(4, 0).requires_grad_(), unit(4, 1), unit(7, 2), TransformDraws(1.5, None, None)
    loss = feature_transform_loss(q, k, bank, draws=draws, normalize=False)
    seen = transform_features(q, k, bank, draws, normalize=False)
    detached = info_nce_loss(seen.queries, seen.keys.detach(), bank, temperature=0.2, normalize=False)
    ours, wrong = (torch.autograd.grad(value, q)[0] for value in (loss, detached))
    assert (ours - wrong).norm() > 0.1 * ours.norm()


@pytest.mark.parametrize(
    ("target", "granularity", "shapes"),
    [
        ("posneg", "scalar", ((), ())),
        ("posneg", "dimension", ((4, 5), (7, 5))),
        ("posneg", "pos", ((4, 5), ())),
        ("posneg", "neg", ((), (7, 5))),
        ("pos", "dimension", ((4, 5), None)),
        ("neg", "dimension", (None, (7, 5))),
    ],
)
def test_draws_have_the_granularity_that_was_asked_for(target: str, granularity: str, shapes: tuple) -> None:
    options = {"target": target, "granularity": granularity}
    draws = draw_transform(4, 7, 5, **options, generator=torch.Generator().manual_seed(0))
    found = tuple(None if part is None else tuple(part.shape) for part in draws[:2])
    assert found == shapes
    assert (draws.permutation is None) == (shapes[1] is None)
    if isinstance(draws.extrapolation, torch.Tensor):
        assert draws.extrapolation.min() > 1
        assert draws.extrapolation.max() < 2
    q, k, bank = unit(4, 0), unit(4, 1), unit(7, 2)
    for post_norm in (False, True):
        drawn = [
            feature_transform_loss(
                q, k, bank, post_norm=post_norm, generator=torch.Generator().manual_seed(seed), **options
            )
            for seed in (0, 0, 1)
        ]
        assert drawn[0] == drawn[1] != drawn[2]
        given_draws = feature_transform_loss(q, k, bank, post_norm=post_norm, draws=draws)
        torch.testing.assert_close(given_draws, drawn[0])


def test_coefficients_follow_a_beta_distribution() -> None:
    drawn = sample_mixing_coefficients(2.0, (20_000,), offset=1.0, generator=torch.Generator().manual_seed(0))
    assert drawn.dtype == torch.float32
    assert float(drawn.mean()) == pytest.approx(1.5, abs=0.01)
    assert float(drawn.var()) == pytest.approx(1 / 20, rel=0.05)  # 1 / (4 (2 α + 1))


def test_only_queries_and_keys_are_normalised_afterwards() -> None:
    draws = TransformDraws(1.7, 0.5, torch.arange(7).flip(0))
    seen = transform_features(unit(4, 0), unit(4, 1), unit(7, 2), draws, post_norm=True)
    for part in seen[:2]:
        torch.testing.assert_close(part.norm(dim=1), torch.ones(4, dtype=torch.float64))
    assert seen.negatives.norm(dim=1).min() < 0.99


@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_transformed_is_refused() -> None:
    q, bank = unit(4, 0), unit(7, 2)
    with pytest.raises(InputError, match="target is 'both'"):
        feature_transform_loss(q, q, bank, target="both")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="granularity is 'row'"):
        feature_transform_loss(q, q, bank, granularity="row")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="alpha is 0"):
        feature_transform_loss(q, q, bank, pos_alpha=0.0)
    with pytest.raises(InputError, match="temperature is 0"):
        feature_transform_loss(q, q, bank, temperature=0.0)
    with pytest.raises(InputError, match="shapes differ"):
        feature_transform_loss(q, bank, bank)
    with pytest.raises(InputError, match=r"permutation has shape \(3,\): expected \(7,\)"):
        interpolate_negatives(bank, 0.5, torch.arange(3))
