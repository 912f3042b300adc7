"""Classes of nodes by a classifier that learns from few labels of each class, as HeCo and MEOW measure."""

from typing import ClassVar

import torch

from dipole.errors import InputError
from dipole.evaluation.intervals import mean_interval
from dipole.evaluation.materials import HeteroMaterial
from dipole.evaluation.nodes import NodeSplit, few_labels_split, node_scores
from dipole.evaluation.protocol import Measured, Protocol
from dipole.evaluation.protocols.node_classes import NO_CLASSES
from dipole.ops.checks import check_at_least


class FewNodeLabels(Protocol):
    """Macro- and micro-F1 and AUC of logistic regression on 20, 40 and 60 labelled nodes of each class.

    The graph's own splits are used where it has them, with another start of the classifier in each run; else splits are
    drawn anew in each. The classifier is chosen by validation nodes. Means over the runs, with 95 % intervals.

    Args:
        labels: of each class, with commas; numbers that a class has too few nodes for are left out and named.
        runs: of the classifier; the authors: 50.
        steps: of a classifier.
        learning_rate: of a classifier.
    """

    name: ClassVar[str] = "few-labels"
    domains = ("heterograph",)
    measures = "nodes"
    place = 0

    def __init__(self, labels: str = "20,40,60", runs: int = 10, steps: int = 200, learning_rate: float = 0.03) -> None:
        check_at_least(runs, 2, "runs")
        try:
            self.counts = [int(part) for part in labels.split(",")]
        except ValueError as error:
            raise InputError(f"labels are {labels!r}: expected whole numbers with commas, such as 20,40,60.") from error
        check_at_least(min(self.counts), 1, "labels")
        self.runs, self.steps, self.learning_rate = runs, steps, learning_rate

    def lacks(self, material: HeteroMaterial) -> str | None:
        """Two classes, of which each has enough nodes."""
        return NO_CLASSES if material.graph.labels is None else None

    def measure(self, material: HeteroMaterial) -> Measured:
        """Return three columns for each number of labels."""
        graph, labels = material.graph, material.graph.labels
        assert labels is not None, "lacks() says so"
        fewest = int(labels[labels >= 0].bincount()[labels[labels >= 0].unique()].min())
        possible = [count for count in self.counts if count in graph.splits or count + 2 <= fewest]
        if not possible:
            raise InputError(
                f"{min(self.counts)} labels of each class were asked for, and a class has {fewest} nodes: ask for "
                "fewer with --protocol.labels."
            )
        rows: dict[str, dict[str, float]] = {name: {} for name in material.features}
        intervals: dict[str, dict[str, tuple[float, float]]] = {name: {} for name in rows}
        for count in possible:
            given = graph.splits.get(count)
            for name, embeddings in material.features.items():
                found = [
                    node_scores(
                        embeddings,
                        labels,
                        few_labels_split(labels, count, seed=seed) if given is None else NodeSplit(*given),
                        steps=self.steps,
                        learning_rate=self.learning_rate,
                        seed=seed,
                    )
                    for seed in range(material.seed * self.runs, (material.seed + 1) * self.runs)
                ]
                for place, metric in enumerate(("macro-F1", "micro-F1", "AUC")):
                    mean, half = mean_interval(torch.tensor([each[place] for each in found], dtype=torch.float64))
                    rows[name][f"{metric} {count}"] = mean
                    intervals[name][f"{metric} {count}"] = (mean - half, mean + half)
        left_out = [count for count in self.counts if count not in possible]
        settings = {"runs": self.runs} | ({"labels left out": ", ".join(map(str, left_out))} if left_out else {})
        return Measured(rows, settings, intervals)
