"""CSGCL."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from dipole.card import Card
from dipole.losses import team_up_gamma, team_up_loss
from dipole.methods.graph.embedding import NodeEmbedding
from dipole.ops.checks import check_at_least
from dipole.views.graph import CommunalViews


class CSGCL(NodeEmbedding):
    """Strong communities shape the views and, later in training, the contrast.

        1. communities by Leiden; S_c = in_c / m − (D_c / 2m)² and s_i = S_{com(i)}, once
        2. two views: communal edge dropping and communal attribute voting     3. h = projector(encoder(view))
        4. γ = min(max(0, (t − t₀) / 100), γ_max) in epoch t
        5. minimise InfoNCE with the similarities cos(h_i, h_j) + γ (s_i + s_j)

    Args:
        team_up_start: t₀, the last epoch without Team-up.
        team_up_maximum: γ_max; 0 for none.
        team_up_ramp: epochs in which γ rises by 1.
        **options: arguments of `NodeEmbedding` and `Method`.

    Example:
        >>> method = CSGCL(num_features=3, hidden=4, team_up_start=0, team_up_ramp=1)
        >>> graph = (torch.rand(5, 3), torch.tensor([[0, 1], [1, 0]]))
        >>> terms = method.loss_terms({"views": [graph, graph], "node_strength": torch.rand(5)})
        >>> sorted(terms), float(terms["gamma"])
        (['gamma', 'loss'], 1.0)
    """

    card = Card(
        name="csgcl",
        slug="csgcl",
        title="CSGCL: Community-Strength-Enhanced Graph Contrastive Learning",
        authors="Chen, Zhao, Li, Zou, Li, Zhang",
        year=2023,
        venue="IJCAI",
        arxiv="2305.04658",
        field="graph",
        summary="Strong communities keep their edges and attributes in the views, and weigh more in the contrast.",
        equations=(
            "community strength",
            "communal attribute voting (CAV)",
            "communal edge dropping (CED)",
            "Team-up objective",
        ),
        official_code="HanChen-HUST/CSGCL",
        differences=(
            "The loss is computed in tiles: the authors' batches of rows, which only save memory, are not needed.",
            "Communities and strengths see both directions of a link. The authors' graph keeps one triangle of the "
            "adjacency, which loses links of a directed graph: `community_strength(…, symmetrize=False)`.",
            "Strengths and probabilities of edges are computed in float64; the authors' code mixes both types.",
            "Negative votes count as the fewest positive ones, with a warning. In the authors' code their logarithm is "
            "NaN, and every attribute falls with the threshold.",
            "Where all edges or all votes are alike, everything falls with the same probability; the authors' code "
            "divides by zero.",
            "The slope of γ, fixed in the authors' code, is `team_up_ramp`.",
            "Two of the authors' options are missing: encoders with skip connections, and SGConv, which computes with "
            "one hop what GCN computes.",
        ),
    )
    views_class = CommunalViews

    def __init__(
        self,
        *,
        team_up_start: int = 500,
        team_up_maximum: float = 1.0,
        team_up_ramp: int = 100,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        check_at_least(team_up_start, 0, "team_up_start")
        check_at_least(team_up_maximum, 0, "team_up_maximum")
        check_at_least(team_up_ramp, 1, "team_up_ramp")
        self.team_up_start, self.team_up_maximum, self.team_up_ramp = team_up_start, team_up_maximum, team_up_ramp

    def loss_terms(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the Team-up loss of the two views, and γ."""
        h1, h2 = self.project(batch["views"], self.seeds(batch))
        gamma = team_up_gamma(
            self.current_epoch + 1, start=self.team_up_start, maximum=self.team_up_maximum, ramp=self.team_up_ramp
        )
        anchors = self.draw_anchors(len(h1))
        loss = team_up_loss(
            h1, h2, batch["node_strength"][: len(h1)], gamma=gamma, temperature=self.temperature, anchors=anchors
        )
        return {"loss": loss, "gamma": torch.tensor(gamma)}
