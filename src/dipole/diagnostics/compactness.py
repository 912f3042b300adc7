"""Node compactness of any graph encoder of two GCN layers: which nodes every augmentation treats well."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dipole.errors import InputError
from dipole.losses.common import accumulate
from dipole.losses.node_compactness import Bound, Weights, message_passing_bounds, node_compactness
from dipole.nn.graph import GraphEncoder
from dipole.ops.checks import check_node_pairs
from dipole.ops.door import public

DROP_RATE = 0.4


def two_layers(encoder: Any) -> tuple[Weights, float]:
    """Return weights and biases of a GCN of two layers with ReLU or PReLU, and the slope of its activation below 0.

    Args:
        encoder: of nodes.

    Returns:
        (W₁, b₁, W₂, b₂), W as (inputs, outputs), and the slope; of PReLU's slopes those that bounds allow, 0 to 0.99.

    Raises:
        InputError: it is no such encoder.

    Example:
        >>> weights, slope = two_layers(GraphEncoder(3, 8, activation="relu"))
        >>> [tuple(each.shape) for each in weights], slope
        ([(3, 16), (16,), (16, 8), (8,)], 0.0)
    """
    known = isinstance(encoder, GraphEncoder) and encoder.kind == "gcn" and len(encoder.layers) == 2
    if not known or not isinstance(encoder.activation, nn.ReLU | nn.PReLU):
        raise InputError("compactness bounds a GCN of two layers with ReLU or PReLU: this is another encoder.")
    first, second = encoder.layers
    activation = encoder.activation
    slope = float(activation.weight.detach().clamp(0, 0.99)) if isinstance(activation, nn.PReLU) else 0.0
    return (first.lin.weight.T, first.bias, second.lin.weight.T, second.bias), slope


@public
@torch.no_grad()
def encoder_compactness(
    encoder: nn.Module,
    x: Float[Tensor, "n f"],
    edge_index: Int[Tensor, "2 e"],
    *,
    drop_rate: float = DROP_RATE,
    bound: Bound = "sound",
) -> Float[Tensor, "n"]:
    """Bound how much closer every node stays to itself than to the mean of all others, whichever edges fall.

    The embeddings of the whole graph are the other view. With `bound="sound"` a node above 0 is certified: no loss of
    at most q_i edges a node brings it nearer to the mean of the others (`message_passing_bounds`); evaluated at the
    whole graph, whose edges the bound allows to fall.

    Yu et al.: *Provable Training for Graph Contrastive Learning* (NeurIPS 2023).

    Args:
        encoder: `GraphEncoder` of two GCN layers with ReLU or PReLU.
        x: (N, F) attributes.
        edge_index: (2, E) both directions of every edge.
        drop_rate: share of a node's edges that may fall.
        bound: `"sound"`, or `"fast"` as in training.

    Returns:
        (N,).

    Raises:
        InputError: another encoder, or one node alone.

    Example:
        >>> x, edges = torch.eye(4), torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]])
        >>> encoder_compactness(GraphEncoder(4, 8, activation="relu"), x, edges).shape
        torch.Size([4])
    """
    weights, slope = two_layers(encoder)
    activation: Any = encoder.activation
    if isinstance(activation, nn.PReLU) and not 0 <= float(activation.weight) < 1:
        raise InputError(f"the slope of PReLU is {float(activation.weight):.3g}: bounds need 0 to below 1.")
    edge_index = check_node_pairs(edge_index, len(x), "edge_index")
    was = encoder.training
    z = encoder.eval()(x, edge_index)
    encoder.train(was)
    bounds = message_passing_bounds(edge_index, len(x), drop_rate=drop_rate)
    return node_compactness(accumulate(x), weights, z, bounds, edge_index, negative_slope=slope, bound=bound)
