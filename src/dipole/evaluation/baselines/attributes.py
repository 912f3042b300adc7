"""Attributes of nodes as they stand."""

from typing import ClassVar

from torch import Tensor

from dipole.evaluation.materials import GraphMaterial
from dipole.evaluation.protocol import Baseline


class Attributes(Baseline):
    """The attributes themselves as embeddings of nodes."""

    name: ClassVar[str] = "attributes"
    domains = ("graph",)
    material: GraphMaterial

    def nodes(self) -> Tensor:
        """Return the attributes (N, F)."""
        return self.material.graph.graph.x
