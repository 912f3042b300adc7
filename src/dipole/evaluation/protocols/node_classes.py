"""Classes of nodes by a linear classifier."""

from typing import ClassVar

import torch

from dipole.evaluation.materials import GraphMaterial
from dipole.evaluation.nodes import NodeSplit, node_accuracies, random_node_split
from dipole.evaluation.protocol import Measured, Protocol

NO_CLASSES = "there are no two classes"


class NodeClasses(Protocol):
    """Accuracy of a softmax classifier on 10 % of the nodes, 10 % to choose it, mean over random splits.

    Also on the split of the graph, if it has one.

    Args:
        splits: random ones.
        steps: of a classifier.
    """

    name: ClassVar[str] = "linear"
    domains = ("graph",)
    measures = "nodes"
    place = 0

    def __init__(self, splits: int = 5, steps: int = 3000) -> None:
        self.splits, self.steps = splits, steps

    def lacks(self, material: GraphMaterial) -> str | None:
        """Two classes."""
        return NO_CLASSES if material.graph.labels is None else None

    def measure(self, material: GraphMaterial) -> Measured:
        """Return the column `linear`, and `public split` if there is one."""
        graph, labels = material.graph, material.graph.labels
        assert labels is not None, "lacks() says so"
        seeds = [material.seed * self.splits + number for number in range(self.splits)]
        splits = [random_node_split(labels, seed=seed) for seed in seeds]
        masks = [graph.graph.get(mask) for mask in ("train_mask", "val_mask", "test_mask")]
        public = all(mask is not None and mask.ndim == 1 and bool(mask.any()) for mask in masks)
        if public:
            splits.append(NodeSplit(*(torch.nonzero(mask & (labels >= 0)).flatten() for mask in masks)))
            seeds.append(material.seed)
        rows = {}
        for name, embeddings in material.features.items():
            found = node_accuracies(embeddings, labels, splits, steps=self.steps, seeds=seeds)
            rows[name] = {"linear": sum(found[: self.splits]) / self.splits}
            if public:
                rows[name]["public split"] = found[-1]
        return Measured(rows, {"splits": self.splits})
