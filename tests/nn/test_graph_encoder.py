"""Encoders of nodes: what PyTorch Geometric computes edge by edge, and graphs that are hardly any."""

from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from dipole.errors import InputError
from dipole.nn.graph import GraphEncoder, build_graph_encoder
from dipole.nn.graph.encoder import ACTIVATIONS, Layer

LAYERS = get_args(Layer)
# A loop, a node without edges, and an edge that goes one way only.
EDGES = torch.tensor([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 2, 0]])


def features(nodes: int = 5) -> Tensor:
    return torch.randn(nodes, 3, generator=torch.Generator().manual_seed(0))


def as_pyg_would(encoder: GraphEncoder, x: Tensor, edges: Tensor) -> Tensor:
    """The same layers on a list of edges; GCN normalises by itself."""
    for layer in encoder.layers:
        if encoder.kind == "gcn":
            layer.normalize = layer.add_self_loops = True  # type: ignore[assignment]
        x = encoder.activation(layer(x, edges))
    return x


@pytest.mark.parametrize("layer", LAYERS)
def test_the_matrix_computes_what_the_list_of_edges_does(layer: Any) -> None:
    torch.manual_seed(0)
    encoder = GraphEncoder(3, 8, layer=layer, num_layers=3).eval()
    x = features().requires_grad_()
    ours = encoder(x, EDGES)
    (gradient,) = torch.autograd.grad(ours.square().sum(), x)
    theirs = as_pyg_would(encoder, x, EDGES)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(gradient, torch.autograd.grad(theirs.square().sum(), x)[0])


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("edges", [EDGES[:, :0], EDGES[:, 4:5], EDGES.repeat(1, 2)], ids=["none", "loop", "twice"])
def test_degenerate_graphs_give_finite_values_and_gradients(layer: Any, edges: Tensor) -> None:
    encoder = GraphEncoder(3, 8, layer=layer)
    embedded = encoder(features(), edges)
    assert embedded.shape == (5, 8)
    embedded.square().sum().backward()
    assert bool(embedded.isfinite().all())
    assert all(bool(p.grad.isfinite().all()) for p in encoder.parameters() if p.grad is not None)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_one_activation_is_shared_by_all_layers(activation: Any) -> None:
    encoder = GraphEncoder(3, 4, activation=activation)
    assert sum(p.numel() for p in encoder.activation.parameters()) == (activation == "prelu")
    assert encoder(features(), EDGES).shape == (5, 4)


def test_the_order_of_the_nodes_does_not_matter() -> None:
    encoder, order = GraphEncoder(3, 4), torch.tensor([3, 0, 4, 1, 2])
    place = order.argsort()
    torch.testing.assert_close(encoder(features()[order], place[EDGES]), encoder(features(), EDGES)[order])


def test_half_precision_is_raised() -> None:
    encoder = GraphEncoder(3, 4)
    with torch.autocast("cpu", torch.bfloat16):
        embedded = encoder(features().bfloat16(), EDGES)
    assert embedded.dtype == torch.float32


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": "mlp"}, "encoder is 'mlp': expected one of 'gcn', 'gat'"),
        ({"activation": "tanh"}, "activation is 'tanh'"),
        ({"num_layers": 1}, "num_layers is 1"),
        ({"hidden": 6, "layer": "gat"}, "a GAT layer of 4 heads needs a multiple of 4"),
        ({"hidden": 0}, "hidden is 0"),
    ],
)
def test_mistakes(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        GraphEncoder(3, **options)


def test_a_module_in_place_of_a_name() -> None:
    module = GraphEncoder(3, 4)
    assert build_graph_encoder(module, 99) is module
    with pytest.raises(InputError, match="Linear has no attribute width"):
        build_graph_encoder(nn.Linear(3, 4), 3)
