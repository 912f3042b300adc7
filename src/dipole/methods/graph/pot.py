"""POT."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from dipole.card import Card
from dipole.diagnostics.compactness import two_layers
from dipole.errors import InputError
from dipole.losses.node_compactness import Bound, message_passing_bounds, node_compactness, pot_loss
from dipole.methods.base import Method
from dipole.methods.graph.embedding import NodeEmbedding
from dipole.methods.wrapping import Wrapping
from dipole.ops.checks import check_at_least
from dipole.views.graph import GraphViews


class POT(Wrapping):
    """GRACE, GCA or CSGCL whose nodes stay close to themselves under every augmentation, as far as a bound can tell.

        1. two views by dropping edges alone; loss of the base
        2. bounds of the message-passing matrix for all augmentations within the budget q
        3. a linear lower bound of z_i · (z̄'_i − mean of the others), back through both layers: the compactness of i
        4. minimise (1 − κ) · loss of the base + κ · mean over both views of log(1 + exp(−compactness))

    Args:
        base: the method; its encoder must be a GCN of two layers with ReLU or PReLU.
        kappa: κ, the weight of compactness, from 0 to 1.
        nodes: whose compactness a step computes, drawn anew in each; all if None. Messages from others are lost.
        bound: `"fast"` as the authors compute it, or `"sound"`, which holds for every augmentation in the budget.

    Example:
        >>> from dipole.methods.graph.grace import GRACE
        >>> method = POT(base=GRACE(num_features=3, hidden=4))
        >>> x, edges = torch.rand(5, 3), torch.tensor([[0, 1], [1, 0]])
        >>> views = method.build_views()
        >>> views.prepare(x, edges)
        >>> batch = {"x": x, "edge_index": edges, **views(x, edges, generator=torch.Generator().manual_seed(0))}
        >>> sorted(method.loss_terms(batch))
        ['compactness', 'contrast', 'loss', 'not_compact']
    """

    card = Card(
        name="pot",
        slug="pot",
        title="Provable Training for Graph Contrastive Learning",
        authors="Yu, Wang, Zhang, Liu, Shi",
        year=2023,
        venue="NeurIPS",
        arxiv="2309.13944",
        field="graph",
        summary="A bound on how compact every node stays under all augmentations becomes a part of the loss.",
        equations=("node compactness", "bounds of the message-passing matrix", "POT loss"),
        official_code="VoidHaruhi/POT-GCL",
        differences=(
            "The augmented matrix is that of the encoder; the authors' code multiplies by its transpose "
            "(`node_compactness(…, official_orientation=True)`).",
            "Bounds are stored for edges, not as dense matrices.",
            "Nodes of a step are drawn anew; the authors take one batch of a shuffled order in each epoch.",
            '`bound="sound"` is a bound for every augmentation in the budget, which the authors\' is not.',
        ),
    )
    default_base = "grace"
    wraps = NodeEmbedding
    base: Any

    # Its bounds are of the neighbourhoods in the whole graph.
    whole_graph = True

    def __init__(self, *, base: Any, kappa: float = 0.4, nodes: int | None = None, bound: Bound = "fast") -> None:
        super().__init__(base=base)
        if not 0 <= kappa <= 1:
            raise InputError(f"kappa is {kappa}: expected a weight from 0 to 1.")
        if nodes is not None:
            check_at_least(nodes, 2, "nodes")
        two_layers(base.encoder)
        self.kappa, self.nodes, self.bound = kappa, nodes, bound
        self._views: GraphViews | None = None

    @classmethod
    def view_changes(cls, base: type[Method]) -> dict[str, Any]:
        """No attribute is dropped: what that does is not bounded."""
        return {"drop_feature_rate_1": 0.0, "drop_feature_rate_2": 0.0}

    def build_views(self, **options: Any) -> GraphViews:
        """Return the views of the base, and remember how probable it is that an edge falls."""
        self._views = self.base.build_views(**{**self.view_changes(type(self.base)), **options})
        return self._views

    def loss_terms(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the loss, the base's, POT's, and the mean compactness."""
        embedded: list[Tensor] = []
        watch = self.base.encoder.register_forward_hook(lambda _, __, z: embedded.append(z))
        try:
            terms = self.base.loss_terms(batch)
        finally:
            watch.remove()
        scores = self._compactness(batch, embedded)
        term = torch.stack([pot_loss(score) for score in scores]).mean()
        return {
            **terms,
            "loss": (1 - self.kappa) * terms["loss"] + self.kappa * term,
            "contrast": terms["loss"].detach(),
            "compactness": torch.cat(scores).detach().mean(),
            "not_compact": (torch.cat(scores).detach() < 0).float().mean(),
        }

    def _compactness(self, batch: Mapping[str, Any], embedded: list[Tensor]) -> list[Tensor]:
        """The compactness of some nodes in each view, against their embeddings in the other."""
        assert self._views is not None
        x, edges = batch["x"], batch["edge_index"]
        chosen = None
        if self.nodes is not None and self.nodes < len(x):
            chosen = torch.randperm(len(x))[: self.nodes].to(x.device)
        weights, slope = two_layers(self.base.encoder)
        found = []
        for view, keep in enumerate(self._views.keep):
            falls = torch.as_tensor(1 - keep, dtype=torch.float64, device=x.device).expand(edges.shape[1])
            expected = torch.zeros(len(x), dtype=torch.float64, device=x.device).index_add(0, edges[1], falls)
            other = embedded[1 - view]
            found.append(
                node_compactness(
                    x,
                    weights,
                    other if chosen is None else other[chosen],
                    message_passing_bounds(edges, len(x), expected_drops=expected),
                    batch["views"][view][1],
                    chosen,
                    negative_slope=slope,
                    bound=self.bound,
                )
            )
        return found
