"""Panels, forecasts beyond the end, aeon's layout and pictures of series."""

import csv
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from dipole import ContrastiveTransformer
from dipole.cli import main
from dipole.data.timeseries import load_series, toy_load
from dipole.errors import InputError
from dipole.evaluation.future import forecast_future
from dipole.report.curves import draw_curves
from dipole.runs import Run, RunConfig, train
from dipole.runs.forecast import forecast

SMALL = {"hidden": 8, "depth": 3, "features": 16, "longest_kernel": 4}
SHOPS = ("north", "south")


def panel(path: Path, steps: int = 400) -> Path:
    """Rows of two shops, mixed; the south lacks one day."""
    days = np.datetime64("2024-01-01") + np.arange(steps)
    rows = []
    for step, day in enumerate(days):
        for place, shop in enumerate(SHOPS):
            if (place, step) != (1, 5):
                value = 10 * (1 + place) + np.sin(2 * np.pi * step / 7)
                rows.append(f"{shop},{day},{value:.4f},{step % 7}")
    np.random.default_rng(0).shuffle(rows)
    path.write_text("shop,date,sales,weekday\n" + "\n".join(rows) + "\n")
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("panel")
    data = str(panel(folder / "sales.csv"))
    loading = {"series": "shop", "window": 64}
    config = RunConfig(
        "series-contrast", data, epochs=1, batch_size=4, precision="32-true", method=SMALL, loading=loading
    )
    return train(config, folder / "run", progress=False)


def test_a_panel_is_several_series_over_the_same_times(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    data = run.settings().data
    found = load_series(data, series="shop", covariates=False)
    assert found.forecast is not None
    assert found.forecast.values.shape == (2, 400, 2)
    assert set(found.train.ids) == set(SHOPS)
    assert int(found.forecast.values.isnan().sum()) == 2
    assert found.notes == ("1 times of a series have no row: gaps",)
    south = found.train.ids.index("south")
    assert float(found.forecast.values[south, 0, 0]) == pytest.approx(20)
    assert main(["data", data]) == 2
    assert "say so with --loading.series shop" in capsys.readouterr().err
    assert main(["data", data, "--loading.series", "shop"]) == 0


def test_forecasts_of_a_panel(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "f.csv"
    assert main(["forecast", str(run.path), run.settings().data, "--steps", "7", "--out", str(out)]) == 0
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 7 * 2
    assert rows[0]["time"] == "2025-02-04T00:00:00", "the day after the last"
    for row in rows:
        assert float(row["low"]) <= float(row["high"])
        if row["column"] == "sales":
            assert abs(float(row["forecast"]) - 10 * (1 + SHOPS.index(row["series"]))) < 6
    assert main(["forecast", str(run.path), run.settings().data, "--steps", "3"]) == 0
    assert "95 % interval" in capsys.readouterr().out
    assert main(["forecast", str(run.path), run.settings().data, "--out", str(tmp_path / "f.xls")]) == 2
    parquet = str(tmp_path / "e.parquet")
    assert main(["embed", str(run.path), run.settings().data, "--out", parquet]) == 0
    assert "south 2024-01-06T00:00:00" in pq.read_table(parquet)["id"].to_pylist()
    assert main(["evaluate", str(run.path)]) == 0
    assert main(["report", str(run.path)]) == 0


def test_a_forecast_repeats_what_is_regular() -> None:
    steps = torch.arange(300.0)
    wave = torch.stack([torch.sin(steps * 0.3), torch.cos(steps * 0.3)], dim=1)[None]
    found = forecast_future(wave, wave[:, :, :1], 12)
    expected = torch.sin(torch.arange(300.0, 312.0) * 0.3).double()
    torch.testing.assert_close(found.mean[0, :, 0], expected, atol=1e-3, rtol=0)
    assert bool((found.low <= found.high).all())


def test_intervals_hold_the_errors_of_the_last_fifth() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, 2000, 1, generator=generator)
    found = forecast_future(torch.ones(1, 2000, 1), noise, 3)
    assert float((found.high - found.low).mean()) == pytest.approx(2 * 1.96, rel=0.15)


def test_what_cannot_be_forecast(tmp_path: Path, run: Run) -> None:
    np.save(tmp_path / "many.npy", np.random.default_rng(0).standard_normal((5, 20, 9)))
    with pytest.raises(InputError, match="holds many series"):
        forecast(run.path, str(tmp_path / "many.npy"))
    with pytest.raises(InputError, match="too few for a horizon"):
        forecast(run.path, run.settings().data, steps=500)


def test_mistakes_in_tables(tmp_path: Path) -> None:
    (tmp_path / "comma.csv").write_text("date;load\n2024-05-01;1,5\n2024-05-02;2,5\n2024-05-03;3,5\n")
    with pytest.raises(InputError, match="decimal commas: write points"):
        load_series(str(tmp_path / "comma.csv"))
    (tmp_path / "twice.csv").write_text("shop,date,x\na,2024-05-01,1\na,2024-05-01,2\n")
    with pytest.raises(InputError, match="two rows of the time 2024-05-01"):
        load_series(str(tmp_path / "twice.csv"), series="shop")
    with pytest.raises(InputError, match="has no column 'store'"):
        load_series(str(tmp_path / "twice.csv"), series="store")


def test_a_parquet_file_is_a_series(tmp_path: Path) -> None:
    import pyarrow as pa

    table = toy_load(200)
    columns = {name: table.values[:, place] for place, name in enumerate(table.columns)}
    pq.write_table(pa.table({"ds": table.times, **columns}), tmp_path / "load.parquet")
    found = load_series(str(tmp_path / "load.parquet"))
    assert found.forecast is not None
    assert found.forecast.targets == ("load", "temperature")


def test_layouts_of_arrays() -> None:
    generator = np.random.default_rng(0)
    x = generator.standard_normal((6, 40, 2)).astype(np.float32)
    options = {"epochs": 1, "options": SMALL, "batch_size": 4}
    first = ContrastiveTransformer(**options).fit(x)
    second = ContrastiveTransformer(layout="aeon", **options).fit(x.transpose(0, 2, 1))
    np.testing.assert_array_equal(first.transform(x), second.transform(x.transpose(0, 2, 1)))
    ragged = [row[: 20 + 3 * place] for place, row in enumerate(x)]
    np.testing.assert_array_equal(first.transform(ragged), second.transform([row.T for row in ragged]))
    with pytest.warns(UserWarning, match='say layout="aeon"'):
        ContrastiveTransformer(**options)._array(x.transpose(0, 2, 1)[:, :1])
    changed = ContrastiveTransformer()
    changed.layout = "sktime"  # type: ignore[assignment]
    with pytest.raises(InputError, match="layout is 'sktime'"):
        changed._array(x)


def test_curves_are_drawn_where_the_values_are() -> None:
    rising = torch.linspace(0, 1, 60)[None, :, None]
    gap = rising.clone()
    gap[:, 20:30] = torch.nan
    pictures = draw_curves(torch.cat([rising, gap, torch.full_like(rising, torch.nan)]))
    ink = (pictures != 255).any(dim=1)
    assert ink[0].any(dim=0).all()
    assert bool(ink[0][-3:, :3].any())
    assert bool(ink[0][:3, -3:].any())
    assert not bool(ink[1][:, 18:22].any())
    assert not bool(ink[2].any())
