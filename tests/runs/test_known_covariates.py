"""Columns whose values to come are known: trained with, evaluated with, and given to a forecast."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from dipole.cli import main
from dipole.data.timeseries import load_series
from dipole.errors import InputError
from dipole.evaluation import ridge_forecast
from dipole.evaluation.future import forecast_future
from dipole.runs import Run, RunConfig, train

SMALL = {"hidden": 8, "depth": 3, "features": 16, "longest_kernel": 4}
PRICES = np.random.default_rng(0).integers(0, 2, 320)
KNOWN = torch.from_numpy(PRICES).float()[None, :, None]


def table(path: Path, known: int = 12, gap: int | None = None) -> Path:
    """Three hundred days of sales, four more at a low price, and the prices of some days after."""
    lines = ["date,sales,price"]
    for step in range(300 + known):
        day = np.datetime64("2024-01-01") + step
        sales = f"{10 + 4 * PRICES[step]}" if step < 300 else ""
        lines.append(f"{day},{sales},{'' if step == gap else PRICES[step]}")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("known")
    loading = {"known": "price", "window": 64}
    data = str(table(folder / "sales.csv"))
    config = RunConfig(
        "series-contrast", data, epochs=1, batch_size=4, precision="32-true", method=SMALL, loading=loading
    )
    return train(config, folder / "run", progress=False)


def test_known_columns_are_covariates_and_not_forecast(run: Run) -> None:
    task = load_series(run.settings().data, known="price").forecast
    assert task is not None
    assert task.targets == ("sales",)
    assert task.known_columns == ("price",)
    assert run.settings().loading["known_columns"] == ["price"]


def test_a_forecast_sees_the_prices_to_come(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "f.csv"
    assert main(["forecast", str(run.path), run.settings().data, "--steps", "8", "--out", str(out)]) == 0
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert {row["column"] for row in rows} == {"sales"}
    assert rows[0]["time"] == "2024-10-27T00:00:00", "the day after the last of which sales are known"
    values = [float(row["forecast"]) for row in rows]
    np.testing.assert_allclose(values, 10 + 4 * PRICES[300:308], atol=0.5)
    assert main(["evaluate", str(run.path)]) == 0
    found = json.loads((run.path / "evaluation.json").read_text())["rows"]
    errors = {row["encoder"]: row["mean MSE"] for row in found}
    for name in ("trained", "ridge on raw window"):
        assert errors[name] < 0.05 < 0.5 < errors["last value"], "prices say all of the sales"


def test_what_a_forecast_with_known_columns_refuses(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*arguments: str) -> str:
        assert main(list(arguments)) == 2
        return " ".join(capsys.readouterr().err.split())

    data = run.settings().data
    assert "says of 12 steps after its last value" in told("forecast", str(run.path), data, "--steps", "13")
    gap = str(table(tmp_path / "gap.csv", gap=305))
    assert "'price' is known ahead, and 1 of its values are missing" in told("forecast", str(run.path), gap)
    other = ("--loading.known", "sales")
    assert "trained with price known ahead" in told("forecast", str(run.path), data, *other)
    assert "trained with price known ahead" in told("embed", str(run.path), data, *other, "--out", str(tmp_path / "e"))


def test_what_cannot_be_known(tmp_path: Path) -> None:
    data = str(table(tmp_path / "sales.csv"))
    with pytest.raises(InputError, match="no column 'prize': choose from price"):
        load_series(data, known="prize")
    with pytest.raises(InputError, match="all columns of sales are known ahead"):
        load_series(data, known="price,sales", covariates=False)
    with pytest.raises(InputError, match="'price' is to be forecast and known ahead"):
        load_series(data, known="price", target="price")
    with pytest.raises(InputError, match="names a column twice"):
        load_series(data, known="price,price")
    with pytest.raises(InputError, match="holds many series"):
        load_series("toy-patterns", known="price")


def test_ridge_regression_takes_what_is_known_of_each_step_to_come() -> None:
    targets = torch.cat([3 * KNOWN, 1 - KNOWN], dim=2)
    blind = torch.ones(1, 320, 1)
    found = ridge_forecast(blind, targets, 3, train_end=200, validation_end=260, skip=0, known=KNOWN, alphas=[1e-6])
    torch.testing.assert_close(found.predicted, found.actual, atol=1e-4, rtol=0)
    assert ridge_forecast(blind, targets, 3, train_end=200, validation_end=260, skip=0).mse > 0.5
    future = forecast_future(blind[:, :300], targets[:, :300], 5, known=KNOWN[:, :305])
    torch.testing.assert_close(future.mean, targets[:, 300:305].double(), atol=1e-4, rtol=0)
    with pytest.raises(InputError, match=r"known has shape \(1, 300, 1\): expected 1 series of 305 steps"):
        forecast_future(blind[:, :300], targets[:, :300], 5, known=KNOWN[:, :300])
    with pytest.raises(InputError, match="known contains NaN"):
        ridge_forecast(blind, targets, 3, train_end=200, validation_end=260, skip=0, known=KNOWN / 0)
