"""Ridge regression on the latest values themselves."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from dipole.data.timeseries import ForecastTask
from dipole.evaluation.long_series import past, ridge_forecasts, scaled_known
from dipole.evaluation.materials import SeriesMaterial
from dipole.evaluation.protocol import Baseline

FEATURES = 512  # at most, over all columns


class RawWindow(Baseline):
    """The same ridge regression as on representations, on the latest values of all columns instead.

    The window has as many steps as a representation sees, or fewer where all columns would give more than 512 values.
    A gap is filled with the value before it. What the calendar says of the step belongs to it too,
    and what is known of the steps to forecast.
    """

    name: ClassVar[str] = "ridge on raw window"
    domains = ("timeseries",)
    material: SeriesMaterial

    def forecast_errors(
        self, task: ForecastTask, chosen: Sequence[int]
    ) -> tuple[dict[int, tuple[float, float]], list[float]]:
        """Return MSE and MAE by horizon, and the strength of the regularisation for each."""
        scaled = self.material.scaled(task.values)[:, : task.test_end]
        known, targets = scaled_known(scaled, task), scaled[:, :, task.covariates :]
        found = ridge_forecasts(raw_windows(scaled, task), targets, task, chosen, known=known)
        return {horizon: (each.mse, each.mae) for horizon, each in found.items()}, [
            each.alpha for each in found.values()
        ]


def raw_windows(scaled: Tensor, task: ForecastTask) -> Tensor:
    """Return the latest values of all columns, and the covariates of the step, for every step (N, T, D).

    Args:
        scaled: (N, T, covariates + C), NaN in gaps.
        task: says which columns are covariates, and how many steps are seen.
    """
    values = filled(scaled[:, :, task.covariates :])
    steps = max(1, min(past(task), FEATURES // values.shape[2]))
    before = values[:, :1].expand(-1, steps - 1, -1)
    windows = torch.cat([before, values], dim=1).unfold(1, steps, 1).flatten(2)
    return torch.cat([windows, scaled[:, :, : task.covariates].nan_to_num()], dim=2)


def filled(values: Tensor) -> Tensor:
    """Return values (N, T, C) whose gaps hold the value before them; 0 where there is none."""
    steps = torch.arange(values.shape[1], device=values.device)[None, :, None].expand_as(values)
    latest = torch.where(values.isnan(), -1, steps).cummax(dim=1).values
    return values.gather(1, latest.clamp(min=0)).nan_to_num()
