"""A method of time series through all verbs."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from dipole.data.timeseries import load_series
from dipole.errors import InputError
from dipole.evaluation.long_series import embed_set, horizons, past
from dipole.runs import Run, RunConfig, load, train
from dipole.runs.domains.timeseries import DOMAIN
from dipole.runs.embed import embed_to_parquet
from dipole.runs.evaluate import evaluate
from dipole.runs.look import report

SMALL = {"hidden": 4, "depth": 2, "features": 8, "longest_kernel": 4, "segments": 4}
AUGMENTER = {"augmenter_hidden": 4, "augmenter_features": 3, "augmenter_depth": 1}


def settings(name: str = "autotcl", data: str = "toy-patterns", **changes: Any) -> RunConfig:
    method = SMALL | (AUGMENTER if name == "autotcl" else {}) | changes.pop("method", {})
    options = {"batch_size": 40, "epochs": 3, "precision": "32-true"} | changes
    return RunConfig(name, data=data, method=method, **options)


def trained(path: Path, **changes: Any) -> Run:
    return train(settings(**changes), path, progress=False)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    folder = tmp_path_factory.mktemp("runs")
    long = {"data": "toy-load", "loading": {"window": 100}, "batch_size": 4, "epochs": 1}
    return {"patterns": trained(folder / "patterns"), "load": trained(folder / "load", **long)}


def test_a_run_knows_its_channels_and_the_scale_of_its_data(runs: dict[str, Run]) -> None:
    method = load(runs["load"].path)
    values = load_series("toy-load").train.values[0]
    assert runs["load"].settings().method["channels"] == 9
    torch.testing.assert_close(method.get_buffer("mean"), values.mean(dim=0), rtol=1e-4, atol=1e-4)
    assert float(method.get_buffer("deviation")[0]) == 1  # the minute of an hourly series is constant
    description = json.loads((runs["load"].model / "dipole.json").read_text())
    columns = description["loading"].pop("columns")
    assert columns[-2:] == ["load", "temperature"]
    own = {"target": None, "known": None, "covariates": True, "window": 100, "series": None, "encoding": "utf-8"}
    assert description["loading"] == own


@pytest.mark.parametrize("name", ["autotcl", "series-contrast"])
def test_same_seed_same_bits_and_a_resumed_run_is_an_uninterrupted_one(name: str, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"name": name, "loading": {"window": 40}, "method": {"schedule": "cosine"}}
    whole, again = trained(tmp_path / "whole", **changes), trained(tmp_path / "again", **changes)
    stopped = tmp_path / "stopped"

    class StopError(Exception):
        pass

    from dipole.runs import saving

    save = saving.LastCheckpoint.on_train_epoch_end

    def stop(self: Any, trainer: Any, *rest: Any) -> None:
        save(self, trainer, *rest)
        if trainer.current_epoch == 1:
            raise StopError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saving.LastCheckpoint, "on_train_epoch_end", stop)
        with pytest.raises(StopError):
            trained(stopped, **changes)
    resumed = train(settings(**changes), stopped, resume=True, progress=False)
    for other in (again, resumed):
        for name in ("model.safetensors", "dipole.json"):
            assert (other.model / name).read_bytes() == (whole.model / name).read_bytes()
        assert other.metrics.read_bytes() == whole.metrics.read_bytes()
    different = trained(tmp_path / "other", **changes, seed=1)
    assert (different.model / "model.safetensors").read_bytes() != (whole.model / "model.safetensors").read_bytes()


def test_the_losses_of_both_networks_are_logged(runs: dict[str, Run]) -> None:
    with runs["patterns"].metrics.open() as file:
        *_, last = csv.DictReader(file)
    assert {"loss", "global", "local", "augmentation_loss", "augmentation_mmd", "learning_rate"} <= set(last)
    assert all(np.isfinite(float(value)) for value in last.values())


def test_series_are_classified(runs: dict[str, Run]) -> None:
    result = evaluate(runs["patterns"].path)
    assert result.protocols == ("accuracy",)
    assert [row["encoder"] for row in result.rows] == ["trained", "untrained", "MiniRocket", "raw values"]
    assert all(0 <= row["accuracy"] <= 1 for row in result.rows)
    with pytest.raises(InputError, match=r"toy-patterns: there is nothing .* choose 'classification'"):
        evaluate(runs["patterns"].path, protocols=["forecast"])


def test_a_long_series_is_forecast(runs: dict[str, Run]) -> None:
    result = evaluate(runs["load"].path)
    assert result.protocols[:2] == ("MSE 24", "MAE 24")
    simple = ["last value", "ridge on raw window", "seasonal naive"]
    assert [row["encoder"] for row in result.rows] == ["trained", "untrained", *simple]
    trained_row, _, naive, *_ = result.rows
    assert trained_row["MSE 24"] < naive["MSE 24"]
    assert naive["mean MSE"] == pytest.approx(sum(naive[f"MSE {h}"] for h in (24, 48, 168)) / 3)
    assert result.settings["targets"] == ["load", "temperature"]
    with pytest.raises(InputError, match=r"toy-load: there is nothing .* choose 'forecast'"):
        evaluate(runs["load"].path, protocols=["classification"])


def test_data_without_classes_cannot_be_classified(runs: dict[str, Run], tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((20, 30, 1)))
    with pytest.raises(InputError, match="no labels of two or more classes"):
        evaluate(runs["patterns"].path, data=str(tmp_path / "x.npy"))


def test_data_of_other_columns_do_not_fit(runs: dict[str, Run]) -> None:
    with pytest.raises(InputError, match="do not fit a model of 1 channels"):
        evaluate(runs["patterns"].path, data="toy-load")


def test_series_are_embedded(runs: dict[str, Run], tmp_path: Path) -> None:
    result = embed_to_parquet(runs["patterns"].path, "toy-patterns", tmp_path / "e.parquet", batch_size=50)
    table = pq.read_table(result.path)
    assert table.column_names == ["id", "vector", "split", "label"]
    assert (result.rows, result.dimensions) == (240, 8)
    method: Any = load(runs["patterns"].path)
    expected = embed_set(method, load_series("toy-patterns").train)
    torch.testing.assert_close(torch.tensor(table["vector"].to_pylist()[:120]), expected)
    assert set(table["label"].to_pylist()) == {"slow wave", "fast wave", "step"}


def test_steps_are_embedded_by_their_past(runs: dict[str, Run], tmp_path: Path) -> None:
    result = embed_to_parquet(runs["load"].path, "toy-load", tmp_path / "e.parquet", batch_size=128)
    table = pq.read_table(result.path)
    assert table["id"][25].as_py() == "2020-01-02T01:00:00"
    method: Any = load(runs["load"].path)
    task = load_series("toy-load").forecast
    assert task is not None
    with torch.inference_mode():
        expected = method.represent_causally(task.values, padding=past(task))[0]
    torch.testing.assert_close(torch.tensor(table["vector"].to_pylist()), expected, rtol=1e-4, atol=1e-5)


def test_a_table_that_was_out_of_order_is_told_of(runs: dict[str, Run], tmp_path: Path) -> None:
    table = load_series("toy-load")
    assert table.forecast is not None
    times = table.forecast.times
    assert times is not None
    rows = [f"{times[step]},{step},1" for step in range(299, -1, -1)]
    (tmp_path / "x.csv").write_text("date,load,temperature\n" + "\n".join(rows))
    result = embed_to_parquet(runs["load"].path, str(tmp_path / "x.csv"), tmp_path / "e.parquet")
    assert result.skipped == (("x", "rows were not in the order of time: sorted"),)
    assert pq.read_table(result.path)["id"][0].as_py() == str(times[0])


def test_a_report_shows_forecasts_beside_what_came(runs: dict[str, Run]) -> None:
    page = report(runs["load"].path).read_text()
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert [len(forecast["times"]) for forecast in data["forecasts"]] == [24, 48, 24, 48]
    assert {forecast["title"].partition(":")[0] for forecast in data["forecasts"]} == {"load", "temperature"}
    first = data["forecasts"][0]
    task = load_series("toy-load").forecast
    assert task is not None
    values = (task.values[0, :, -1] - task.values[0, : task.train_end, -1].mean()) / task.values[
        0, : task.train_end, -1
    ].std(correction=0)
    assert task.times is not None
    at = task.times.astype(str).tolist().index(first["times"][0])
    assert first["actual"] == pytest.approx(values[at : at + 24].tolist(), abs=1e-3)
    assert first["past"][-1] == pytest.approx(float(values[at - 1]), abs=1e-3)
    assert "Forecasts beside what came" in page


def test_a_report_of_many_series_shows_their_classes(runs: dict[str, Run]) -> None:
    page = report(runs["patterns"].path).read_text()
    assert "fast wave" in page
    assert "toy-patterns#3" in page
    assert "neighbours share the label of the sample" in page
    assert "Forecasts beside what came" not in page


def test_horizons_fit_into_the_parts(tmp_path: Path) -> None:
    task = load_series("toy-load").forecast
    assert task is not None
    assert horizons(task) == (24, 48, 168)
    assert past(task) == 200
    (tmp_path / "short.csv").write_text("x\n" + "\n".join(map(str, range(60))))
    short = load_series(str(tmp_path / "short.csv")).forecast
    assert short is not None
    assert (past(short), horizons(short)) == (9, (3,))
    times = np.datetime64("2020-01-01", "s") + np.arange(2000) * np.timedelta64(15, "m")
    (tmp_path / "quarter.csv").write_text("date,x\n" + "\n".join(f"{time},{i}" for i, time in enumerate(times)))
    quarter = load_series(str(tmp_path / "quarter.csv")).forecast
    assert quarter is not None
    assert horizons(quarter) == (24, 48, 96, 288)


def test_a_constant_series_with_gaps_goes_all_the_way(tmp_path: Path) -> None:
    rows = ["x", *("" if step % 50 == 7 else "3.5" for step in range(600))]
    (tmp_path / "flat.csv").write_text("\n".join(f"{row},0" for row in rows).replace("x,0", "x,y"))
    run = train(settings(data=str(tmp_path / "flat.csv"), epochs=1), tmp_path / "run", progress=False)
    rows_found = evaluate(run.path).rows
    assert all(np.isfinite(value) for row in rows_found for value in row.values() if not isinstance(value, str))


def test_what_a_method_that_steps_itself_cannot_have(tmp_path: Path) -> None:
    for option, value in (("accumulate_grad_batches", 2), ("gradient_clip_val", 1.0)):
        with pytest.raises(InputError, match=f"several optimiser steps on a batch: leave out --trainer.{option}"):
            trained(tmp_path / "run", trainer={option: value})
    assert not (tmp_path / "run").exists()


def test_loading_has_no_other_options(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="loading has no argument 'windw'"):
        trained(tmp_path / "run", loading={"windw": 3})
    assert "window" in DOMAIN.loading_defaults()
