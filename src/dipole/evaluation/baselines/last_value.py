"""The last known value."""

from collections.abc import Sequence
from typing import ClassVar

from dipole.data.timeseries import ForecastTask
from dipole.evaluation.long_series import last_value_errors
from dipole.evaluation.materials import SeriesMaterial
from dipole.evaluation.protocol import Baseline


class LastValue(Baseline):
    """Every value stays as it is."""

    name: ClassVar[str] = "last value"
    domains = ("timeseries",)
    material: SeriesMaterial

    def forecast_errors(
        self, task: ForecastTask, chosen: Sequence[int]
    ) -> tuple[dict[int, tuple[float, float]], list[float]]:
        """Return MSE and MAE by horizon; no regularisation is chosen."""
        targets = self.material.scaled(task.values)[:, :, task.covariates :]
        return last_value_errors(targets[:, : task.test_end], task, chosen), []
