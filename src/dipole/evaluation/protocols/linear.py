"""A linear classifier on frozen features."""

from typing import Any, ClassVar

from dipole.evaluation.linear_probe import linear_probe
from dipole.evaluation.materials import ImageMaterial
from dipole.evaluation.protocol import Measured, Protocol
from dipole.evaluation.protocols.knn import NO_CLASSES


class Linear(Protocol):
    """Accuracy of multinomial logistic regression, see `linear_probe`."""

    name: ClassVar[str] = "linear"
    domains = ("images",)
    measures = "embed"
    place = 10

    def lacks(self, material: ImageMaterial) -> str | None:
        """Two classes."""
        return None if material.labelled is not None else NO_CLASSES

    def measure(self, material: ImageMaterial) -> Measured:
        """Return the column `linear`; the settings say which regularisation each row has chosen."""
        labels = material.labelled
        assert labels is not None, "lacks() says so"
        rows: dict[str, dict[str, float]] = {}
        chosen: dict[str, dict[str, Any]] = {"regularisation": {}, "validation_accuracy": {}}
        for name, (train, test) in material.features.items():
            found = linear_probe(train, labels.train, test, labels.test, seed=material.seed)
            rows[name] = {"linear": found.accuracy}
            chosen["regularisation"][name] = found.regularisation
            chosen["validation_accuracy"][name] = found.validation_accuracy
        return Measured(rows, {"linear": chosen})
