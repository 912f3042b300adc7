"""One long series: what is forecast, from which steps, and how well."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from dipole.data.timeseries import ForecastTask, SeriesSet
from dipole.evaluation.forecasting import ALPHAS, Forecast, ridge_forecast

HORIZONS = (24, 48, 168, 336, 720)
QUARTER_HOURLY_HORIZONS = (24, 48, 96, 288, 672)
PAST = 200  # steps that a representation to forecast from sees


@runtime_checkable
class SeriesEncoder(Protocol):
    """What is asked of a method of time series."""

    @property
    def device(self) -> Any:
        """Where it computes."""

    def to(self, device: Any, /) -> Any:
        """Move it."""

    def scaled(self, series: Tensor) -> Tensor:
        """Return values (N, T, C) in deviations of the training part."""

    def represent_causally(self, inputs: Tensor, *, padding: int) -> Tensor:
        """Return representations (N, T, D), each of which sees `padding` steps before it and nothing after it."""

    def embed(self, inputs: Tensor) -> Tensor:
        """Return embeddings (N, D) of whole series."""


@torch.no_grad()
def represent(method: SeriesEncoder, task: ForecastTask) -> Tensor:
    """Return representations (N, T, D) of the steps of all parts to forecast from, on a GPU if there is one."""
    method.to("cuda" if torch.cuda.is_available() else "cpu")
    return method.represent_causally(task.values[:, : task.test_end].to(method.device), padding=past(task)).cpu()


def past(task: ForecastTask) -> int:
    """Return how many steps a representation sees before its own: 200, or a quarter of a short training part."""
    return min(PAST, task.train_end // 4)


def horizons(task: ForecastTask) -> tuple[int, ...]:
    """Return the field's horizons that fit into every part of a series; its largest whole quarter if none does."""
    times = task.times
    quarter_hourly = times is not None and bool(times[1] - times[0] == np.timedelta64(15, "m"))
    shortest = min(
        task.train_end - past(task), task.validation_end - task.train_end, task.test_end - task.validation_end
    )
    fitting = tuple(h for h in (QUARTER_HOURLY_HORIZONS if quarter_hourly else HORIZONS) if h < shortest)
    return fitting or (max(1, shortest // 4),)


def scaled_targets(method: SeriesEncoder, task: ForecastTask) -> Tensor:
    """Return the columns to forecast (N, T, C), in deviations of the training part."""
    return method.scaled(task.values.to(method.device)).cpu()[:, :, task.covariates :]


def scaled_known(scaled: Tensor, task: ForecastTask) -> Tensor | None:
    """Return the columns that are known ahead (N, T, K), of scaled values (N, T, C); None if there are none."""
    return scaled[:, :, task.covariates - task.known : task.covariates] if task.known else None


def forecasts(
    method: SeriesEncoder, task: ForecastTask, chosen: Sequence[int], representations: Tensor | None = None
) -> dict[int, Forecast]:
    """Forecast scaled targets at several horizons, from representations (N, T, D) if they are known already."""
    representations = represent(method, task) if representations is None else representations
    scaled = method.scaled(task.values.to(method.device)).cpu()
    known = scaled_known(scaled, task)
    return ridge_forecasts(representations, scaled[:, :, task.covariates :], task, chosen, known=known)


def ridge_forecasts(
    representations: Tensor,
    targets: Tensor,
    task: ForecastTask,
    chosen: Sequence[int],
    alphas: Sequence[float] = ALPHAS,
    known: Tensor | None = None,
) -> dict[int, Forecast]:
    """Forecast targets (N, T, C) from representations (N, T, D) at several horizons, see `ridge_forecast`."""
    steps = representations.shape[1]
    return {
        horizon: ridge_forecast(
            representations,
            targets[:, :steps],
            horizon,
            train_end=task.train_end,
            validation_end=task.validation_end,
            test_end=task.test_end,
            skip=past(task),
            alphas=alphas,
            known=None if known is None else known[:, :steps],
        )
        for horizon in chosen
    }


def error_columns(found: Mapping[int, tuple[float, float]]) -> dict[str, float]:
    """Return MSE and MAE by horizon, and their means.

    Example:
        >>> error_columns({24: (1.0, 2.0)})
        {'MSE 24': 1.0, 'MAE 24': 2.0, 'mean MSE': 1.0, 'mean MAE': 2.0}
    """
    columns: dict[str, float] = {}
    for horizon, (mse, mae) in found.items():
        columns |= {f"MSE {horizon}": mse, f"MAE {horizon}": mae}
    for place, error in enumerate(("MSE", "MAE")):
        columns[f"mean {error}"] = sum(pair[place] for pair in found.values()) / len(found)
    return columns


@torch.no_grad()
def embed_set(method: SeriesEncoder, series: SeriesSet, batch_size: int = 64) -> Tensor:
    """Return embeddings (N, D) of whole series, on a GPU if there is one."""
    method.to("cuda" if torch.cuda.is_available() else "cpu")
    return torch.cat([method.embed(part.to(method.device)).cpu() for part in series.values.split(batch_size)])


def last_value_errors(targets: Tensor, task: ForecastTask, chosen: Sequence[int]) -> dict[int, tuple[float, float]]:
    """Return MSE and MAE by horizon if every value stays as it is.

    Args:
        targets: (N, T, C), scaled.
        task: the parts.
        chosen: horizons.
    """
    found = ridge_forecasts(targets.new_zeros(*targets.shape[:2], 1), targets, task, chosen, alphas=(1.0,))
    return {horizon: (each.naive_mse, each.naive_mae) for horizon, each in found.items()}
