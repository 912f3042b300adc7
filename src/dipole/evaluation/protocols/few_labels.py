"""What the features are worth where few samples have a label."""

from typing import ClassVar

import torch
from torch import Tensor

from dipole.errors import InputError
from dipole.evaluation.intervals import mean_interval
from dipole.evaluation.linear_probe import linear_probe
from dipole.evaluation.materials import ImageMaterial
from dipole.evaluation.protocol import Measured, Picture, Protocol
from dipole.evaluation.protocols.knn import NO_CLASSES
from dipole.ops.checks import check_at_least


class FewLabels(Protocol):
    """Accuracy of a linear classifier that learns from 1, 5 and 10 labelled training images of each class.

    Images are drawn anew some times, the same ones for all encoders. Means over the draws, with 95 % intervals.

    Args:
        shots: labelled images of each class, with commas.
        draws: of the images.
    """

    name: ClassVar[str] = "few-labels"
    domains = ("images",)
    measures = "embed"
    by_default = False

    def __init__(self, shots: str = "1,5,10", draws: int = 10) -> None:
        check_at_least(draws, 2, "draws")
        try:
            self.shots = [int(part) for part in shots.split(",")]
        except ValueError as error:
            raise InputError(f"shots are {shots!r}: expected whole numbers with commas, such as 1,5,10.") from error
        check_at_least(min(self.shots), 1, "shots")
        self.draws = draws

    def lacks(self, material: ImageMaterial) -> str | None:
        """Two classes."""
        return None if material.labelled is not None else NO_CLASSES

    def measure(self, material: ImageMaterial) -> Measured:
        """Return a column for each number of labels."""
        labels = material.labelled
        assert labels is not None, "lacks() says so"
        fewest = int(labels.train[labels.train >= 0].bincount()[labels.train.unique()].min())
        if max(self.shots) > fewest:
            raise InputError(
                f"{max(self.shots)} images of each class were asked for, and a class has {fewest} training images: ask "
                "for fewer with --protocol.shots."
            )
        rows: dict[str, dict[str, float]] = {name: {} for name in material.features}
        intervals: dict[str, dict[str, tuple[float, float]]] = {name: {} for name in rows}
        for shots in self.shots:
            chosen = [draw_of_each(labels.train, shots, seed=material.seed + number) for number in range(self.draws)]
            for name, (train, test) in material.features.items():
                found = torch.tensor(
                    [
                        linear_probe(train[own], labels.train[own], test, labels.test, seed=material.seed).accuracy
                        for own in chosen
                    ],
                    dtype=torch.float64,
                )
                mean, half = mean_interval(found)
                rows[name][column(shots)] = mean
                intervals[name][column(shots)] = (mean - half, mean + half)
        return Measured(rows, {"draws": self.draws}, intervals, (self._picture(rows, intervals),))

    def _picture(
        self, rows: dict[str, dict[str, float]], intervals: dict[str, dict[str, tuple[float, float]]]
    ) -> Picture:
        """Accuracy against the number of labels."""
        traces = [
            {
                "x": self.shots,
                "y": [row[column(shots)] for shots in self.shots],
                "error_y": {
                    "type": "data",
                    "array": [intervals[name][column(n)][1] - row[column(n)] for n in self.shots],
                },
                "name": name,
                "mode": "lines+markers",
            }
            for name, row in rows.items()
        ]
        return Picture(
            "Accuracy with few labels",
            f"A linear classifier on frozen features; mean of {self.draws} draws with 95 % intervals.",
            {"data": traces, "x": "labelled images of each class", "y": "accuracy", "xaxis": {"tickvals": self.shots}},
        )


def column(shots: int) -> str:
    """Return the heading of a number of labels.

    Example:
        >>> column(1), column(5)
        ('1 label', '5 labels')
    """
    return f"{shots} label{'s' if shots > 1 else ''}"


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
