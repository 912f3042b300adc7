"""MEOW and AdaMEOW."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from lightning.pytorch.callbacks import Callback, EarlyStopping
from torch import Tensor, nn

from dipole.card import Card
from dipole.data.graph.hetero_set import HeteroSet
from dipole.data.graph.hetero_views import prepare_views
from dipole.errors import InputError
from dipole.losses import cluster_concentration, cluster_contrast_loss, prototype_loss
from dipole.losses.common import accumulate, unit_rows
from dipole.losses.meow import Concentration
from dipole.methods.base import Method
from dipole.methods.optimization import OptimizerName, ScheduleName
from dipole.nn.graph.meta_paths import AdaptiveNegativeWeight, Embedded, MetaPathEncoder, MetaPathViews
from dipole.ops.checks import check_at_least, check_choice, check_temperature
from dipole.ops.clusters import kmeans

TITLE = "Heterogeneous Graph Contrastive Learning with Meta-path Contexts and Adaptively Weighted Negative Samples"


class MetaPathMethod(Method):
    """A coarse and a fine view of the target nodes of a graph of several kinds, brought together in one space.

    Args:
        attribute_widths: attributes of each kind of nodes, the target kind first; a run takes them from its graph.
        contexts: of each meta-path, the kinds at its inner places; likewise.
        neighbours: K of each meta-path, most similar nodes that stay joined; one number for all, or one for each.
        edge_mask: share of the edges that the masked twins lose; likewise.
        feature_mask: share of the attributes of target nodes that the masked twins lose.
        mask_seed: of both draws, which are made once.
        transpose: a node hears those that chose it, as in the authors' code; if not, those that it chose.
        hidden: width inside of the encoder.
        width: of the embeddings.
        dropout: of all layers.
        temperature: τ.
        anchors: nodes whose loss a step computes, drawn anew in each and contrasted with all nodes; all if None.
        patience: training ends when its loss has not improved for so many epochs; never early if None. The last
            weights stay, not those of the best epoch.
        optimizer: see `Method`; so are the next three.
        learning_rate: after warm-up.
        weight_decay: of all parameters.
        schedule: of the learning rate.
        decay_all: biases decay too.
        **optimization: further arguments of `Method`.
    """

    domain: ClassVar[str] = "heterograph"

    def __init__(
        self,
        *,
        attribute_widths: Sequence[int] = (30, 150, 12),
        contexts: Sequence[Sequence[int]] = ((1,), (2,)),
        neighbours: list[int] | int = 100,
        edge_mask: list[float] | float = 0.3,
        feature_mask: float = 0.3,
        mask_seed: int = 0,
        transpose: bool = True,
        hidden: int = 64,
        width: int = 64,
        dropout: float = 0.2,
        temperature: float = 0.4,
        anchors: int | None = None,
        patience: int | None = None,
        optimizer: OptimizerName = "adam",
        learning_rate: float = 7e-4,
        weight_decay: float = 0.0,
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
        if anchors is not None:
            check_at_least(anchors, 2, "anchors")
        if patience is not None:
            check_at_least(patience, 1, "patience")
        self.encoder = MetaPathEncoder(attribute_widths, contexts, hidden=hidden, width=width, dropout=dropout)
        self.projector = nn.Linear(width, width)
        self.neighbours = per_path(neighbours, len(contexts), "neighbours")
        self.edge_mask = per_path(edge_mask, len(contexts), "edge_mask")
        self.feature_mask, self.mask_seed, self.transpose = feature_mask, mask_seed, transpose
        self.temperature, self.anchors, self.patience = temperature, anchors, patience

    def configure_callbacks(self) -> list[Callback]:
        """Watch the training loss, if training may end early; how long it has waited is part of the checkpoint."""
        if self.patience is None:
            return []
        return [EarlyStopping("loss", patience=self.patience, check_on_train_epoch_end=True)]

    def views(self, graph: HeteroSet) -> MetaPathViews:
        """Return what the encoder reads of a graph."""
        return prepare_views(
            graph,
            neighbours=self.neighbours,
            edge_mask=self.edge_mask,
            feature_mask=self.feature_mask,
            seed=self.mask_seed,
            transpose=self.transpose,
        )

    def project(self, views: MetaPathViews) -> Embedded:
        """Return unit vectors u of the coarse and v of the fine view."""
        # Sparse products know no half precision.
        with torch.autocast(views.masked.device.type, enabled=False):
            coarse, fine = self.encoder(views)
            return Embedded(*(unit_rows(torch.tanh(self.projector(z))) for z in (coarse, fine)))

    def draw_anchors(self, nodes: int) -> Tensor:
        """Return the nodes whose loss this step computes."""
        if self.anchors is None or self.anchors >= nodes:
            return torch.arange(nodes, device=self.device)
        # Drawn on the processor, so that a run on another device has the same anchors.
        return torch.randperm(nodes)[: self.anchors].to(self.device)

    def embed(self, inputs: Mapping[str, Any]) -> Float[Tensor, "n d"]:
        """Return the fine view (N, D) of `views`, what `MetaPathMethod.views` makes of a graph."""
        return accumulate(self.encoder(inputs["views"]).fine)


def per_path(value: Any, paths: int, name: str) -> list[Any]:
    """Return a value for each meta-path.

    Raises:
        InputError: their number differs.

    Example:
        >>> per_path(3, 2, "neighbours"), per_path([1, 2], 2, "neighbours")
        ([3, 3], [1, 2])
    """
    values = list(value) if isinstance(value, list | tuple) else [value] * paths
    if len(values) != paths:
        raise InputError(f"{name} has {len(values)} values for {paths} meta-paths: give one, or one for each.")
    return values


class MEOW(MetaPathMethod):
    """Who is joined against who is joined by what, with negatives weighed by how many clusterings separate them.

        1. u = projected coarse view, v = projected fine view with meta-path contexts
        2. k-means on v for every k; γ_ij = clusterings that separate i and j; φ = width of each cluster
        3. L_con = −mean_i log( e^{u_i·v_i/τ} / Σ_j γ_ij e^{u_i·v_j/τ} )
        4. L_pro = −mean over k and i of log( e^{u_i·c_a(i)/φ_a(i)} / Σ_c e^{u_i·c/φ_c} ), a constant apart
        5. minimise L_con + λ L_pro

    Args:
        clusters: numbers of clusters, each a clustering of its own; at most one for every two nodes.
        prototype_weight: λ; 0 for none.
        weighted: if not, every other node is a negative of weight 1, whatever its cluster.
        share: divide γ by the number of clusterings, which changes no gradient.
        concentration: φ by distances to centroids (`"l2"`), or by inner products (`"ip"`) as in the authors' code.
        patience: see `MetaPathMethod`; the authors' is 30 for ACM, 35 for DBLP, 25 for AMiner and 15 for IMDB.
        **options: arguments of `MetaPathMethod` and `Method`.

    Example:
        >>> from dipole.data.graph import load_hetero
        >>> method = MEOW(clusters=[5, 9])
        >>> batch = {"index": torch.arange(300), "views": method.views(load_hetero("toy-papers"))}
        >>> sorted(method.loss_terms(batch))
        ['contrast', 'loss', 'prototypes', 'separated']
    """

    card = Card(
        name="meow",
        slug="meow",
        title=TITLE,
        authors="Yu, Ge, Li, Zhou",
        year=2023,
        venue="SDM",
        arxiv="2212.13847",
        field="graph",
        summary="Meta-path views of one kind of nodes; negatives weigh by how many clusterings separate them.",
        equations=("meta-path contexts", "weighted contrast", "prototype loss", "concentration φ"),
        official_code="jianxiangyu/MEOW",
        differences=(
            'φ is computed from distances as in PCL; the authors\' index returns inner products: concentration="ip".',
            "Inner places of longer meta-paths take the mean over the different nodes reached there.",
            "Features of a kind without attributes are one-hot, as a sparse matrix.",
            "One projection of the target kind serves all meta-paths; the authors' code for AMiner has one for each.",
            "The embedding is that of evaluation mode after training, not of the last step with dropout.",
            "Nodes that no clustering separates from any other are left out; the authors' loss is infinite there.",
        ),
    )

    def __init__(
        self,
        *,
        clusters: list[int] = [100, 300],  # noqa: B006
        prototype_weight: float = 1.0,
        weighted: bool = True,
        share: bool = False,
        concentration: Concentration = "l2",
        patience: int | None = 30,
        **options: Any,
    ) -> None:
        super().__init__(patience=patience, **options)
        if not clusters:
            raise InputError("clusters is empty: name one number of clusters or more.")
        check_at_least(min(clusters), 2, "clusters")
        check_at_least(prototype_weight, 0, "prototype_weight")
        check_choice(concentration, ("l2", "ip"), "concentration")
        self.clusters, self.prototype_weight, self.share = list(clusters), prototype_weight, share
        self.concentration, self.weighted = concentration, weighted

    def loss_terms(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the loss, its two parts, and the share of pairs that all clusterings separate."""
        coarse, fine = self.project(batch["views"])
        rows, nodes = self.draw_anchors(len(fine)), len(fine)
        most = max(2, nodes // 2)  # so that clusters have members, of which prototypes need two
        found = [
            kmeans(fine.detach(), min(count, most), seed=seed, starts=5, normalize=False, inner_product=True)
            for seed, count in enumerate(self.clusters)
        ]
        assignments = torch.stack([assignment for _, assignment in found]).to(fine.device)
        separating = assignments
        if not self.weighted:  # every node a cluster of its own
            separating = torch.arange(nodes, device=fine.device)[None]
        contrast = cluster_contrast_loss(
            coarse[rows], fine, separating, temperature=self.temperature, own=rows, share=self.share
        )
        terms = {"contrast": contrast.detach(), "separated": _separated(assignments)}
        if not self.prototype_weight:
            return {**terms, "loss": contrast}
        parts = []
        for (centroids, _), assignment in zip(found, assignments, strict=True):
            centres = centroids.to(fine)
            width = cluster_concentration(
                fine.detach(), assignment, centres, temperature=self.temperature, metric=self.concentration
            )
            parts.append(prototype_loss(coarse[rows], centres, assignment[rows], width))
        prototypes = torch.stack(parts).mean()
        return {**terms, "loss": contrast + self.prototype_weight * prototypes, "prototypes": prototypes.detach()}


class AdaMEOW(MetaPathMethod):
    """MEOW whose weights of negatives are learned: a small network sees both projected vectors of a pair.

        1. u = projected coarse view, v = projected fine view        2. w_ij = sigmoid(V₂ tanh(V₁ (v_i + u_j)))
        3. minimise −mean_i log( e^{v_i·u_i/τ} / Σ_j w_ij e^{v_i·u_j/τ} )

    Args:
        weight_hidden: width of the network.
        **options: arguments of `MetaPathMethod` and `Method`.

    Example:
        >>> from dipole.data.graph import load_hetero
        >>> method = AdaMEOW()
        >>> batch = {"index": torch.arange(300), "views": method.views(load_hetero("toy-papers"))}
        >>> sorted(method.loss_terms(batch))
        ['loss', 'mean_weight']
    """

    card = Card(
        name="adameow",
        slug="meow",
        title=TITLE,
        authors="Yu, Ge, Li, Zhou",
        year=2024,
        venue="TKDE",
        arxiv="2212.13847",
        field="graph",
        summary="MEOW with weights of negatives that a network learns.",
        equations=("adaptive weights", "weighted contrast"),
        official_code="jianxiangyu/MEOW",
        differences=(
            "V₁ v_i and V₁ u_j are computed once each and added in tiles; the authors hold a vector for every pair.",
            "Nothing keeps the weights from shrinking together, as in the authors' code; their mean is logged.",
            "The embedding is that of evaluation mode after training, not of the last step with dropout.",
        ),
    )

    def __init__(self, *, weight_hidden: int = 16, **options: Any) -> None:
        super().__init__(**options)
        check_at_least(weight_hidden, 1, "weight_hidden")
        self.weigh = AdaptiveNegativeWeight(self.encoder.width, weight_hidden)

    def loss_terms(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the loss and the mean weight of some pairs."""
        coarse, fine = self.project(batch["views"])
        rows = self.draw_anchors(len(fine))
        loss = self.weigh.contrast(fine[rows], coarse, temperature=self.temperature, own=rows)
        with torch.no_grad():
            mean = self.weigh(fine[rows[:64]], coarse).mean()
        return {"loss": loss, "mean_weight": mean}


def _separated(assignments: Tensor) -> Tensor:
    """The share of pairs that all clusterings separate, of the first nodes."""
    some = assignments[:, :256]
    return (some[:, :, None] != some[:, None]).all(dim=0).float().mean()
