"""Edges that training has not seen."""

from typing import ClassVar

from dipole.evaluation.materials import GraphMaterial
from dipole.evaluation.nodes import link_scores, sample_non_edges
from dipole.evaluation.protocol import Measured, Protocol


class Links(Protocol):
    """AUC and average precision of held-out edges among as many pairs that are none, see `link_scores`."""

    name: ClassVar[str] = "links"
    domains = ("graph",)
    measures = "nodes"
    place = 20

    def lacks(self, material: GraphMaterial) -> str | None:
        """Edges that were held out."""
        return None if material.held_out.shape[1] else "train with --loading.held_out 0.1 to hold edges out"

    def measure(self, material: GraphMaterial) -> Measured:
        """Return the columns `link AUC` and `link AP`."""
        graph, held_out = material.graph, material.held_out
        others = sample_non_edges(graph.graph.edge_index, len(graph), held_out.shape[1], seed=material.seed)
        return Measured({name: link_scores(z, held_out, others) for name, z in material.features.items()})
