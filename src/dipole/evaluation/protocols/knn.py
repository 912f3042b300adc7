"""Nearest neighbours."""

from typing import ClassVar

from dipole.evaluation.knn import TEMPERATURE, K, knn_accuracy
from dipole.evaluation.materials import ImageMaterial
from dipole.evaluation.protocol import Measured, Protocol

NO_CLASSES = "there are no labels of two or more classes"


class KNN(Protocol):
    """Accuracy of weighted k nearest neighbours by cosine, see `weighted_knn`. Nothing is trained.

    Args:
        k: neighbours; all training images if there are fewer.
        temperature: of the weights.
    """

    name: ClassVar[str] = "knn"
    domains = ("images",)
    measures = "embed"
    place = 0

    def __init__(self, k: int = K, temperature: float = TEMPERATURE) -> None:
        self.k, self.temperature = k, temperature

    def lacks(self, material: ImageMaterial) -> str | None:
        """Two classes."""
        return None if material.labelled is not None else NO_CLASSES

    def measure(self, material: ImageMaterial) -> Measured:
        """Return the column `knn`."""
        labels = material.labelled
        assert labels is not None, "lacks() says so"
        rows = {
            name: {"knn": knn_accuracy(train, labels.train, test, labels.test, k=self.k, temperature=self.temperature)}
            for name, (train, test) in material.features.items()
        }
        return Measured(rows, {"knn": {"k": min(self.k, len(labels.train)), "temperature": self.temperature}})
