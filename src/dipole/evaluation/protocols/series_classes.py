"""Classes of series."""

from typing import ClassVar

from dipole.evaluation.materials import SeriesMaterial
from dipole.evaluation.protocol import Measured, Protocol
from dipole.evaluation.svm import svm_classification


class SeriesClasses(Protocol):
    """Accuracy of a support vector machine on embeddings of whole series, see `svm_classification`.

    A baseline that is a classifier itself is measured as it is (`classify_series`).
    """

    name: ClassVar[str] = "classification"
    domains = ("timeseries",)
    measures = "embed_series"
    place = 10

    def lacks(self, material: SeriesMaterial) -> str | None:
        """Training and test series with two classes."""
        data = material.data
        if data.forecast is not None:
            return "it is one long series: choose 'forecast'"
        if data.test is None or data.train.labels is None or data.test.labels is None or data.train.num_classes < 2:
            return "it has no labels of two or more classes"
        return None

    def measure(self, material: SeriesMaterial) -> Measured:
        """Return the column `accuracy`."""
        train, test = material.data.train, material.data.test
        assert test is not None, "lacks() says so"
        assert train.labels is not None, "lacks() says so"
        assert test.labels is not None, "lacks() says so"
        rows: dict[str, dict[str, float]] = {name: {} for name in material.candidates}
        costs = {}
        for name, candidate in material.able("classify_series").items():
            rows[name]["accuracy"] = candidate.classify_series(train, test)
        for name, candidate in material.able(self.measures).items():
            embedded = candidate.embed_series(train), candidate.embed_series(test)
            found = svm_classification(embedded[0], train.labels, embedded[1], test.labels)
            rows[name], costs[name] = {"accuracy": found.accuracy}, found.cost
        return Measured(rows, {"train_series": len(train), "test_series": len(test), "cost": costs})
