"""The classifier that a run has trained itself."""

from typing import ClassVar

from dipole.evaluation.embedding import embed_image_set
from dipole.evaluation.materials import ImageMaterial
from dipole.evaluation.protocol import Measured, Protocol
from dipole.evaluation.protocols.knn import NO_CLASSES


class Classifier(Protocol):
    """Accuracy and macro F1 of a run's own classifier on the test images, beside the most frequent class."""

    name: ClassVar[str] = "classifier"
    domains = ("images",)
    measures = "classify"
    by_default = False
    place = 5

    @classmethod
    def suits(cls, material: ImageMaterial) -> bool:
        """Whether there is a classifier."""
        return bool(material.able(cls.measures)) and material.labelled is not None

    def lacks(self, material: ImageMaterial) -> str | None:
        """Classes, and a classifier."""
        if material.labelled is None:
            return NO_CLASSES
        return None if self.suits(material) else "the run has no classifier: `dipole train classify` makes one"

    def measure(self, material: ImageMaterial) -> Measured:
        """Return the columns `classifier` and `macro F1`."""
        from sklearn.metrics import f1_score

        labels = material.labelled
        assert labels is not None, "lacks() says so"
        found = {"most frequent class": labels.train.bincount().argmax().expand(len(labels.test))}
        for name, one in material.able(self.measures).items():
            logits = embed_image_set(
                one.classify, material.test, material.image_size, device=material.device, progress=material.progress
            )
            found[name] = logits.argmax(dim=1)
        rows = {
            name: {
                "classifier": float((predicted == labels.test).double().mean()),
                "macro F1": float(f1_score(labels.test, predicted, average="macro", zero_division=0)),
            }
            for name, predicted in found.items()
        }
        return Measured(rows)
