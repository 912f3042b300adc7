"""Time series: forecasts by ridge regression and classes by a support vector machine, beside the untrained encoder."""

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import lightning
import numpy as np
import torch
from torch import Tensor

from dipole.data.timeseries import ForecastTask, SeriesData, SeriesDataModule, SeriesSet, available_series, load_series
from dipole.data.timeseries.arrays import make_sets
from dipole.data.timeseries.registry import known_names
from dipole.data.timeseries.series_set import with_columns
from dipole.data.timeseries.toy import TOY_LOAD
from dipole.errors import InputError
from dipole.evaluation.long_series import embed_set, forecasts, horizons, past, represent, scaled_targets
from dipole.evaluation.materials import SeriesMaterial
from dipole.methods.base import Method
from dipole.methods.timeseries.embedding import SeriesEmbedding
from dipole.report import ForecastPlot
from dipole.report.curves import draw_curves
from dipole.runs.config import RunConfig
from dipole.runs.directory import Run
from dipole.runs.domains.base import Domain, Embeddings

MOST_SERIES, MOST_STEPS, FORECASTS = 1500, 500, 4  # of a report


class TimeSeries(Domain):
    """Series in memory: many, with or without classes, or a long one to forecast."""

    name = "timeseries"
    default_data = TOY_LOAD
    derived_view_options = ()
    derived_method_options = ("channels",)
    derived_loading_options = ("columns", "known_columns")

    @staticmethod
    def named_sets() -> Sequence[str]:
        """Return the names of the known sets."""
        return [info.name for info in available_series()]

    @staticmethod
    def loading_options(
        target: str | None = None,
        covariates: bool = True,
        window: int = 1024,
        series: str | None = None,
        known: str | None = None,
        encoding: str = "utf-8",
    ) -> None:
        """How series are read.

        Args:
            target: of one long series: the column to forecast, from its own past alone; all columns by default.
            covariates: of one long series: what the calendar says of each time is put before the columns.
            window: longer series are cut into windows of at least so many steps, and cropped to so many.
            series: column that names the series that a row is of, where a table holds several over the same times.
            known: of one long series: columns, with commas, whose values to come are known, such as `price,holiday`;
                they are not forecast, and forecasts see them.
            encoding: of a table, e.g. `latin-1`.
        """

    def data_module(self, config: RunConfig, sets: Any = None) -> SeriesDataModule:
        """Return the series of a run."""
        options = self.loading(config)
        return SeriesDataModule(
            self.read(config.data or self.default_data, config.data_root, options) if sets is None else sets,
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

    def remembered(self, data: lightning.LightningDataModule) -> dict[str, Any]:
        """The names of the columns, by which those of other data are found."""
        assert isinstance(data, SeriesDataModule)
        task = data.data.forecast
        known = {"known_columns": list(task.known_columns)} if task is not None and task.known else {}
        return {"columns": list(data.train_set.columns)} | known

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

    def read(
        self, data: str, root: str | Path | None, options: Mapping[str, Any], own: Mapping[str, Any] | None = None
    ) -> SeriesData:
        """Read series as a run does; with the columns of the run, if its own way of loading is given.

        Raises:
            InputError: other columns are known ahead than in the run.
        """
        bound = own is not None and own.get("columns") is not None
        known, learned = known_names(options.get("known")), (own or {}).get("known_columns", [])
        asked, before = (",".join(names) or "none" for names in (known, learned))
        if bound and known != learned:
            raise InputError(
                f"--loading.known {asked}: the model was trained with {before} known ahead, as it is used without that "
                "option. Train another one for other columns."
            )
        found = load_series(
            data,
            root,
            target=options["target"],
            covariates=options["covariates"],
            series=options.get("series"),
            known=options.get("known"),
            encoding=options["encoding"],
        )
        return with_columns(found, own["columns"]) if own is not None and bound else found

    def untrained(self, trained: Method, settings: RunConfig) -> Method:
        """The method before training, with the scale of the training part."""
        method = cast(SeriesEmbedding, super().untrained(trained, settings))
        method.scale_by(cast(SeriesEmbedding, trained).mean, cast(SeriesEmbedding, trained).deviation)
        return method

    def material(
        self,
        methods: Mapping[str, Method],
        settings: RunConfig,
        *,
        data: str | None = None,
        data_root: str | Path | None = None,
        protocols: Sequence[str] = (),
        progress: bool = False,
    ) -> SeriesMaterial:
        """Series with classes, or a long one to forecast."""
        options = self.loading(settings)
        source = self.read(data or settings.data, data_root or settings.data_root, options, settings.loading)
        encoders = {name: _Encoder(cast(SeriesEmbedding, method)) for name, method in methods.items()}
        trained = cast(SeriesEmbedding, methods["trained"])
        return SeriesMaterial(
            source.name,
            dict(encoders),
            settings.seed,
            progress,
            data=source,
            scaled=lambda values: trained.scaled(values.to(trained.device)).cpu(),
        )

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
        data = self.read(source, data_root, options, options)
        method = cast(SeriesEmbedding, method)
        found = Embeddings(iter(()), [(data.name, note) for note in data.notes], f"{source} holds no series.")
        if data.forecast is not None:
            found.batches = _steps(method, data.forecast, data.train.ids, batch_size)
        else:
            found.batches = _series(method, data, batch_size)
        return found

    def report_arguments(
        self, method: Method, run: Run, *, data_root: str | Path | None = None, progress: bool = False
    ) -> dict[str, Any]:
        """Embeddings of test series with their classes, or of steps of a long series, and forecasts of it."""
        settings = run.settings()
        data = self.read(settings.data, data_root or settings.data_root, self.loading(settings), settings.loading)
        method = cast(SeriesEmbedding, method)
        if data.forecast is None:
            shown = data.test or data.train
            count = min(len(shown), MOST_SERIES)
            labels = {} if shown.labels is None else {"label": shown.labels[:count]}
            return {
                "embeddings": embed_set(method, shown)[:count],
                "labels": labels,
                "class_names": {"label": shown.class_names},
                **_pictures(shown, count),
                "data": data.name,
                "scores": False,
            }
        task = data.forecast
        representations = represent(method, task)
        steps = torch.linspace(0, task.test_end - 1, min(task.test_end, MOST_STEPS)).long()
        part = (steps >= task.train_end).long() + (steps >= task.validation_end).long()
        return {
            "embeddings": representations[0, steps],
            "labels": {"part": part},
            "class_names": {"part": ("training", "validation", "test")},
            "ids": [step_name(task, step) for step in steps.tolist()],
            "forecasts": forecast_plots(method, task, representations),
            "data": data.name,
            "scores": False,
        }


class _Encoder:
    """A method as protocols of series measure it."""

    def __init__(self, method: SeriesEmbedding) -> None:
        self.method = method

    def forecast_errors(
        self, task: ForecastTask, chosen: Sequence[int]
    ) -> tuple[dict[int, tuple[float, float]], list[float]]:
        """MSE and MAE by horizon, and the α that was chosen for each."""
        found = forecasts(self.method, task, chosen)
        return {h: (each.mse, each.mae) for h, each in found.items()}, [each.alpha for each in found.values()]

    def embed_series(self, series: SeriesSet) -> Tensor:
        """Embeddings of whole series."""
        return embed_set(self.method, series)


def _pictures(shown: SeriesSet, count: int) -> dict[str, Any]:
    """Curves of series where pictures can be made, else their names."""
    if importlib.util.find_spec("PIL") is None:
        return {"texts": shown.ids[:count]}
    return {"images": draw_curves(shown.values[:count]), "ids": shown.ids[:count]}


def forecast_plots(method: SeriesEmbedding, task: ForecastTask, representations: Tensor) -> list[ForecastPlot]:
    """Return four forecasts at the two shortest horizons, of as many different columns as there are."""
    targets = scaled_targets(method, task)
    found = forecasts(method, task, horizons(task)[:2], representations)
    columns = torch.linspace(len(task.targets) - 1, 0, FORECASTS).round().long().tolist()
    plots = []
    for number, column in enumerate(columns):
        horizon = list(found)[number % len(found)]
        forecast = found[horizon]
        if len(forecast.actual) != len(targets) * (task.test_end - task.validation_end - horizon):
            continue  # gaps: which step a forecast belongs to is not known
        row = int((0.25, 0.25, 0.75, 0.75)[number] * (task.test_end - task.validation_end - horizon))
        step = task.validation_end + row
        known = range(max(0, step - 2 * horizon), step + 1)
        plots.append(
            ForecastPlot(
                f"{task.targets[column]}: {horizon} steps from {step_name(task, step)}",
                [step_name(task, at) for at in known],
                [None if v != v else v for v in targets[0, known.start : step + 1, column].tolist()],
                [step_name(task, at) for at in range(step + 1, step + 1 + horizon)],
                forecast.actual[row, :, column].tolist(),
                forecast.predicted[row, :, column].tolist(),
            )
        )
    return plots


def step_name(task: ForecastTask, step: int) -> str:
    """Return the time of a step, without a fraction of a second that is 0; its number where there are no times."""
    if task.times is None:
        return str(step)
    seconds, _, fraction = str(task.times[step]).partition(".")
    return f"{seconds}.{fraction.rstrip('0')}".rstrip(".")


def _steps(
    method: SeriesEmbedding, task: ForecastTask, names: Sequence[str], batch_size: int
) -> Iterator[tuple[dict[str, list[Any]], Tensor]]:
    """Times and representations of the steps of a long series, some at a time; of several, with their names."""
    before = past(task)
    for name, row in zip(names, task.values, strict=True):
        for start in range(0, len(row), batch_size):
            context = min(start, before)
            seen = row[None, start - context : start + batch_size].to(method.device)
            vectors = method.represent_causally(seen, padding=before, batch_size=batch_size)[0, context:]
            times = [step_name(task, start + step) for step in range(len(vectors))]
            yield {"id": times if len(names) == 1 else [f"{name} {time}" for time in times]}, vectors


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
