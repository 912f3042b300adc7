"""Methods that bring two views of every node of a graph together."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dipole.losses.common import accumulate
from dipole.methods.base import Method
from dipole.methods.optimization import OptimizerName, ScheduleName
from dipole.nn.graph import build_graph_encoder
from dipole.nn.graph.encoder import Activation
from dipole.ops.checks import check_at_least, check_temperature
from dipole.views.graph import GraphViews


class NodeEmbedding(Method):
    """An encoder of nodes and a projector, `h = W₂ elu(W₁ z)`, in whose space views are contrasted.

    Args:
        encoder: `"gcn"`, `"gat"`, `"gin"`, `"sage"`, `"graphconv"`, or a module, see `build_graph_encoder`.
        num_features: attributes of a node; a run takes them from its graph.
        hidden: width of the embeddings; the layers before the last are twice as wide.
        num_layers: of the encoder.
        activation: after each of its layers: `"prelu"`, `"relu"`, `"rrelu"`, `"elu"` or `"leaky_relu"`.
        projector_hidden: width of the projector's hidden layer.
        temperature: τ.
        anchors: nodes whose loss a step computes, drawn anew in each step and contrasted with all nodes; all of them if
            None. Time falls with them, and the expectation of the gradient stays.
        optimizer: see `Method`; so are the next four.
        learning_rate: after warm-up.
        weight_decay: of all parameters.
        schedule: of the learning rate.
        decay_all: biases decay too.
        **optimization: further arguments of `Method`.
    """

    domain: ClassVar[str] = "graph"
    views_class: ClassVar[type[GraphViews]] = GraphViews

    def __init__(
        self,
        *,
        encoder: str | nn.Module = "gcn",
        num_features: int = 34,
        hidden: int = 256,
        num_layers: int = 2,
        activation: Activation = "prelu",
        projector_hidden: int = 32,
        temperature: float = 0.4,
        anchors: int | None = None,
        optimizer: OptimizerName = "adam",
        learning_rate: float = 0.01,
        weight_decay: float = 1e-5,
        schedule: ScheduleName = "constant",
        decay_all: bool = True,
        **optimization: Any,
    ) -> None:
        super().__init__(
            optimizer=optimizer,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            schedule=schedule,
            decay_all=decay_all,
            **optimization,
        )
        check_temperature(temperature)
        check_at_least(projector_hidden, 1, "projector_hidden")
        if anchors is not None:
            check_at_least(anchors, 1, "anchors")
        self.encoder = build_graph_encoder(encoder, num_features, hidden, num_layers=num_layers, activation=activation)
        width: int = self.encoder.width  # type: ignore[assignment]
        self.projector = nn.Sequential(nn.Linear(width, projector_hidden), nn.ELU(), nn.Linear(projector_hidden, width))
        self.temperature, self.anchors = temperature, anchors

    def build_views(self, **options: Any) -> GraphViews:
        """Return the views that the method trains on."""
        return self.views_class(**options)

    def project(self, views: Sequence[tuple[Tensor, Tensor]], first: int | None = None) -> Float[Tensor, "v n d"]:
        """Embed views, pairs of attributes (N, F) and edges (2, E), for the loss: (V, N, D), not normalised.

        Args:
            views: of the nodes.
            first: only so many nodes are wanted; the others are what lies around them.
        """
        return torch.stack([accumulate(self.projector(self.encoder(*view)[:first])) for view in views])

    @staticmethod
    def seeds(batch: Mapping[str, Any]) -> int | None:
        """Return how many nodes of a batch are contrasted: the seeds, which are the first; None for all."""
        return len(batch["index"]) if "nodes" in batch else None

    def draw_anchors(self, nodes: int) -> Int[Tensor, "a"] | None:
        """Return the nodes whose loss this step computes; None for all."""
        if self.anchors is None or self.anchors >= nodes:
            return None
        # Drawn on the processor, so that a run on another device has the same anchors.
        return torch.randperm(nodes)[: self.anchors].to(self.device)

    def embed(self, inputs: Mapping[str, Tensor]) -> Float[Tensor, "n d"]:
        """Return embeddings (N, D) of `x` (N, F) and `edge_index` (2, E), not normalised."""
        return accumulate(self.encoder(inputs["x"], inputs["edge_index"]))
