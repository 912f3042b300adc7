"""Experiments on time series: forecasts of one long series."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from dipole.claims.base import Arm, Claim, Data, Metrics
from dipole.claims.training import run_config
from dipole.data.timeseries import ForecastTask, SeriesData, load_series, statistics
from dipole.evaluation.baselines.last_value import LastValue
from dipole.evaluation.baselines.raw_window import RawWindow
from dipole.evaluation.baselines.seasonal_naive import SeasonalNaive
from dipole.evaluation.long_series import error_columns, forecasts, horizons
from dipole.evaluation.materials import SeriesMaterial
from dipole.methods.timeseries.embedding import SeriesEmbedding
from dipole.runs import build_method, load, train

TUNING_HORIZONS = (24, 168, 720)


@dataclass(frozen=True)
class ForecastData(Data):
    """One long series, of which the values after each step are forecast.

    Learning rates are chosen on the validation part, for which α is chosen on the last fifth of the training part.
    Errors are in deviations of the training part.

    Args:
        name: of the series.
        target: the column to forecast.
        window: steps of a window.
    """

    name: str
    target: str
    window: int

    tuning_metric = "validation −MSE"
    tuning = "learning rate by the mean MSE of three horizons on the validation part"

    @property
    def label(self) -> str:
        """Name and column."""
        return f"{self.name}, {self.target}"

    def load(self, data_root: str | Path | None = None) -> SeriesData:
        """Return the series."""
        return load_series(self.name, data_root, target=self.target)

    def size(self, loaded: SeriesData) -> int:
        """Number of training steps."""
        return loaded.train.values.shape[1]

    def once(self, claim: Claim, arm: Arm, rate: float, seed: int, loaded: SeriesData, *, tune: bool) -> Metrics:
        """Train an encoder and forecast from its representations."""
        method = self._trained(arm, rate, seed, loaded)
        assert loaded.forecast is not None
        if tune:
            task = before_test(loaded.forecast)
            found = forecasts(method, task, TUNING_HORIZONS)
            return {self.tuning_metric: -sum(each.mse for each in found.values()) / len(found)}
        found = forecasts(method, loaded.forecast, horizons(loaded.forecast))
        return error_columns({horizon: (each.mse, each.mae) for horizon, each in found.items()})

    def _trained(self, arm: Arm, rate: float, seed: int, loaded: SeriesData) -> SeriesEmbedding:
        """The method of an arm, trained on the training part; with no epochs, built only."""
        config = run_config(arm, self.name, rate, seed, loading={"target": self.target, "window": self.window})
        if arm.epochs == 0:
            options = {**config.method, "channels": loaded.train.values.shape[2]}
            method = cast(SeriesEmbedding, build_method(arm.method, options, seed=seed).eval())
            method.scale_by(*statistics(loaded.train.values))
            return method
        with tempfile.TemporaryDirectory() as folder:
            run = train(config, Path(folder) / "run", sets=loaded, monitor=False, progress=False)
            return cast(SeriesEmbedding, load(run.path))

    def references(self, claim: Claim, arm: Arm, loaded: SeriesData) -> dict[str, dict[str, float]]:
        """The last value, the value of a season ago, and ridge regression on the latest values."""
        task = loaded.forecast
        assert task is not None
        untrained = self._trained(replace(arm, epochs=0), arm.learning_rates[0], 0, loaded)
        material = SeriesMaterial(self.name, {}, data=loaded, scaled=untrained.scaled)
        simple = (LastValue(material), SeasonalNaive(material), RawWindow(material))
        return {each.name: error_columns(each.forecast_errors(task, horizons(task))[0]) for each in simple}


def before_test(task: ForecastTask) -> ForecastTask:
    """Return the parts of a task without its test part: the validation part is tested on."""
    return replace(
        task,
        train_end=int(0.8 * task.train_end),
        validation_end=task.train_end,
        test_end=task.validation_end,
        values=task.values[:, : task.validation_end],
        times=None if task.times is None else task.times[: task.validation_end],
    )
