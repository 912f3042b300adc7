"""Regression of targets."""

from typing import ClassVar

from dipole.evaluation.materials import ImageMaterial
from dipole.evaluation.protocol import Measured, Picture, Protocol
from dipole.evaluation.regression import label_density, label_order, regression_errors, ridge_predictions
from dipole.ops.checks import check_at_least


class Regression(Protocol):
    """Errors of a ridge regression on frozen features, also by how many training images have a label, and the order.

    The order is Spearman's correlation of distances between features and between targets. A row of its own has the
    median of the training targets as the prediction.

    Args:
        bin_width: of the bin in which labels are counted, in units of the targets.
    """

    name: ClassVar[str] = "regression"
    domains = ("images",)
    measures = "embed"
    by_default = False

    def __init__(self, bin_width: float = 1.0) -> None:
        check_at_least(bin_width, 1e-12, "bin_width")
        self.bin_width = bin_width

    @classmethod
    def suits(cls, material: ImageMaterial) -> bool:
        """Whether there are targets."""
        return "target" in getattr(material.train, "numbers", {})

    def lacks(self, material: ImageMaterial) -> str | None:
        """Targets."""
        if self.suits(material):
            return None
        return "there are no targets: the method of the run learns from classes, not from numbers"

    def measure(self, material: ImageMaterial) -> Measured:
        """Return the columns `MAE`, `RMSE`, `geometric error`, `order` and the errors by shots."""
        own, others = material.train.numbers["target"], material.test.numbers["target"]  # type: ignore[attr-defined]
        rows: dict[str, dict[str, float]] = {}
        density = label_density(others, own, self.bin_width)
        traces = []
        predicted = {name: ridge_predictions(a, own, b) for name, (a, b) in material.features.items()}
        for name, values in {**predicted, "median target": own.median().expand(len(others))}.items():
            found = regression_errors(values, others, own, bin_width=self.bin_width)
            rows[name] = {"MAE": found.mae, "RMSE": found.rmse, "geometric error": found.geometric}
            rows[name] |= {f"MAE {group}": value for group, value in found.by_shots.items()}
            if name in material.features:
                rows[name]["order"] = label_order(material.features[name][1], others, seed=material.seed)
                error = (values - others).abs()
                levels = density.unique()
                means = [float(error[density == level].mean()) for level in levels]
                traces.append({"x": levels.tolist(), "y": means, "name": name, "mode": "markers"})
        picture = Picture(
            "Error against label density",
            f"Mean absolute error of test images by the training images whose target is in the same bin of "
            f"{self.bin_width:g}.",
            {"data": traces, "x": "training images in the label's bin", "y": "mean absolute error"},
        )
        return Measured(rows, {"regression": {"bin_width": self.bin_width}}, pictures=(picture,))
