"""Classes of different sizes."""

from typing import ClassVar

import torch

from dipole.evaluation.long_tail import ldam_predictions, shot_groups
from dipole.evaluation.materials import ImageMaterial
from dipole.evaluation.protocol import Measured, Picture, Protocol
from dipole.evaluation.protocols.knn import NO_CLASSES
from dipole.ops.checks import check_at_least

LEAST_RATIO = 10  # of the largest to the smallest class


class LongTail(Protocol):
    """Accuracy of a cosine classifier learned with LDAM's margins and weights: all, mean of classes, and by shots.

    Groups are classes with more than 100, 20 to 100, and fewer than 20 training images. It runs unasked where the
    largest class is ten times the smallest one or more.

    Args:
        epochs: of the classifier.
    """

    name: ClassVar[str] = "long-tail"
    domains = ("images",)
    measures = "embed"
    by_default = False

    def __init__(self, epochs: int = 200) -> None:
        check_at_least(epochs, 1, "epochs")
        self.epochs = epochs

    @classmethod
    def suits(cls, material: ImageMaterial) -> bool:
        """Whether classes differ much in size."""
        labels = material.labelled
        if labels is None:
            return False
        counts = torch.bincount(labels.train)
        return bool(counts.min() > 0 and counts.max() >= LEAST_RATIO * counts.min())

    def lacks(self, material: ImageMaterial) -> str | None:
        """Two classes."""
        return None if material.labelled is not None else NO_CLASSES

    def measure(self, material: ImageMaterial) -> Measured:
        """Return the columns `LDAM`, `balanced`, and one for each group."""
        labels = material.labelled
        assert labels is not None, "lacks() says so"
        counts = torch.bincount(labels.train, minlength=len(labels.names))
        rows: dict[str, dict[str, float]] = {}
        traces = []
        for name, (train, test) in material.features.items():
            right = ldam_predictions(train, labels.train, test, epochs=self.epochs, seed=material.seed) == labels.test
            seen = labels.test.unique()
            shares = torch.stack([right[labels.test == value].double().mean() for value in seen])
            rows[name] = {"LDAM": float(right.double().mean()), "balanced": float(shares.mean())}
            for group, classes in shot_groups(counts).items():
                mask = torch.isin(labels.test, classes)
                if bool(mask.any()):
                    rows[name][group] = float(right[mask].double().mean())
            traces.append({"x": counts[seen].tolist(), "y": shares.tolist(), "name": name, "mode": "markers"})
        picture = Picture(
            "Accuracy against class size",
            "Each point is a class. A cosine classifier on frozen features, learned with LDAM's margins.",
            {"data": traces, "x": "training images of the class", "y": "accuracy", "xaxis": {"type": "log"}},
        )
        return Measured(rows, {"long-tail": {"epochs": self.epochs}}, pictures=(picture,))
