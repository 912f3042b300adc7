"""Classes that are only named."""

from collections import Counter
from typing import ClassVar

import torch

from dipole.evaluation.materials import ModalityMaterial
from dipole.evaluation.modal import ModalCandidate, Shares, rows_of
from dipole.evaluation.protocol import Measured, Protocol


class ZeroShot(Protocol):
    """Accuracy of naming the class of each modality by prompts of the first text modality.

    Beside it: guessing, and always naming the largest class (top-5: the five largest).
    """

    name: ClassVar[str] = "zero-shot"
    domains = ("multimodal",)
    measures = "items"
    place = 10

    def lacks(self, material: ModalityMaterial) -> str | None:
        """Two classes, and texts to name them by."""
        if len(_classes(material)) < 2:
            return "there are no labels of two or more classes"
        if all(one.text is None for one in material.able(self.measures).values()):
            return "there is no modality of texts"
        return None

    def measure(self, material: ModalityMaterial) -> Measured:
        """Return top-1 and, of more than five classes, top-5 for each modality, and what chance would give."""
        classes = _classes(material)
        shares = {name: Shares() for name in material.able(self.measures)}
        for name, candidate in material.able(self.measures).items():
            prompts = candidate.classes(classes, material.templates)
            for modality in candidate.items:
                if modality != candidate.text:
                    _add(shares[name], candidate, modality, classes, prompts, material.labels or [])
        rows = rows_of(shares)
        largest = {column: _largest(material, column) for column in rows["chance"]}
        return Measured(
            {**rows, "largest class": largest}, {"rows": material.rows, "templates": list(material.templates)}
        )


def _classes(material: ModalityMaterial) -> list[str]:
    """Names of the classes."""
    return sorted({label for label in material.labels or () if label is not None})


def _largest(material: ModalityMaterial, column: str) -> float:
    """The share of a modality's labelled rows that are of the largest class, or of the five largest."""
    modality, _, k = column.partition(" zero-shot top-")
    items = next(one.items[modality] for one in material.able("items").values() if modality in one.items)
    labels = [label for row, label in enumerate(material.labels or ()) if label is not None and items.rows[row]]
    return sum(count for _, count in Counter(labels).most_common(int(k))) / len(labels)


def _add(
    shares: Shares,
    candidate: ModalCandidate,
    name: str,
    classes: list[str],
    prompts: torch.Tensor,
    labels: list[str | None],
) -> None:
    """Add the shares of one modality."""
    items = candidate.items[name]
    rows = [row for row, label in enumerate(labels) if items.rows[row] and label is not None]
    if not rows or candidate.text is None:
        return
    queries = candidate.queries({name: torch.stack([items.first(row) for row in rows])}, candidate.text)
    if queries is not None:
        names = {f"{name} zero-shot top-{k}": k for k in (1, 5) if k < len(classes)}
        shares.add(names, candidate, queries, prompts, [[classes.index(str(labels[row]))] for row in rows])
