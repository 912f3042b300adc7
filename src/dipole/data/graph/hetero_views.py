"""What the encoder of MEOW reads of a graph of several kinds of nodes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dipole.data.graph.hetero_set import HeteroSet
from dipole.nn.graph.meta_paths import MetaPathViews
from dipole.views.graph.meta_paths import (
    WeightedEdges,
    as_matrix,
    binary_with_loops,
    masked_attributes,
    masked_edges,
    most_similar,
    normalize_adjacency,
    row_means,
)


def prepare_views(
    graph: HeteroSet,
    *,
    neighbours: Sequence[int],
    edge_mask: Sequence[float],
    feature_mask: float,
    seed: int = 0,
    transpose: bool = True,
) -> MetaPathViews:
    """Make attributes, contexts and adjacencies of a graph, and their masked twins, which are drawn once.

    Args:
        graph: of several kinds of nodes.
        neighbours: most similar nodes that stay joined, of each meta-path.
        edge_mask: share of the edges that fall, of each meta-path.
        feature_mask: share of the attributes of target nodes that become 0.
        seed: of what falls.
        transpose: see `normalize_adjacency`.

    Raises:
        InputError: a number is out of range.
    """
    generator = torch.Generator().manual_seed(seed)
    nodes, kinds = len(graph), graph.kinds
    plain, masked, contexts = [], [], []
    total = WeightedEdges(torch.empty(2, 0, dtype=torch.long), torch.empty(0))
    for path, count, share in zip(graph.metapaths, neighbours, edge_mask, strict=True):
        kept = most_similar(edges_of(graph.along(path)), nodes, count)
        normal = normalize_adjacency(kept, nodes, transpose=transpose)
        twin = binary_with_loops(masked_edges(kept, share, generator=generator), nodes)
        plain.append(as_matrix(normal, (nodes, nodes)))
        masked.append(as_matrix(normalize_adjacency(twin, nodes, transpose=transpose), (nodes, nodes)))
        total = WeightedEdges(
            torch.cat([total.pairs, normal.pairs], dim=1),
            torch.cat([total.weight, normal.weight / len(graph.metapaths)]),
        )
        contexts.append([_context(graph, kinds, path[: place + 1]) for place in range(1, len(path) - 1)])
    attributes = [attributes_of(graph, kind) for kind in kinds]
    return MetaPathViews(
        attributes,
        masked_attributes(attributes[0].to_dense(), feature_mask, generator=generator),
        contexts,
        plain,
        masked,
        as_matrix(total, (nodes, nodes)),
    )


def attributes_of(graph: HeteroSet, kind: str) -> Tensor:
    """Return the attributes of a kind of nodes, one-hot and sparse where there are none.

    Example:
        >>> from dipole.data.graph import load_hetero
        >>> attributes_of(load_hetero("toy-papers"), "venue").shape
        torch.Size([12, 12])
    """
    if kind in graph.attributes:
        return graph.attributes[kind]
    count = graph.sizes[kind]
    every = torch.arange(count).expand(2, -1)
    return as_matrix(WeightedEdges(every, torch.ones(count)), (count, count))


def edges_of(matrix: Any) -> WeightedEdges:
    """Return a sparse matrix of SciPy as pairs and weights.

    Example:
        >>> from scipy.sparse import csr_matrix
        >>> edges_of(csr_matrix([[0, 2]]))
        WeightedEdges(pairs=tensor([[0],
                [1]]), weight=tensor([2.]))
    """
    found = matrix.tocoo()
    found.sum_duplicates()
    pairs = torch.from_numpy(np.stack([found.row, found.col]).astype(np.int64))
    return WeightedEdges(pairs, torch.from_numpy(found.data.astype(np.float32)))


def _context(graph: HeteroSet, kinds: list[str], path: Sequence[str]) -> tuple[int, Tensor]:
    """The kind at the end of a path, and the matrix that takes the mean over the nodes reached there."""
    reached = graph.along(path)
    if len(path) > 2:
        reached = (reached > 0).astype(np.float64)
    shape = (len(graph), graph.sizes[path[-1]])
    return kinds.index(path[-1]), as_matrix(row_means(edges_of(reached)), shape)
