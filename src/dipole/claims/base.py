"""What a claim is: arms that are trained, and comparisons between them that were decided before the runs."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from dipole.errors import InputError

# (trained method, what it was trained on, what it is measured on, arm) -> further metrics
Measure = Callable[[Any, Any, Any, "Arm"], dict[str, float]]
Metrics = dict[str, Any]


class Data(ABC):
    """Data of an experiment, and how an arm is run on them once. A dataclass, so that results can name its settings.

    Attributes:
        name: of a data set.
        tuning_metric: by which a learning rate is chosen, higher being better.
        tuning: how it is chosen, in words.
        runs_method: whether an arm is a run of its method; if not, its options are the experiment's own.
    """

    runs_method: ClassVar[bool] = True
    name: str
    tuning_metric: ClassVar[str]
    tuning: ClassVar[str]

    @property
    def label(self) -> str:
        """Name of the data in the result."""
        return self.name

    @abstractmethod
    def load(self, data_root: str | Path | None = None) -> Any:
        """Return the data.

        Raises:
            InputError: the files of the data set are not in `data_root`.
        """

    @abstractmethod
    def size(self, loaded: Any) -> int:
        """Return the number of samples that an encoder is trained on."""

    @abstractmethod
    def once(self, claim: "Claim", arm: "Arm", rate: float, seed: int, loaded: Any, *, tune: bool) -> Metrics:
        """Run an arm with one learning rate and seed; runs that tune must not look at the test data."""

    def references(self, claim: "Claim", arm: "Arm", loaded: Any) -> dict[str, dict[str, float]]:
        """Return the metrics of what training must beat, by name."""
        return {}


@dataclass(frozen=True)
class Arm:
    """One way of training, repeated over seeds.

    Args:
        name: within the claim.
        method: name of the method.
        data: what it is trained on.
        epochs: passes over the training data.
        batch_size: samples per step.
        options: arguments of the method, the learning rate apart.
        learning_rates: the grid; the best by the data's tuning metric is taken. A single one is taken as it is.
        views: arguments of the views.
    """

    name: str
    method: str
    data: Data
    epochs: int
    batch_size: int
    learning_rates: tuple[float, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    views: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """A difference between two arms that the paper leads one to expect.

    Args:
        name: what is compared, in words.
        treatment: name of the arm that is expected to differ.
        baseline: name of the arm that it is compared with.
        metric: of which the difference, treatment − baseline, is taken.
        expected: `"higher"` or `"lower"`: the sign of the difference; `"not lower"`: down to minus the margin.
        margin: the smallest difference, in the expected direction, that would matter in practice.
        judged: whether it counts for the verdict of the claim; otherwise it is reported only.
    """

    name: str
    treatment: str
    baseline: str
    metric: str
    expected: str = "higher"
    margin: float = 0.0
    judged: bool = True


@dataclass(frozen=True)
class Claim:
    """What a paper claims and the experiment that tests it.

    Args:
        slug: of the paper; the name of the claim and of its result.
        title: the paper.
        statement: the claim in one or two sentences, as it is tested here.
        paper: the paper's own numbers.
        arms: what is trained.
        comparisons: what is judged; decided before the runs.
        seeds: of the paired runs.
        tuning_seed: of the runs that choose the learning rate.
        neighbours: k of the kNN accuracy.
        notes: decisions about the experiment and known limits.
        measure: further metrics of a trained method: `(method, train, test, arm) -> {name: value}`.
    """

    slug: str
    title: str
    statement: str
    paper: str
    arms: tuple[Arm, ...]
    comparisons: tuple[Comparison, ...]
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    tuning_seed: int = 100
    neighbours: int = 10
    notes: tuple[str, ...] = ()
    measure: Measure | None = None

    def __post_init__(self) -> None:
        names = [arm.name for arm in self.arms]
        used = {name for entry in self.comparisons for name in (entry.treatment, entry.baseline)}
        if len(set(names)) < len(names) or not used <= set(names):
            raise InputError(f"{self.slug}: comparisons use {sorted(used)}, but the arms are {names}.")
        if self.tuning_seed in self.seeds:
            raise InputError(f"{self.slug}: seed {self.tuning_seed} chooses the learning rate and cannot be judged by.")

    @property
    def data(self) -> tuple[str, ...]:
        """Names of the data sets, in the order of the arms."""
        return tuple(dict.fromkeys(arm.data.name for arm in self.arms))


def metrics_by_seed(rows: Sequence[Mapping[str, Any]], metric: str) -> Tensor:
    """Return one metric (S,) of the runs of an arm, in double precision.

    Raises:
        InputError: a run does not have the metric.

    Example:
        >>> metrics_by_seed([{"seed": 0, "knn": 0.5}, {"seed": 1, "knn": 1.0}], "knn")
        tensor([0.5000, 1.0000], dtype=torch.float64)
    """
    missing = [row["seed"] for row in rows if metric not in row]
    if missing:
        raise InputError(f"there is no metric {metric!r} for seed {missing[0]}: it has {', '.join(sorted(rows[0]))}.")
    return torch.tensor([row[metric] for row in rows], dtype=torch.float64)
