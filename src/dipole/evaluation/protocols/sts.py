"""Semantic similarity of sentences."""

from pathlib import Path
from typing import Any, ClassVar

import torch

from dipole.data.text import load_sts
from dipole.data.text.registry import is_retrieval
from dipole.diagnostics import alignment, uniformity
from dipole.evaluation.materials import TextMaterial
from dipole.evaluation.protocol import Measured, Protocol
from dipole.evaluation.sts import evaluate_sts

SIMILAR = 4  # pairs with a higher gold score are positives of the alignment, as in SimCSE


class STS(Protocol):
    """Spearman's correlation of cosines with gold scores (all pairs of a task together), and the geometry.

    Pairs are read from the data, or from `sts/` in the data root; without them the built-in ones are taken. Alignment
    and uniformity are those of STS-B, or else of the last task.
    """

    name: ClassVar[str] = "sts"
    domains = ("text",)
    measures = "encode"
    place = 0

    def measure(self, material: TextMaterial) -> Measured:
        """Return a column for each task, their mean, `alignment` and `uniformity`."""
        tasks = load_sts(_source(material))
        graded = next((task for task in tasks if task.name == "STS-B"), tasks[-1])
        encoders = material.able(self.measures)
        rows = {name: self._row(tasks, graded, encoder.encode) for name, encoder in encoders.items()}
        return Measured(rows, {"sts": "Spearman, all"}, data=", ".join(task.name for task in tasks))

    @staticmethod
    def _row(tasks: Any, graded: Any, encode: Any) -> dict[str, float]:
        """What one encoder reaches."""
        scores = evaluate_sts(tasks, encode)
        row = {task: score.spearman.all for task, score in scores.items()}
        if len(scores) > 1:
            row["mean STS"] = sum(row.values()) / len(scores)
        pairs = list(graded.subsets.values())
        first = encode([text for pair in pairs for text in pair.first])
        second = encode([text for pair in pairs for text in pair.second])
        similar = torch.cat([torch.as_tensor(pair.gold) for pair in pairs]) > SIMILAR
        if bool(similar.any()):
            row["alignment"] = float(alignment(first[similar], second[similar]))
        row["uniformity"] = float(uniformity(torch.cat([first, second]).unique(dim=0)))
        return row


def _source(material: TextMaterial) -> str:
    """Where the pairs of sentences are; the data may be meant for retrieval."""
    data, root = material.data, material.data_root
    if data is not None and not (material.shared and is_retrieval(data, root)):
        below = Path(root or ".") / data
        return str(below) if not Path(data).exists() and below.is_dir() else data
    return str(root) if root is not None and (Path(root) / "sts").is_dir() else "toy-sts"
