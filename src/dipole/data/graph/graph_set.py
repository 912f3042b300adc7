"""One graph, as PyTorch Geometric holds it, with its names."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dipole.errors import InputError
from dipole.nn.graph import torch_geometric

logger = logging.getLogger(__name__)
SPLITS = ("train_mask", "val_mask", "test_mask")


@dataclass(frozen=True)
class GraphSet:
    """A graph and what it is called.

    Attributes:
        name: of the graph.
        graph: `torch_geometric.data.Data` with `x` float32 (N, F), `edge_index` (2, E) with both directions of every
            edge, sorted and without duplicates; where they are known, `y` (N,), −1 for a node without a class, and
            `train_mask`, `val_mask`, `test_mask` (N,).
        class_names: of the classes in `y`.
        ids: names of the nodes; their numbers if None.
        notes: what was put right.
        attributed: whether nodes have attributes of their own; else their degrees stand in.
    """

    name: str
    graph: Any
    class_names: tuple[str, ...] = ()
    ids: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    attributed: bool = True

    def __len__(self) -> int:
        return len(self.graph.x)

    @property
    def labels(self) -> Tensor | None:
        """The class of each node, −1 where unknown; None if two classes are not known."""
        y: Tensor | None = self.graph.y
        return y if y is not None and len(torch.unique(y[y >= 0])) > 1 else None

    @property
    def degrees(self) -> Tensor:
        """(N,) neighbours of each node, itself included if it has a loop."""
        return torch.bincount(self.graph.edge_index[1], minlength=len(self))

    def node_ids(self) -> list[str]:
        """Return the name of every node."""
        return list(self.ids) if self.ids is not None else [str(index) for index in range(len(self))]

    def normalized(self) -> "GraphSet":
        """Scale the attributes of each node to the sum 1, after subtracting the smallest of all (PyG's transform)."""
        graph = torch_geometric("transforms").NormalizeFeatures()(self.graph.clone())
        return replace(self, graph=graph)


def noted(graph: GraphSet, note: str) -> GraphSet:
    """Return a graph with one more note, and say it."""
    logger.warning("%s: %s.", graph.name, note)
    return replace(graph, notes=(*graph.notes, note))


def make_graph(
    name: str,
    edge_index: Int[Tensor, "2 e"],
    *,
    num_nodes: int,
    x: Float[Tensor, "n f"] | None = None,
    y: Int[Tensor, "n"] | None = None,
    masks: Mapping[str, Bool[Tensor, "n"]] | None = None,
    class_names: Sequence[str] = (),
    ids: Sequence[str] | None = None,
) -> GraphSet:
    """Put a graph together: edges in both directions, each once; attributes if there are none.

    A self-loop stays, as one edge. Without attributes a node has the logarithm of its degree, one column for each power
    of two, since nothing else tells nodes apart.

    Args:
        name: of the graph.
        edge_index: (2, E) edges in one or both directions, also several times.
        num_nodes: N.
        x: (N, F) attributes.
        y: (N,) classes, negative where unknown.
        masks: `train_mask`, `val_mask`, `test_mask`.
        class_names: of the values of `y`.
        ids: names of the nodes.

    Raises:
        InputError: there are no nodes, an edge names a node that does not exist, an attribute is not finite, or the
            lengths differ.

    Example:
        >>> graph = make_graph("path", torch.tensor([[0, 1, 0], [1, 2, 1]]), num_nodes=4)
        >>> graph.graph.edge_index.tolist(), graph.graph.x.tolist()
        ([[0, 1, 1, 2], [1, 0, 2, 1]], [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    """
    if num_nodes < 1:
        raise InputError(f"{name} has no nodes: a graph needs one or more.")
    if edge_index.numel() and not 0 <= int(edge_index.min()) <= int(edge_index.max()) < num_nodes:
        raise InputError(
            f"{name}: edges name nodes from {int(edge_index.min())} to {int(edge_index.max())}, but there are "
            f"{num_nodes}, counted from 0."
        )
    for part, values in (("x", x), ("y", y), ("ids", ids), *(masks or {}).items()):
        if values is not None and len(values) != num_nodes:
            raise InputError(f"{name}: {part} has {len(values)} entries for {num_nodes} nodes.")
    notes = []
    attributed = x is not None
    # Pairs as single numbers, which are sorted in a fraction of the time and memory.
    codes = torch.unique(edge_index[0] * num_nodes + edge_index[1])
    if len(codes) < edge_index.shape[1]:
        notes.append(f"{edge_index.shape[1] - len(codes)} edges were there more than once")
    backwards = codes % num_nodes * num_nodes + codes // num_nodes
    alone = int((~torch.isin(backwards, codes, assume_unique=True)).sum())
    if 0 < alone < int((codes != backwards).sum()):
        notes.append(f"{alone} edges have no counterpart in the other direction: all are taken in both")
    codes = torch.unique(torch.cat([codes, backwards]))
    edges = torch.stack([codes // num_nodes, codes % num_nodes])
    if x is None:
        x = degree_columns(edges, num_nodes)
        notes.append("there are no attributes: the degrees stand in for them")
    if x.ndim != 2 or x.shape[1] == 0 or not bool(x.isfinite().all()):
        raise InputError(f"{name}: attributes of shape {tuple(x.shape)} must be finite numbers (N, F) with F > 0.")
    graph = torch_geometric("data").Data(x=x.float().contiguous(), edge_index=edges, y=y)
    for mask, values in (masks or {}).items():
        graph[mask] = values
    return GraphSet(
        name, graph, tuple(map(str, class_names)), None if ids is None else tuple(ids), tuple(notes), attributed
    )


def degree_columns(edge_index: Int[Tensor, "2 e"], num_nodes: int) -> Float[Tensor, "n f"]:
    """Tell nodes apart by their degree d alone: column ⌊log₂(d)⌋ + 1 is 1, column 0 for a node without edges.

    Example:
        >>> degree_columns(torch.tensor([[1, 0], [0, 1]]), 3)
        tensor([[0., 1.],
                [0., 1.],
                [1., 0.]])
    """
    degree = torch.bincount(edge_index[1], minlength=num_nodes)
    column = torch.frexp(degree.double()).exponent.long()  # 0 for 0, and d = m · 2^e with ½ ≤ m < 1
    return torch.nn.functional.one_hot(column).float()
