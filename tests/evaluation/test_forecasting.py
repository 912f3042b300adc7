"""Forecasts by ridge regression."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from dipole.errors import InputError
from dipole.evaluation import forecasting
from dipole.evaluation.forecasting import ridge_forecast

PARTS: dict[str, Any] = {"train_end": 60, "validation_end": 80, "skip": 5}
TARGETS = torch.randn(2, 100, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def told() -> torch.Tensor:
    """Representations that hold the next two values."""
    return torch.cat([TARGETS.roll(-1, 1), TARGETS.roll(-2, 1)], dim=2)


def test_what_a_representation_tells_is_forecast() -> None:
    forecast = ridge_forecast(told(), TARGETS, 2, **PARTS, alphas=[1e-9, 100.0])
    assert forecast.alpha == 1e-9
    assert forecast.mse < 1e-9
    assert forecast.predicted.shape == (2 * 18, 2, 3)
    torch.testing.assert_close(forecast.actual[0], TARGETS[0, 81:83])
    torch.testing.assert_close(forecast.actual[-1], TARGETS[1, 98:100])
    beyond = ridge_forecast(told(), TARGETS, 3, **PARTS).predicted - ridge_forecast(told(), TARGETS, 3, **PARTS).actual
    assert float(beyond[:, 2].square().mean()) > 0.5 > float(beyond[:, :2].square().mean())


def test_the_test_part_is_not_looked_at_before() -> None:
    changed = TARGETS.clone()
    changed[:, 80:] = 0
    first = ridge_forecast(told(), TARGETS, 2, **PARTS)
    second = ridge_forecast(told(), changed, 2, **PARTS)
    assert first.alpha == second.alpha
    assert torch.equal(first.predicted, second.predicted)


def test_the_naive_forecast_repeats_the_last_value() -> None:
    forecast = ridge_forecast(told(), TARGETS, 2, **PARTS)
    error = TARGETS[:, 80:98, None] - torch.stack([TARGETS[:, 81:99], TARGETS[:, 82:100]], dim=2)
    assert forecast.naive_mse == pytest.approx(float(error.square().mean()))
    assert forecast.naive_mae == pytest.approx(float(error.abs().mean()))


def test_forecasts_that_meet_a_gap_are_left_out() -> None:
    gaps = TARGETS.clone()
    gaps[0, 90, 1] = torch.nan
    gaps[1, 10] = torch.nan
    forecast = ridge_forecast(told().nan_to_num(), gaps, 2, **PARTS)
    assert len(forecast.actual) == 2 * 18 - 2
    assert np.isfinite([forecast.mse, forecast.mae, forecast.naive_mse, forecast.naive_mae]).all()


def test_large_parts_are_thinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecasting, "MOST_ROWS", 40)
    first, second = (ridge_forecast(told(), TARGETS, 2, **PARTS) for _ in range(2))
    assert torch.equal(first.predicted, second.predicted)
    assert first.mse < 0.1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ridge_forecast(told(), TARGETS, 0, **PARTS), "horizon is 0"),
        (lambda: ridge_forecast(told(), TARGETS, 20, **PARTS), "the validation part has 20 steps: too few for a hor"),
        (lambda: ridge_forecast(told(), TARGETS, 2, **{**PARTS, "skip": 58}), "60 steps without its first 58: too few"),
        (lambda: ridge_forecast(told()[:, :90], TARGETS, 2, **PARTS), "the same series and steps"),
        (lambda: ridge_forecast(told(), TARGETS, 2, **PARTS, alphas=[]), r"alphas is \[\]"),
        (lambda: ridge_forecast(told() / 0, TARGETS, 2, **PARTS), "contain NaN or infinite"),
        (lambda: ridge_forecast(told(), TARGETS * torch.nan, 2, **PARTS), "no 2 steps in a row without a gap"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_wrong_input(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
