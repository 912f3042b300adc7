"""Classes of nodes by a linear classifier."""

from typing import ClassVar

import torch

from dipole.evaluation.materials import GraphMaterial
from dipole.evaluation.nodes import NodeSplit, node_accuracy, random_node_split
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
        rows = {}
        for name, embeddings in material.features.items():
            found = [
                node_accuracy(embeddings, labels, split, steps=self.steps, seed=seed)
                for seed, split in zip(seeds, splits, strict=True)
            ]
            rows[name] = {"linear": sum(found) / len(found)}
            if all(mask is not None and mask.ndim == 1 and bool(mask.any()) for mask in masks):
                public = NodeSplit(*(torch.nonzero(mask & (labels >= 0)).flatten() for mask in masks))
                accuracy = node_accuracy(embeddings, labels, public, steps=self.steps, seed=material.seed)
                rows[name]["public split"] = accuracy
        return Measured(rows, {"splits": self.splits})
