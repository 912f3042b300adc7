"""Experiments on time series, with little of everything."""

from pathlib import Path
from typing import Any

import pytest
import torch

from dipole.claims import Arm, Claim, Comparison, claims
from dipole.claims.runner import run_claim
from dipole.claims.series import ForecastData, before_test
from dipole.data.timeseries import load_series
from dipole.evaluation import ridge_forecast
from dipole.evaluation.long_series import horizons

SMALL: dict[str, Any] = {"hidden": 4, "depth": 2, "features": 8, "longest_kernel": 4}
DATA = ForecastData("toy-load", "load", 100)


@pytest.mark.slow
def test_an_experiment_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dipole.claims.series.TUNING_HORIZONS", (24, 48))
    claim = Claim(
        slug="toy",
        title="Toy",
        statement="It runs.",
        paper="None.",
        arms=(
            Arm("learned", "autotcl", DATA, 1, 4, (1e-3, 1e-2), SMALL),
            Arm("untrained", "autotcl", DATA, 0, 4, (1e-3,), SMALL),
        ),
        comparisons=(Comparison("MSE", "learned", "untrained", "mean MSE", expected="lower"),),
        seeds=(0, 1),
    )
    result = run_claim(claim, out=tmp_path, progress=False)
    learned, untrained = result["arms"]
    assert learned["samples"] == 900
    assert all("validation −MSE" in row for row in learned["tuning"])
    assert learned["runs"][0]["mean MSE"] != untrained["runs"][0]["mean MSE"]
    assert {"MSE 24", "MAE 168", "mean MAE"} <= set(untrained["runs"][1])
    assert set(result["references"]["toy-load, load"]["last value"]) == set(untrained["runs"][0]) - {"seed", "seconds"}


def test_tuning_does_not_see_the_test_part() -> None:
    task = load_series("toy-load").forecast
    assert task is not None
    tuned = before_test(task)
    assert tuned.test_end == task.validation_end
    assert tuned.values.shape[1] == task.validation_end
    assert (tuned.train_end, tuned.validation_end) == (720, 900)


def test_the_last_value_is_what_any_forecast_is_compared_with() -> None:
    data = DATA.load()
    arm = Arm("x", "autotcl", DATA, 1, 4, (1e-3,), SMALL)
    found = DATA.references(claims()["autotcl"], arm, data)["last value"]
    task = data.forecast
    assert task is not None
    train = task.values[:, : task.train_end, -1:]
    targets = (task.values[:, :, -1:] - train.mean()) / train.std(correction=0)
    naive = ridge_forecast(
        torch.zeros_like(targets), targets, 24, train_end=task.train_end, validation_end=task.validation_end
    )
    assert found["MSE 24"] == pytest.approx(naive.naive_mse, rel=1e-4)
    assert horizons(task) == (24, 48, 168)
