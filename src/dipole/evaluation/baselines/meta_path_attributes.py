"""Attributes of nodes, averaged over what meta-paths lead to."""

from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from dipole.data.graph import HeteroSet
from dipole.evaluation.materials import HeteroMaterial
from dipole.evaluation.protocol import Baseline


class MetaPathAttributes(Baseline):
    """The attributes, and beside them their means over a random walk along each meta-path; nothing is learned."""

    name: ClassVar[str] = "attributes along meta-paths"
    domains = ("heterograph",)
    material: HeteroMaterial

    def nodes(self) -> Tensor:
        """Return (N, F (1 + paths))."""
        graph = self.material.graph
        own = graph.attributes.get(graph.target)
        x = torch.eye(len(graph)) if own is None else own.float()
        return torch.cat([x, *(walked(graph, path, x) for path in graph.metapaths)], dim=1)


def walked(graph: HeteroSet, path: tuple[str, ...], x: Tensor) -> Tensor:
    """Return the mean (N, F) of the attributes where a walk along a path may end, 0 where it has nowhere to go.

    Args:
        graph: of the kinds on the path.
        path: kinds from the target to the target.
        x: (N, F) attributes of the target.
    """
    found = x.numpy()
    for first, second in reversed(list(pairwise(path))):
        matrix: Any = graph.between(first, second).tocsr()
        degree = np.maximum(np.asarray(matrix.sum(axis=1)), 1)
        found = (matrix @ found) / degree
    return torch.from_numpy(np.ascontiguousarray(found, dtype=np.float32))
