"""Time series: forecasts by ridge regression and classes by a support vector machine, beside the untrained encoder."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import lightning
import numpy as np
import torch
from torch import Tensor

from dipole.data.timeseries import ForecastTask, SeriesData, SeriesDataModule, SeriesSet, load_series
from dipole.data.timeseries.arrays import make_sets
from dipole.data.timeseries.toy import TOY_LOAD
from dipole.errors import InputError
from dipole.evaluation import Evaluation, Forecast, ridge_forecast
from dipole.evaluation.svm import svm_classification
from dipole.methods.base import Method
from dipole.methods.timeseries.embedding import SeriesEmbedding
from dipole.report import ForecastPlot
from dipole.runs.config import RunConfig
from dipole.runs.directory import Run
from dipole.runs.domains.base import Domain, Embeddings
from dipole.runs.model import build_method, load

HORIZONS = (24, 48, 168, 336, 720)
QUARTER_HOURLY_HORIZONS = (24, 48, 96, 288, 672)
PAST = 200  # steps that a representation to forecast from sees
MOST_SERIES, MOST_STEPS = 1500, 500  # of a report


class TimeSeries(Domain):
    """Series in memory: many, with or without classes, or a long one to forecast."""

    name = "timeseries"
    default_data = TOY_LOAD
    protocols = ("forecast", "classification")
    derived_view_options = ()
    derived_method_options = ("channels",)

    @staticmethod
    def loading_options(target: str | None = None, covariates: bool = True, window: int = 1024) -> None:
        """How series are read.

        Args:
            target: of one long series: the column to forecast, from its own past alone; all columns by default.
            covariates: of one long series: what the calendar says of each time is put before the columns.
            window: longer series are cut into windows of at least so many steps, and cropped to so many.
        """

    def data_module(self, config: RunConfig, sets: Any = None) -> SeriesDataModule:
        """Return the series of a run."""
        options = self.loading(config)
        return SeriesDataModule(
            self._load(config.data or self.default_data, config.data_root, options) if sets is None else sets,
            batch_size=config.batch_size,
            window=options["window"],
            num_workers=config.num_workers,
            seed=config.seed,
        )

    def sets_of_array(self, array: np.ndarray) -> SeriesData:
        """Series (N, T, C), or (N, T) of one channel."""
        return SeriesData(make_sets("array", (array, None))[0])

    def facts(self, data: lightning.LightningDataModule) -> dict[str, Any]:
        """The number of channels."""
        assert isinstance(data, SeriesDataModule)
        return {"channels": data.train_set.values.shape[2]}

    def attach_views(self, method: Method, data: lightning.LightningDataModule, config: RunConfig) -> None:
        """The method takes over the scale of the training part; the data make views if it does not itself."""
        assert isinstance(data, SeriesDataModule)
        method = cast(SeriesEmbedding, method)
        method.scale_by(*data.statistics)
        options = self.view_options(type(method), config)
        views_class: Any = getattr(method, "views_class", None)
        data.views = None if views_class is None else views_class(**options)

    def _shared_facts(self, config: RunConfig) -> dict[str, Any]:
        """How series are read."""
        return {"loading": config.loading}

    def _load(self, data: str, root: str | Path | None, options: Mapping[str, Any]) -> SeriesData:
        """Read series as a run does."""
        return load_series(data, root, target=options["target"], covariates=options["covariates"])

    def evaluate(
        self,
        run: Run,
        protocols: Sequence[str],
        *,
        data: str | None = None,
        data_root: str | Path | None = None,
        progress: bool = False,
    ) -> Evaluation:
        """Compare with the encoder as it was before training, and with the last value or the values themselves.

        A long series is forecast, series with classes are classified.

        Raises:
            InputError: the data do not fit the protocol or the model.
        """
        settings = run.settings()
        source = self._load(data or settings.data, data_root or settings.data_root, self.loading(settings))
        methods = {"trained": cast(SeriesEmbedding, load(run.path)), "untrained": untrained(run)}
        if source.forecast is not None and "forecast" in protocols:
            return forecast_table(methods, source.forecast, name=source.name)
        if source.forecast is None and "classification" in protocols:
            return classification_table(methods, source)
        fitting = "forecast" if source.forecast is not None else "classification"
        raise InputError(f"{source.name} is no data for {protocols[0]!r}: choose {fitting!r}.")

    def embeddings(
        self,
        method: Method,
        config: Mapping[str, Any],
        source: str,
        *,
        data_root: str | Path | None = None,
        batch_size: int = 256,
        progress: bool = False,
    ) -> Embeddings:
        """Embed every series of a set, or every step of a long one, which sees the steps before it.

        Series also have the columns `split` and `label`. The `id` of a step is its time.
        """
        options = self.loading_defaults() | dict(config.get("loading", {}))
        data = self._load(source, data_root, options)
        method = cast(SeriesEmbedding, method)
        found = Embeddings(iter(()), [(data.name, note) for note in data.notes], f"{source} holds no series.")
        if data.forecast is not None:
            found.batches = _steps(method, data.forecast, batch_size)
        else:
            found.batches = _series(method, data, batch_size)
        return found

    def report_arguments(
        self, run: Run, *, data_root: str | Path | None = None, progress: bool = False
    ) -> dict[str, Any]:
        """Embeddings of test series with their classes, or of steps of a long series, and forecasts of it."""
        settings = run.settings()
        data = self._load(settings.data, data_root or settings.data_root, self.loading(settings))
        method = cast(SeriesEmbedding, load(run.path))
        if data.forecast is None:
            shown = data.test or data.train
            count = min(len(shown), MOST_SERIES)
            labels = {} if shown.labels is None else {"label": shown.labels[:count]}
            return {
                "embeddings": embed_set(method, shown)[:count],
                "labels": labels,
                "class_names": {"label": shown.class_names},
                "texts": shown.ids[:count],
                "data": data.name,
                "scores": False,
            }
        task = data.forecast
        representations = represent(method, task)[0]
        steps = torch.linspace(0, task.test_end - 1, min(task.test_end, MOST_STEPS)).long()
        part = (steps >= task.train_end).long() + (steps >= task.validation_end).long()
        return {
            "embeddings": representations[steps],
            "labels": {"part": part},
            "class_names": {"part": ("training", "validation", "test")},
            "ids": [step_name(task, step) for step in steps.tolist()],
            "forecasts": forecast_plots(method, task, representations[None]),
            "data": data.name,
            "scores": False,
        }


def untrained(run: Run) -> SeriesEmbedding:
    """Return the method of a run as it was before training, with the scale of the training part."""
    settings = run.settings()
    trained = cast(SeriesEmbedding, load(run.path))
    method = cast(SeriesEmbedding, build_method(settings.name, settings.method, seed=settings.seed).eval())
    method.scale_by(trained.mean, trained.deviation)
    return method


@torch.no_grad()
def represent(method: SeriesEmbedding, task: ForecastTask) -> Tensor:
    """Return representations (N, T, D) of the steps of all parts to forecast from, on a GPU if there is one."""
    method.to("cuda" if torch.cuda.is_available() else "cpu")
    return method.represent_causally(task.values[:, : task.test_end].to(method.device), padding=past(task)).cpu()


def past(task: ForecastTask) -> int:
    """Return how many steps a representation sees before its own: 200, or a quarter of a short training part."""
    return min(PAST, task.train_end // 4)


def horizons(task: ForecastTask) -> tuple[int, ...]:
    """Return the field's horizons that fit into every part of a series; its largest whole quarter if none does."""
    times = task.times
    quarter_hourly = times is not None and bool(times[1] - times[0] == 15 * 60)
    shortest = min(
        task.train_end - past(task), task.validation_end - task.train_end, task.test_end - task.validation_end
    )
    fitting = tuple(h for h in (QUARTER_HOURLY_HORIZONS if quarter_hourly else HORIZONS) if h < shortest)
    return fitting or (max(1, shortest // 4),)


def scaled_targets(method: SeriesEmbedding, task: ForecastTask) -> Tensor:
    """Return the columns to forecast (N, T, C), in deviations of the training part."""
    return method.scaled(task.values.to(method.device)).cpu()[:, :, task.covariates :]


def forecasts(
    method: SeriesEmbedding, task: ForecastTask, chosen: Sequence[int], representations: Tensor | None = None
) -> dict[int, Forecast]:
    """Forecast scaled targets at several horizons, from representations (N, T, D) if they are known already."""
    representations = represent(method, task) if representations is None else representations
    targets = scaled_targets(method, task)[:, : representations.shape[1]]
    return {
        horizon: ridge_forecast(
            representations,
            targets,
            horizon,
            train_end=task.train_end,
            validation_end=task.validation_end,
            test_end=task.test_end,
            skip=past(task),
        )
        for horizon in chosen
    }


def forecast_plots(method: SeriesEmbedding, task: ForecastTask, representations: Tensor) -> list[ForecastPlot]:
    """Return forecasts of the last column at the two shortest horizons, each at two moments of the test part."""
    targets = scaled_targets(method, task)[0, :, -1]
    found = []
    for horizon, forecast in forecasts(method, task, horizons(task)[:2], representations).items():
        if len(forecast.actual) != task.test_end - task.validation_end - horizon:
            continue  # gaps: which step a forecast belongs to is not known
        for share in (0.25, 0.75):
            row = int(share * len(forecast.actual))
            step = task.validation_end + row
            known = range(max(0, step - 2 * horizon), step + 1)
            found.append(
                ForecastPlot(
                    f"{task.targets[-1]}: {horizon} steps from {step_name(task, step)}",
                    [step_name(task, at) for at in known],
                    [None if value != value else value for value in targets[known.start : step + 1].tolist()],
                    [step_name(task, at) for at in range(step + 1, step + 1 + horizon)],
                    forecast.actual[row, :, -1].tolist(),
                    forecast.predicted[row, :, -1].tolist(),
                )
            )
    return found


def forecast_table(methods: Mapping[str, SeriesEmbedding], task: ForecastTask, *, name: str) -> Evaluation:
    """Return MSE and MAE of every horizon and their means, in units of the training part's deviation."""
    chosen = horizons(task)
    errors: dict[str, dict[str, float]] = {}
    alphas: dict[str, list[float]] = {}
    for encoder, method in methods.items():
        found = forecasts(method, task, chosen)
        errors[encoder] = error_columns({h: (each.mse, each.mae) for h, each in found.items()})
        errors["last value"] = error_columns({h: (each.naive_mse, each.naive_mae) for h, each in found.items()})
        alphas[encoder] = [each.alpha for each in found.values()]
    columns = tuple(next(iter(errors.values())))
    rows = tuple({"encoder": encoder, **errors[encoder]} for encoder in (*methods, "last value"))
    facts = {"targets": list(task.targets), "unit": "deviations of the training part", "past": past(task)}
    return Evaluation(columns, rows, {**facts, "alphas": alphas}).of(name)


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


def classification_table(methods: Mapping[str, SeriesEmbedding], data: SeriesData) -> Evaluation:
    """Return the accuracy of a support vector machine on embeddings, and on the values themselves."""
    if data.test is None or data.train.labels is None or data.test.labels is None or data.train.num_classes < 2:
        raise InputError(f"{data.name} has no labels of two or more classes: there is nothing to evaluate against.")
    embedded = {name: (embed_set(method, data.train), embed_set(method, data.test)) for name, method in methods.items()}
    steps = max(part.values.shape[1] for part in (data.train, data.test))
    embedded["raw values"] = (_flat(methods["trained"], data.train, steps), _flat(methods["trained"], data.test, steps))
    rows, costs = [], {}
    for name, (train, test) in embedded.items():
        result = svm_classification(train, data.train.labels, test, data.test.labels)
        rows.append({"encoder": name, "accuracy": result.accuracy})
        costs[name] = result.cost
    facts = {"train_series": len(data.train), "test_series": len(data.test), "cost": costs}
    return Evaluation(("accuracy",), tuple(rows), facts).of(data.name)


@torch.no_grad()
def embed_set(method: SeriesEmbedding, series: SeriesSet, batch_size: int = 64) -> Tensor:
    """Return embeddings (N, D) of whole series, on a GPU if there is one."""
    method.to("cuda" if torch.cuda.is_available() else "cpu")
    return torch.cat([method.embed(part.to(method.device)).cpu() for part in series.values.split(batch_size)])


def step_name(task: ForecastTask, step: int) -> str:
    """Return the time of a step, or its number."""
    return str(step) if task.times is None else str(task.times[step])


def _flat(method: SeriesEmbedding, series: SeriesSet, steps: int) -> Tensor:
    """Scaled values side by side, 0 where there is none."""
    values = method.scaled(series.values.to(method.device)).cpu().nan_to_num()
    return torch.nn.functional.pad(values, (0, 0, 0, steps - values.shape[1])).flatten(1)


def _steps(
    method: SeriesEmbedding, task: ForecastTask, batch_size: int
) -> Iterator[tuple[dict[str, list[Any]], Tensor]]:
    """Times and representations of the steps of a long series, some at a time."""
    before = past(task)
    for row in task.values:
        for start in range(0, len(row), batch_size):
            context = min(start, before)
            seen = row[None, start - context : start + batch_size].to(method.device)
            vectors = method.represent_causally(seen, padding=before, batch_size=batch_size)[0, context:]
            yield {"id": [step_name(task, start + step) for step in range(len(vectors))]}, vectors


def _series(
    method: SeriesEmbedding, data: SeriesData, batch_size: int
) -> Iterator[tuple[dict[str, list[Any]], Tensor]]:
    """Names, parts, classes and embeddings of series, a batch at a time."""
    for split, part in (("train", data.train), ("test", data.test)):
        if part is None:
            continue
        for rows in torch.arange(len(part)).split(batch_size):
            labels = [None if part.labels is None else part.class_names[int(part.labels[row])] for row in rows]
            columns = {"id": [part.ids[row] for row in rows.tolist()], "split": [split] * len(rows), "label": labels}
            yield columns, method.embed(part.values[rows].to(method.device))


DOMAIN = TimeSeries()
