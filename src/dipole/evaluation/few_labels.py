"""What embeddings are worth where few samples have a label: the part that is the same for all fields."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from dipole.errors import InputError
from dipole.evaluation.intervals import mean_interval
from dipole.evaluation.linear_probe import linear_probe
from dipole.evaluation.protocol import Measured, Picture, Protocol
from dipole.ops.checks import check_at_least

TEST_SHARE = 0.5  # of the samples, where nothing says which ones test


class Divided(NamedTuple):
    """Embeddings of samples with classes, divided once.

    Attributes:
        features: by encoder, those that labels are drawn from (N, D), and those of the test (M, D).
        train: (N,) classes of the first, negative where unknown; such samples are never drawn.
        test: (M,) classes of the second.
    """

    features: Mapping[str, tuple[Tensor, Tensor]]
    train: Tensor
    test: Tensor


class FewLabelsOf(Protocol):
    """Accuracy of a linear classifier that learns from few labelled samples of each class, by the number of labels.

    Samples are drawn anew some times, the same ones for all encoders. Means over the draws, with 95 % intervals.
    Numbers of labels that a class has too few samples for are left out and named.

    Args:
        shots: labelled samples of each class, with commas.
        draws: of the samples.
    """

    by_default: ClassVar[bool] = False

    def __init__(self, shots: str = "1,5,10,50", draws: int = 10) -> None:
        check_at_least(draws, 2, "draws")
        try:
            self.shots = [int(part) for part in shots.split(",")]
        except ValueError as error:
            raise InputError(f"shots are {shots!r}: expected whole numbers with commas, such as 1,5,10.") from error
        check_at_least(min(self.shots), 1, "shots")
        self.draws = draws

    @abstractmethod
    def divided(self, material: Any) -> dict[str, Divided]:
        """Return what is measured, by what stands before the columns; an empty text for one thing alone."""

    def measure(self, material: Any) -> Measured:
        """Return a column for each number of labels."""
        parts = self.divided(material)
        fewest = min(int(part.train[part.train >= 0].unique(return_counts=True)[1].min()) for part in parts.values())
        possible = [count for count in self.shots if count <= fewest]
        if not possible:
            raise InputError(
                f"{min(self.shots)} labelled samples of each class were asked for, and a class has {fewest} to draw "
                "from: ask for fewer with --protocol.shots."
            )
        names = list(dict.fromkeys(name for part in parts.values() for name in part.features))
        rows: dict[str, dict[str, float]] = {name: {} for name in names}
        intervals: dict[str, dict[str, tuple[float, float]]] = {name: {} for name in names}
        for before, part in parts.items():
            for count in possible:
                for name, found in self._accuracies(part, count, material.seed).items():
                    mean, half = mean_interval(found)
                    rows[name][heading(before, count)] = mean
                    intervals[name][heading(before, count)] = (mean - half, mean + half)
        left_out = [count for count in self.shots if count not in possible]
        settings: dict[str, Any] = {"draws": self.draws}
        if left_out:
            listed = ", ".join(map(str, left_out))
            settings["shots left out"] = f"{listed}: a class has {fewest} samples to draw from"
        pictures = tuple(self._picture(before, possible, rows, intervals) for before in parts)
        return Measured(rows, settings, intervals, pictures)

    def _accuracies(self, part: Divided, count: int, seed: int) -> dict[str, Tensor]:
        """Accuracies (draws,) of every encoder."""
        known = part.test >= 0
        chosen = [draw_of_each(part.train, count, seed=seed + number) for number in range(self.draws)]
        return {
            name: torch.tensor(
                [
                    linear_probe(train[own], part.train[own], test[known], part.test[known], seed=seed).accuracy
                    for own in chosen
                ],
                dtype=torch.float64,
            )
            for name, (train, test) in part.features.items()
        }

    def _picture(
        self,
        before: str,
        shots: list[int],
        rows: dict[str, dict[str, float]],
        intervals: dict[str, dict[str, tuple[float, float]]],
    ) -> Picture:
        """Accuracy against the number of labels."""
        columns = [heading(before, count) for count in shots]
        traces = [
            {
                "x": shots,
                "y": [row[column] for column in columns],
                "error_y": {"type": "data", "array": [intervals[name][each][1] - row[each] for each in columns]},
                "name": name,
                "mode": "lines+markers",
            }
            for name, row in rows.items()
            if columns[0] in row
        ]
        ticks = {"type": "log", "tickvals": shots, "ticktext": [str(count) for count in shots]}
        return Picture(
            f"Accuracy with few labels{f' of {before}' if before else ''}",
            f"A linear classifier on frozen features; mean of {self.draws} draws with 95 % intervals.",
            {"data": traces, "x": "labelled samples of each class", "y": "accuracy", "xaxis": ticks},
        )


def divided_at_random(features: Mapping[str, Tensor], labels: Tensor, *, seed: int) -> Divided:
    """Divide samples with classes into those to draw from and as many to test on, class by class.

    Args:
        features: (N, D) of every encoder.
        labels: (N,), negative where unknown.
        seed: of the draw.

    Raises:
        InputError: a class has one sample.

    Example:
        >>> divided = divided_at_random({"trained": torch.eye(6)}, torch.tensor([0, 0, 1, 1, 1, -1]), seed=0)
        >>> divided.train.tolist(), divided.test.tolist()
        ([0, 1], [0, 1, 1])
    """
    generator = torch.Generator().manual_seed(seed)
    train, test = [], []
    for value in labels[labels >= 0].unique():
        members = (labels == value).nonzero().flatten()
        if len(members) < 2:
            raise InputError("a class has one sample: there is none left to test on. Leave the class out.")
        order = members[torch.randperm(len(members), generator=generator)]
        first = int(len(order) * (1 - TEST_SHARE))
        train.append(order[:first])
        test.append(order[first:])
    own, others = torch.cat(train), torch.cat(test)
    parts = {name: (rows[own].float(), rows[others].float()) for name, rows in features.items()}
    return Divided(parts, labels[own], labels[others])


def heading(before: str, count: int) -> str:
    """Return the heading of a number of labels.

    Example:
        >>> heading("", 1), heading("image", 5)
        ('1 label', 'image 5 labels')
    """
    return f"{before} {count} label{'s' if count > 1 else ''}".strip()


def draw_of_each(labels: Tensor, count: int, *, seed: int) -> Tensor:
    """Return the indices of `count` samples of each class, drawn without replacement.

    Args:
        labels: (N,), negative where unknown.
        count: of each class.
        seed: of the draw.

    Example:
        >>> draw_of_each(torch.tensor([0, 1, 0, 1]), 1, seed=0).remainder(2).tolist()
        [0, 1]
    """
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for value in labels[labels >= 0].unique():
        members = (labels == value).nonzero().flatten()
        parts.append(members[torch.randperm(len(members), generator=generator)[:count]])
    return torch.cat(parts)
