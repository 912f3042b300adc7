"""Clusters of nodes beside their classes."""

from typing import ClassVar

from dipole.evaluation.materials import GraphMaterial, HeteroMaterial
from dipole.evaluation.nodes import cluster_agreement
from dipole.evaluation.protocol import Measured, Protocol
from dipole.evaluation.protocols.node_classes import NO_CLASSES


class Clustering(Protocol):
    """NMI and ARI of k-means clusters with the classes, see `cluster_agreement`."""

    name: ClassVar[str] = "clustering"
    domains = ("graph", "heterograph")
    measures = "nodes"
    place = 10

    def lacks(self, material: GraphMaterial | HeteroMaterial) -> str | None:
        """Two classes."""
        return NO_CLASSES if material.graph.labels is None else None

    def measure(self, material: GraphMaterial | HeteroMaterial) -> Measured:
        """Return the columns `NMI` and `ARI`."""
        labels = material.graph.labels
        assert labels is not None, "lacks() says so"
        return Measured(
            {name: cluster_agreement(z, labels, seed=material.seed) for name, z in material.features.items()}
        )
