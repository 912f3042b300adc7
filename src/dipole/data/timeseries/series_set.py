"""Time series in memory: many short ones, or one long one to forecast."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from dipole.errors import InputError


@dataclass(frozen=True)
class SeriesSet:
    """Series of as many channels, side by side.

    Args:
        name: of the set.
        values: (N, T, C) float32, as measured; NaN where a value is missing, also behind the end of a shorter series.
        columns: C names.
        labels: (N,) classes, or None.
        class_names: names of the classes.
        ids: N names of the series.

    Raises:
        InputError: there is nothing in it, or a value is infinite.

    Example:
        >>> SeriesSet("waves", torch.zeros(3, 50, 2), ("x", "y"))
        SeriesSet('waves', 3 series, 50 steps, columns x, y)
    """

    name: str
    values: Float[Tensor, "n t c"]
    columns: tuple[str, ...]
    labels: Int64[Tensor, "n"] | None = None
    class_names: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.values.ndim != 3 or self.values.numel() == 0:
            raise InputError(f"{self.name} has shape {tuple(self.values.shape)}: expected (N, T, C), none of them 0.")
        if bool(self.values.isinf().any()):
            raise InputError(f"{self.name} holds infinite values: write gaps as NaN.")
        if bool(self.values.isnan().all()):
            raise InputError(f"{self.name} holds no value at all: every one of them is missing.")

    def __len__(self) -> int:
        return len(self.values)

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Return a batch: `series` (B, T, C) and `index` (B,)."""
        index = torch.as_tensor(indices)
        return {"series": self.values[index], "index": index}

    def __repr__(self) -> str:
        _, steps, _ = self.values.shape
        return f"SeriesSet({self.name!r}, {len(self)} series, {steps} steps, columns {', '.join(self.columns)})"

    @property
    def num_classes(self) -> int:
        """Number of classes; 0 without labels."""
        return len(self.class_names)


@dataclass(frozen=True)
class ForecastTask:
    """One long series, or several of the same time, in three parts that follow each other.

    Args:
        values: (N, T, C) float32: covariates, which are known ahead, then the columns to forecast.
        columns: C names.
        covariates: number of covariates.
        train_end: first step after the training part.
        validation_end: first step after the validation part.
        test_end: first step after the test part.
        times: (T,) datetime64, or None.
        known: the last K of the covariates, whose values to come are given to a forecast.

    Raises:
        InputError: a part is empty, or the training part of a column holds no value.
    """

    values: Float[Tensor, "n t c"]
    columns: tuple[str, ...]
    covariates: int
    train_end: int
    validation_end: int
    test_end: int
    times: np.ndarray | None = None
    known: int = 0

    def __post_init__(self) -> None:
        steps = self.values.shape[1]
        if not 0 < self.train_end < self.validation_end < self.test_end <= steps:
            raise InputError(
                f"{steps} steps are too few for a training, a validation and a test part: use a longer series."
            )
        empty = self.values[:, : self.train_end].isnan().all(dim=1).any(dim=0).nonzero()
        if len(empty):
            raise InputError(f"column {self.columns[int(empty[0])]!r} holds no value in the training part.")

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the columns to forecast."""
        return self.columns[self.covariates :]

    @property
    def known_columns(self) -> tuple[str, ...]:
        """Names of the columns that are known ahead, without the calendar."""
        return self.columns[self.covariates - self.known : self.covariates]


@dataclass(frozen=True)
class SeriesData:
    """What `load_series` reads.

    Args:
        train: to train on.
        test: to test with, if the data have a test part of whole series.
        forecast: the long series that `train` is the beginning of.
        notes: what had to be put right.
    """

    train: SeriesSet
    test: SeriesSet | None = None
    forecast: ForecastTask | None = None
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the data."""
        return self.train.name


def present(values: Float[Tensor, "n t c"]) -> Bool[Tensor, "n t"]:
    """Return which steps hold a value: with a NaN in every channel a step is a gap.

    Example:
        >>> present(torch.tensor([[[1.0], [torch.nan]]]))
        tensor([[ True, False]])
    """
    return ~values.isnan().all(dim=2)


def statistics(values: Float[Tensor, "n t c"]) -> tuple[Float[Tensor, "c"], Float[Tensor, "c"]]:
    """Return mean and standard deviation of every channel, gaps left out; a constant channel has the deviation 1.

    Args:
        values: (N, T, C) of the training part alone.

    Example:
        >>> statistics(torch.tensor([[[1.0, 5.0], [3.0, 5.0], [torch.nan, 5.0]]]))
        (tensor([2., 5.]), tensor([1., 1.]))
    """
    flat = values.flatten(0, 1).double()
    mean = flat.nanmean(dim=0)
    deviation = (flat - mean).square().nanmean(dim=0).sqrt()
    # What rounding leaves of a constant column is no deviation.
    constant = deviation <= 1e-7 * mean.abs()
    known = mean.isfinite()
    return mean.where(known, 0).to(values.dtype), deviation.where(known & ~constant, 1).to(values.dtype)


def windows(values: Float[Tensor, "n t c"], length: int) -> Float[Tensor, "m l c"]:
    """Cut series into equal parts of at least `length` steps, and leave out parts that hold no value.

    ⌊T / length⌋ parts of each; the shorter ones end with a missing step. Series of less than two lengths stay whole.

    Yue et al.: *TS2Vec* (AAAI 2022).

    Args:
        values: (N, T, C).
        length: shortest part.

    Raises:
        InputError: the length is below 1.

    Example:
        >>> windows(torch.arange(7.0)[None, :, None], 3).squeeze(2)
        tensor([[0., 1., 2., 3.],
                [4., 5., 6., nan]])
    """
    if length < 1:
        raise InputError(f"window is {length}: expected a number of steps of at least 1.")
    sections = values.shape[1] // length
    if sections >= 2:
        parts = values.tensor_split(sections, dim=1)
        longest = parts[0].shape[1]
        filled = [torch.nn.functional.pad(x, (0, 0, 0, longest - x.shape[1]), value=torch.nan) for x in parts]
        values = torch.cat(filled)
    return values[present(values).any(dim=1)]


def with_columns(data: SeriesData, columns: Sequence[str]) -> SeriesData:
    """Return data with the columns of a model, found by their names; others are left out, which a note says.

    Columns that have numbers for names, those of arrays, have no order but their own.

    Args:
        data: with these columns among its own.
        columns: names, in the order of the model.

    Raises:
        InputError: a column is missing.
    """
    own = data.train.columns
    if tuple(columns) == own or any(all(name.isdigit() for name in names) for names in (own, columns)):
        return data
    missing = [name for name in columns if name not in own]
    if missing:
        raise InputError(
            f"{data.name} has the columns {', '.join(own)}: it lacks {', '.join(missing)}, which the model was trained "
            "on. Columns are found by their names."
        )
    places = [own.index(name) for name in columns]
    left_out = [name for name in own if name not in columns]
    notes = (f"columns that the model does not know are left out: {', '.join(left_out)}",) if left_out else ()

    def chosen(part: SeriesSet | None) -> SeriesSet | None:
        return None if part is None else replace(part, values=part.values[:, :, places], columns=tuple(columns))

    task = data.forecast
    if task is not None:
        covariates = sum(place < task.covariates for place in places)
        known = sum(task.covariates - task.known <= place < task.covariates for place in places)
        values = task.values[:, :, places]
        task = replace(task, values=values, columns=tuple(columns), covariates=covariates, known=known)
    train = chosen(data.train)
    assert train is not None, "data have a training part"
    return SeriesData(train, chosen(data.test), task, (*data.notes, *notes))
