"""The value of a season ago."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from dipole.data.timeseries import ForecastTask
from dipole.evaluation.materials import SeriesMaterial
from dipole.evaluation.protocol import Baseline
from dipole.ops.checks import check_at_least

DAY, WEEK = 24 * 60, 7 * 24 * 60  # minutes
SEASONS = (4, 7, 12, 24, 48, 96, 168)  # tried where no times say how long a step is


class SeasonalNaive(Baseline):
    """Every value is that of a season ago; the season is the one with the smallest error on the validation part.

    Where times are known, a day, a week and a year are tried, else 4, 7, 12, 24, 48, 96 and 168 steps.
    """

    name: ClassVar[str] = "seasonal naive"
    domains = ("timeseries",)
    material: SeriesMaterial

    def __init__(self, material: SeriesMaterial) -> None:
        super().__init__(material)
        task = material.data.forecast
        if task is not None:
            targets = self._targets(task)[:, : task.validation_end]
            tried = [season for season in seasons(task) if season < task.train_end]
            half = max(1, (task.validation_end - task.train_end) // 2)
            errors = {s: seasonal_errors(targets, task.train_end, min(s, half), s) for s in tried}
            known = {season: error[0] for season, error in errors.items() if np.isfinite(error[0])}
            self.season = min(known, key=lambda season: known[season], default=1)
            material.notes["season of the seasonal naive"] = f"{self.season} steps"

    def forecast_errors(
        self, task: ForecastTask, chosen: Sequence[int]
    ) -> tuple[dict[int, tuple[float, float]], list[float]]:
        """Return MSE and MAE by horizon; no regularisation is chosen."""
        targets = self._targets(task)[:, : task.test_end]
        return {h: seasonal_errors(targets, task.validation_end, h, self.season) for h in chosen}, []

    def _targets(self, task: ForecastTask) -> Tensor:
        """Scaled columns (N, T, C) to forecast."""
        return self.material.scaled(task.values)[:, :, task.covariates :]


def seasons(task: ForecastTask) -> tuple[int, ...]:
    """Return the numbers of steps that may be a season."""
    times: Any = task.times
    if times is None:
        return SEASONS
    step = float(np.median(np.diff(times[:1000]).astype("timedelta64[s]").astype(np.int64))) / 60
    lengths = {round(length / step) for length in (DAY, WEEK, 365.25 * DAY)} if step > 0 else set()
    return tuple(sorted(length for length in lengths if length > 1)) or SEASONS


def seasonal_errors(targets: Tensor, first: int, horizon: int, season: int) -> tuple[float, float]:
    """Return MSE and MAE of `x̂_{t+h} = x_{t + h − s ⌈h/s⌉}` for every step t that is followed by a whole horizon.

    Args:
        targets: (N, T, C); a forecast that meets a gap, or lies before the beginning, is left out.
        first: step of the part in which forecasts are made; it ends with the series.
        horizon: H.
        season: s.
    """
    check_at_least(season, 1, "season")
    steps = torch.arange(first, max(first, targets.shape[1] - horizon))
    squares, sizes, count = 0.0, 0.0, 0
    for ahead in range(1, horizon + 1):
        then = steps + ahead
        before = then - season * -(-ahead // season)
        inside = before >= 0
        error = targets[:, then[inside]].double() - targets[:, before[inside]].double()
        error = error[error.isfinite()]
        squares, sizes, count = (
            squares + float(error.square().sum()),
            sizes + float(error.abs().sum()),
            count + len(error),
        )
    return (squares / count, sizes / count) if count else (float("nan"), float("nan"))
