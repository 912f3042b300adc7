"""Attributes of nodes as they stand."""

from typing import ClassVar

import torch
from torch import Tensor

from dipole.data.graph import GraphSet
from dipole.evaluation.materials import GraphMaterial, HeteroMaterial
from dipole.evaluation.protocol import Baseline


class Attributes(Baseline):
    """The attributes themselves as embeddings of nodes."""

    name: ClassVar[str] = "attributes"
    domains = ("graph", "heterograph")
    material: GraphMaterial | HeteroMaterial

    def nodes(self) -> Tensor:
        """Return the attributes (N, F)."""
        graph = self.material.graph
        if isinstance(graph, GraphSet):
            return graph.graph.x
        own = graph.attributes.get(graph.target)
        return torch.eye(len(graph)) if own is None else own
