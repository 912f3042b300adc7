"""Forecast what comes after the end of a series with a run."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dipole.data.timeseries import ForecastTask
from dipole.errors import InputError
from dipole.evaluation.future import forecast_future
from dipole.evaluation.long_series import past, represent, scaled_known
from dipole.files import atomic_write
from dipole.methods.timeseries.embedding import SeriesEmbedding
from dipole.runs.directory import Run
from dipole.runs.domains import get_domain
from dipole.runs.loading import load
from dipole.runs.model import model_config

COLUMNS = ("series", "time", "column", "forecast", "low", "high")
SUFFIXES = (".csv", ".parquet")


@dataclass(frozen=True)
class ForecastRow:
    """A value that is forecast.

    Args:
        series: its name.
        time: or the number of the step, where there are no times.
        column: what is forecast.
        forecast: the value.
        low: of an interval that has held 95 % of the errors on the last fifth of the series.
        high: likewise.
    """

    series: str
    time: str
    column: str
    forecast: float
    low: float
    high: float


def forecast(
    run: str | Path,
    source: str,
    *,
    steps: int = 24,
    data_root: str | Path | None = None,
    loading: Mapping[str, Any] | None = None,
) -> list[ForecastRow]:
    """Forecast the steps after the end of a long series, by ridge regression on what the encoder says of its last step.

    Args:
        run: a run directory or model folder of a method of time series.
        source: a table of the columns of the run, or the name of a set.
        steps: to forecast.
        data_root: folder of named data sets.
        loading: how the source is read, where it differs from the run.

    Returns:
        A row for each series, step and column. See `forecast_future` for the intervals.

    Raises:
        InputError: the run is of another kind, the source no long series, or too short.
    """
    method = load(run)
    if not isinstance(method, SeriesEmbedding):
        raise InputError(f"{run} is a run of {method.card.name}: forecasts are made by methods of time series.")
    config = model_config(run)
    own = config.get("loading", {})
    if (Path(run) / "config.yaml").is_file():
        own = {**own, **Run.open(run).settings().loading}
    domain: Any = get_domain("timeseries")
    options = domain.loading_defaults() | own | dict(loading or {})
    data = domain.read(source, data_root, options, options)
    task = data.forecast
    if task is None:
        raise InputError(f"{source} holds many series, which are not forecast: give one long one, a row for each step.")
    end = _end(task, steps, source) if task.known else task.values.shape[1]
    whole = replace(task, test_end=end)
    with torch.inference_mode():
        representations = represent(method, whole)
    scaled = method.scaled(whole.values.to(method.device)).cpu()[:, : end + steps]
    targets, known = scaled[:, :end, task.covariates :], scaled_known(scaled, task)
    found = forecast_future(representations, targets, steps, skip=past(whole), known=known)
    mean, deviation = (each.cpu().double()[-len(task.targets) :] for each in (method.mean, method.deviation))
    values = torch.stack([found.mean, found.low, found.high], dim=-1) * deviation[:, None] + mean[:, None]
    return [
        ForecastRow(data.train.ids[row], time, column, *values[row, step, place].tolist())
        for row in range(len(values))
        for step, time in enumerate(times_after(task, steps, end))
        for place, column in enumerate(task.targets)
    ]


def _end(task: ForecastTask, steps: int, source: str) -> int:
    """The step after the last that holds a value to forecast; what is known must reach `steps` further."""
    values = task.values[:, :, task.covariates :].isfinite().any(dim=2).any(dim=0)
    end = int(values.nonzero().max()) + 1
    given = len(values) - end
    if given < steps:
        raise InputError(
            f"{source} says of {given} steps after its last value of {', '.join(task.targets[:3])} what "
            f"{', '.join(task.known_columns)} will be, and {steps} are to be forecast: add rows with these "
            "columns, the others empty, or ask for fewer --steps."
        )
    return end


def times_after(task: ForecastTask, steps: int, end: int) -> list[str]:
    """Return the times of the steps from `end` on, of the table or as far apart as most are; numbers without times."""
    if task.times is None:
        return [str(end + step) for step in range(steps)]
    if len(task.times) >= end + steps:
        return [str(time.astype("datetime64[s]")) for time in task.times[end : end + steps]]
    apart, counts = np.unique(np.diff(task.times), return_counts=True)
    usual = apart[counts.argmax()]
    times = [task.times[-1] + (step + 1) * usual for step in range(steps)]
    return [str(time.astype("datetime64[s]")) for time in times]


def write_forecast(path: str | Path, rows: list[ForecastRow]) -> None:
    """Write forecasts as CSV or Parquet by the suffix.

    Raises:
        InputError: another suffix, or a folder.
    """
    path = Path(path)
    if path.is_dir() or path.suffix.lower() not in SUFFIXES:
        raise InputError(f"--out {path}: expected a file that ends in {' or '.join(SUFFIXES)}.")
    with atomic_write(path) as temporary:
        if path.suffix.lower() == ".parquet":
            import pyarrow as pa
            import pyarrow.parquet as pq

            pq.write_table(pa.Table.from_pylist([vars(row) for row in rows]), temporary)
            return
        with temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(vars(row) for row in rows)
