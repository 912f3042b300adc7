"""Classes that are only named."""

from typing import ClassVar

import torch

from dipole.evaluation.materials import ModalityMaterial
from dipole.evaluation.modal import ModalCandidate, Shares, rows_of
from dipole.evaluation.protocol import Measured, Protocol


class ZeroShot(Protocol):
    """Accuracy of naming the class of each modality by prompts of the first text modality."""

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
        return Measured(rows_of(shares), {"rows": material.rows, "templates": list(material.templates)})


def _classes(material: ModalityMaterial) -> list[str]:
    """Names of the classes."""
    return sorted({label for label in material.labels or () if label is not None})


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
