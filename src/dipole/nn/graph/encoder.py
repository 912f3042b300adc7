"""Encoders of the nodes of a graph."""

import warnings
from collections.abc import Callable
from itertools import pairwise
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dipole.errors import InputError
from dipole.losses.common import accumulate
from dipole.nn.graph.pyg import torch_geometric
from dipole.nn.graph.sparse_layer import is_sparse_enough, sparse_product
from dipole.ops.checks import check_at_least, check_choice

Layer = Literal["gcn", "gat", "gin", "sage", "graphconv"]
Activation = Literal["prelu", "relu", "rrelu", "elu", "leaky_relu"]
HEADS = 4  # of a GAT layer, as in the authors' codes

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "prelu": nn.PReLU,
    "relu": nn.ReLU,
    "rrelu": nn.RReLU,
    "elu": nn.ELU,
    "leaky_relu": nn.LeakyReLU,
}


class GraphEncoder(nn.Module):
    """Layers of message passing, each followed by one shared activation: F → 2H → … → 2H → H.

    Edges become a sparse matrix once for all layers, so that memory grows with N + E, not with E times the width; only
    GAT, which weighs every edge, stores a vector for each. The first layer of a GCN takes attributes that are mostly 0,
    such as words, as a sparse matrix.

    The encoder of GRACE (Zhu et al., 2020), GCA (WWW 2021) and CSGCL (IJCAI 2023).

    Args:
        num_features: F, attributes of a node.
        hidden: H, the width of the embeddings.
        layer: `"gcn"`, `"gat"` (4 heads), `"gin"`, `"sage"` or `"graphconv"`, all from PyTorch Geometric.
        num_layers: 2 or more.
        activation: `"prelu"`, `"relu"`, `"rrelu"`, `"elu"` or `"leaky_relu"`.

    Raises:
        InputError: an unknown layer or activation, or a number that is too small.

    Example:
        >>> encoder = GraphEncoder(3, 8)
        >>> encoder(torch.ones(4, 3), torch.tensor([[0, 1], [1, 0]])).shape, encoder.width
        (torch.Size([4, 8]), 8)
    """

    def __init__(
        self,
        num_features: int,
        hidden: int = 256,
        *,
        layer: Layer = "gcn",
        num_layers: int = 2,
        activation: Activation = "prelu",
    ) -> None:
        super().__init__()
        check_choice(layer, get_args(Layer), "encoder")
        check_choice(activation, tuple(ACTIVATIONS), "activation")
        check_at_least(num_features, 1, "num_features")
        check_at_least(num_layers, 2, "num_layers")
        check_at_least(hidden, 1, "hidden")
        if layer == "gat" and hidden % HEADS:
            raise InputError(f"hidden is {hidden}: a GAT layer of {HEADS} heads needs a multiple of {HEADS}.")
        widths = [num_features, *[2 * hidden] * (num_layers - 1), hidden]
        self.layers = nn.ModuleList(_layer(layer, *pair) for pair in pairwise(widths))
        self.activation = ACTIVATIONS[activation]()
        self.kind, self.width = layer, hidden

    def forward(self, x: Float[Tensor, "n f"], edge_index: Int[Tensor, "2 e"]) -> Float[Tensor, "n d"]:
        """Embed nodes: attributes (N, F) and edges (2, E), sources and targets, to (N, H)."""
        x = accumulate(x)
        adjacency = self._adjacency(edge_index, len(x), x.dtype)
        # Sparse products know no half precision.
        with torch.autocast(x.device.type, enabled=False):
            for number, layer in enumerate(self.layers):
                if number == 0 and self.kind == "gcn" and is_sparse_enough(x):
                    first: Any = layer
                    x = self.activation(adjacency @ sparse_product(x, first.lin.weight.T) + first.bias)
                else:
                    x = self.activation(layer(x, adjacency))
        return x

    def _adjacency(self, edge_index: Tensor, nodes: int, dtype: torch.dtype) -> Tensor:
        """The sparse matrix that every layer multiplies with: row i holds what node i receives. GAT needs the list."""
        weight = None
        if self.kind == "gat":
            return edge_index
        if self.kind == "gcn":
            # Of a list of edges, a loop that is there already is not added a second time; of a matrix, it would be.
            norm = torch_geometric("nn.conv.gcn_conv").gcn_norm
            edge_index, weight = norm(edge_index, None, nodes, dtype=dtype)
        if weight is None:
            weight = torch.ones(edge_index.shape[1], dtype=dtype, device=edge_index.device)
        matrix = torch.sparse_coo_tensor(edge_index.flip(0), weight, (nodes, nodes), check_invariants=True)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*Sparse CSR tensor support is in beta.*")
            return matrix.to_sparse_csr()


def build_graph_encoder(encoder: str | nn.Module, num_features: int, hidden: int = 256, **options: Any) -> nn.Module:
    """Return a named encoder, or the module that is given in place of one.

    Args:
        encoder: a layer's name, see `GraphEncoder`; or a module that maps `(x, edge_index)` to (N, width) and has an
            attribute `width`.
        num_features: F.
        hidden: the width of a named encoder.
        **options: further arguments of `GraphEncoder`.

    Raises:
        InputError: an unknown name, or a module without `width`.

    Example:
        >>> build_graph_encoder("sage", 3, 8).width
        8
    """
    if isinstance(encoder, nn.Module):
        if not isinstance(getattr(encoder, "width", None), int):
            raise InputError(f"{type(encoder).__name__} has no attribute width: the number of features it returns.")
        return encoder
    return GraphEncoder(num_features, hidden, layer=encoder, **options)  # type: ignore[arg-type]


def _layer(kind: str, inputs: int, outputs: int) -> nn.Module:
    """One layer of message passing."""
    pyg = torch_geometric("nn")
    made: nn.Module
    if kind == "gcn":
        made = pyg.GCNConv(inputs, outputs, normalize=False)  # the matrix holds the normalised weights
    elif kind == "gat":
        made = pyg.GATConv(inputs, outputs // HEADS, heads=HEADS)
    elif kind == "gin":
        made = pyg.GINConv(nn.Sequential(nn.Linear(inputs, 2 * outputs), nn.ELU(), nn.Linear(2 * outputs, outputs)))
    elif kind == "sage":
        made = pyg.SAGEConv(inputs, outputs)
    else:
        made = pyg.GraphConv(inputs, outputs)
    return made
