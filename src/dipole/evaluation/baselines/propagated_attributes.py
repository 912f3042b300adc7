"""Attributes of nodes, averaged over their neighbourhoods."""

from typing import ClassVar

import torch
from torch import Tensor

from dipole.evaluation.materials import GraphMaterial
from dipole.evaluation.protocol import Baseline

STEPS = 2


class PropagatedAttributes(Baseline):
    """`(D^−½ (A + I) D^−½)² X`, the attributes after two steps of propagation, without anything learned.

    Wu et al.: *Simplifying Graph Convolutional Networks* (SGC, ICML 2019).
    """

    name: ClassVar[str] = "SGC"
    domains = ("graph",)
    material: GraphMaterial

    def nodes(self) -> Tensor:
        """Return the propagated attributes (N, F); the edges are those that training has seen."""
        return propagated(self.material.graph.graph.x, self.material.edges, STEPS)


def propagated(x: Tensor, edge_index: Tensor, steps: int) -> Tensor:
    """Return `(D^−½ (A + I) D^−½)^K X` (N, F).

    Args:
        x: (N, F) attributes.
        edge_index: (2, E), both directions of every edge; loops are added to those that are there.
        steps: K.
    """
    nodes = len(x)
    loops = torch.arange(nodes, device=x.device)
    target, source = torch.cat([edge_index, torch.stack([loops, loops])], dim=1)
    scale = torch.bincount(target, minlength=nodes).to(x.dtype).rsqrt()
    for _ in range(steps):
        sent = (scale[:, None] * x)[source]
        x = scale[:, None] * torch.zeros_like(x).index_add_(0, target, sent)
    return x
