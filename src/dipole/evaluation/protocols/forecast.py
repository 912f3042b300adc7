"""What comes next in a long series."""

from typing import Any, ClassVar

from dipole.evaluation.long_series import error_columns, horizons, past
from dipole.evaluation.materials import SeriesMaterial
from dipole.evaluation.protocol import Measured, Protocol


class ForecastErrors(Protocol):
    """MSE and MAE of forecasts at several horizons, in deviations of the training part.

    Encoders forecast by ridge regression on the representation of the last known step, see `ridge_forecast`.
    """

    name: ClassVar[str] = "forecast"
    domains = ("timeseries",)
    measures = "forecast_errors"
    place = 0

    def lacks(self, material: SeriesMaterial) -> str | None:
        """One long series."""
        return "there are many series: choose 'classification'" if material.data.forecast is None else None

    def measure(self, material: SeriesMaterial) -> Measured:
        """Return MSE and MAE of every horizon, and their means."""
        task = material.data.forecast
        assert task is not None, "lacks() says so"
        chosen = horizons(task)
        rows: dict[str, dict[str, float]] = {}
        alphas: dict[str, list[float]] = {}
        for name, candidate in material.able(self.measures).items():
            errors, alpha = candidate.forecast_errors(task, chosen)
            rows[name] = error_columns(errors)
            if alpha:
                alphas[name] = alpha
        facts: dict[str, Any] = {"targets": list(task.targets), "unit": "deviations of the training part"}
        return Measured(rows, {**facts, "past": past(task), "alphas": alphas})
