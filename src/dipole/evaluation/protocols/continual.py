"""What is known after each task of a continual training, and what is forgotten."""

from typing import Any, ClassVar

import torch

from dipole.evaluation.continual import continual_scores
from dipole.evaluation.materials import ModalityMaterial
from dipole.evaluation.protocol import Measured, Picture, Protocol


class Continual(Protocol):
    """Average and last accuracy over tasks, and forgetting, as training has measured them after each task."""

    name: ClassVar[str] = "continual"
    domains = ("multimodal",)
    measures = "continual"
    by_default = False
    place = 5

    @classmethod
    def suits(cls, material: Any) -> bool:
        """Whether a method has learned in tasks."""
        return bool(material.able(cls.measures))

    def lacks(self, material: ModalityMaterial) -> str | None:
        """Test rows of every task."""
        if not self.suits(material):
            return "the method does not learn in tasks"
        if not any(_complete(one) for one in material.able(self.measures).values()):
            return "not every task has been measured: its test rows are missing, or training is not finished"
        return None

    def measure(self, material: ModalityMaterial) -> Measured:
        """Return the scores, and a picture of the accuracy on each task after each task."""
        rows, pictures, settings = {}, [], {}
        for name, candidate in material.able(self.measures).items():
            if not _complete(candidate):
                continue
            matrix, counts, classes = candidate.continual()
            scores = continual_scores(matrix.double().nan_to_num(0), counts)
            rows[name] = {
                "average accuracy": scores.average,
                "last accuracy": scores.last,
                "forgetting": scores.forgetting,
            }
            settings = {"tasks": [", ".join(group) for group in classes]}
            pictures.append(_picture(matrix, scores.steps))
        return Measured(rows, settings, pictures=tuple(pictures))


def _complete(candidate: Any) -> bool:
    """Whether the accuracy on every task so far is known after each task."""
    matrix, counts, _ = candidate.continual()
    below = torch.ones_like(matrix, dtype=torch.bool).tril()
    return bool(matrix[below].isfinite().all()) and bool((counts > 0).all())


def _picture(matrix: torch.Tensor, steps: torch.Tensor) -> Picture:
    """Accuracy as colours, row by row."""
    tasks = len(matrix)
    values = [[float(matrix[i, j]) if j <= i else None for j in range(tasks)] for i in range(tasks)]
    trace = {
        "type": "heatmap",
        "z": values,
        "x": [f"task {j + 1}" for j in range(tasks)],
        "y": [f"{i + 1} ({float(steps[i]):.0%})" for i in range(tasks)],
        "zmin": 0,
        "zmax": 1,
        "text": [["" if value is None else f"{value:.2f}" for value in row] for row in values],
        "texttemplate": "%{text}",
    }
    lead = "Rows: after learning a task, with the accuracy on all classes so far. Columns: test samples of a task."
    return Picture(
        "Accuracy on each task after each task",
        lead,
        {"data": [trace], "x": "measured on", "y": "after task", "yaxis": {"autorange": "reversed"}},
    )
