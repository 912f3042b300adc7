"""GRACE."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from dipole.card import Card
from dipole.losses import team_up_loss
from dipole.methods.graph.embedding import NodeEmbedding


class GRACE(NodeEmbedding):
    """A node attracts itself in another view of the graph, and repels every other node in both views.

        1. two views: edges and attributes fall at random          2. h = projector(encoder(view))
        3. minimise the mean of ℓ_i(h¹, h²) and ℓ_i(h², h¹), InfoNCE with the nodes of both views as candidates

    Args:
        **options: arguments of `NodeEmbedding` and `Method`.

    Example:
        >>> import torch
        >>> method = GRACE(num_features=3, hidden=4)
        >>> graph = (torch.rand(5, 3), torch.tensor([[0, 1], [1, 0]]))
        >>> sorted(method.loss_terms({"views": [graph, graph]}))
        ['loss']
    """

    card = Card(
        name="grace",
        slug="csgcl",
        title="Deep Graph Contrastive Representation Learning",
        authors="Zhu, Xu, Yu, Liu, Wu, Wang",
        year=2020,
        venue="ICML workshop",
        arxiv="2006.04131",
        field="graph",
        summary="Two views of a graph by dropping edges and attributes; a node finds itself among all nodes.",
        equations=("pairwise objective of both directions", "removing edges", "masking attributes"),
        official_code="CRIPAC-DIG/GRACE",
        differences=(
            "The loss is computed in tiles: memory grows with the number of nodes, not with its square.",
            "The two directions of an edge fall independently, as in the authors' code.",
            "The evaluation is that of GCA and CSGCL, a softmax classifier; GRACE's code searches the regularisation "
            "of a logistic regression on normalised embeddings.",
        ),
    )

    def loss_terms(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the contrast of the two views."""
        h1, h2 = self.project(batch["views"], self.seeds(batch))
        anchors = self.draw_anchors(len(h1))
        return {"loss": team_up_loss(h1, h2, temperature=self.temperature, anchors=anchors)}
