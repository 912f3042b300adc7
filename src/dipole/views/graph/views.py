"""The two views of a graph that GRACE, GCA and CSGCL train on."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dipole.errors import InputError
from dipole.ops.checks import check_choice
from dipole.views.graph.centrality import (
    Centrality,
    centrality_drop_probability,
    centrality_weight,
    degree_centrality,
    eigenvector_centrality,
    feature_centrality,
    pagerank_centrality,
)
from dipole.views.graph.communities import (
    CommunityMethod,
    communal_edge_weight,
    community_strength,
    detect_communities,
)
from dipole.views.graph.dropping import cav_drop_probability, ced_keep_probability, drop_edges, drop_features

PAGERANK_STEPS_OF_EDGES, PAGERANK_STEPS_OF_FEATURES = 200, 10  # as in GCA's code

Probability = float | Tensor


class GraphViews:
    """Edges and attributes fall at random, all alike (GRACE). An attribute falls for all nodes.

    Zhu et al.: *Deep Graph Contrastive Representation Learning* (2020).

    Args:
        drop_edge_rate_1: probability that a directed edge falls in the first view.
        drop_edge_rate_2: the same in the second view.
        drop_feature_rate_1: probability that an attribute falls in the first view.
        drop_feature_rate_2: the same in the second view.

    Raises:
        InputError: a rate outside 0 to 1.

    Example:
        >>> views = GraphViews(drop_edge_rate_1=1.0, drop_edge_rate_2=0.0)
        >>> x, edges = torch.ones(2, 3), torch.tensor([[0, 1], [1, 0]])
        >>> views.prepare(x, edges)
        >>> made = views(x, edges, generator=torch.Generator().manual_seed(0))
        >>> [edges.shape[1] for _, edges in made["views"]]
        [0, 2]
    """

    def __init__(
        self,
        *,
        drop_edge_rate_1: float = 0.3,
        drop_edge_rate_2: float = 0.4,
        drop_feature_rate_1: float = 0.1,
        drop_feature_rate_2: float = 0.0,
    ) -> None:
        self.edge_rates = (drop_edge_rate_1, drop_edge_rate_2)
        self.feature_rates = (drop_feature_rate_1, drop_feature_rate_2)
        for name, rates in (("drop_edge_rate", self.edge_rates), ("drop_feature_rate", self.feature_rates)):
            for view, rate in enumerate(rates, 1):
                if not 0 <= rate <= 1:
                    raise InputError(f"{name}_{view} is {rate}: expected a share from 0 to 1.")
        self.keep: list[Probability] = []
        self.drop: list[Probability] = []
        self.of_nodes: dict[str, Tensor] = {}

    def prepare(self, x: Float[Tensor, "n f"], edge_index: Int[Tensor, "2 e"]) -> None:
        """Compute once how probable it is that an edge stays and that an attribute falls, in each view.

        Args:
            x: (N, F) attributes.
            edge_index: (2, E), both directions of every edge.
        """
        self.keep = [1 - rate for rate in self.edge_rates]
        self.drop = list(self.feature_rates)

    def __call__(
        self,
        x: Float[Tensor, "n f"],
        edge_index: Int[Tensor, "2 e"],
        *,
        generator: torch.Generator,
        nodes: Int[Tensor, "n"] | None = None,
        edges: Int[Tensor, "e"] | None = None,
    ) -> dict[str, Any]:
        """Draw two views: `views`, a pair of `(x, edge_index)`, and what is known of the nodes, such as their strength.

        Args:
            x: (N, F) of the graph that `prepare` has seen, or of a part of it.
            edge_index: (2, E) of that graph, or of the part.
            generator: of the draws, on the device of the graph.
            nodes: (N,) which nodes the part has; None for the whole graph.
            edges: (E,) which edges the part has.
        """
        kept = [drop_edges(edge_index, _of_part(keep, edges), generator=generator) for keep in self.keep]
        features = [drop_features(x, drop, generator=generator) for drop in self.drop]
        known = {name: _of_part(values, nodes).to(x.device) for name, values in self.of_nodes.items()}
        return {"views": list(zip(features, kept, strict=True)), **known}


def _of_part(values: Any, places: Tensor | None) -> Any:
    """What belongs to a part of a graph, of a number for all or one for each."""
    return values if places is None or not isinstance(values, Tensor) else values[places.to(values.device)]


class CentralityViews(GraphViews):
    """Edges to unimportant nodes, and attributes of unimportant nodes, fall more often (GCA).

    Zhu et al.: *Graph Contrastive Learning with Adaptive Augmentation* (WWW 2021).

    Args:
        centrality: `"degree"`, `"pagerank"` or `"eigenvector"`.
        threshold: the largest probability of falling.
        dense: weigh attributes by their size, not by whether a node has them.
        log_offset: 1 in the authors' code, 0 in the paper; see `centrality_weight`.
        drop_edge_rate_1: see `GraphViews`; here the mean over the edges, before the threshold.
        drop_edge_rate_2: the same in the second view.
        drop_feature_rate_1: the mean over the attributes in the first view.
        drop_feature_rate_2: the same in the second view.

    Raises:
        InputError: a rate or threshold outside 0 to 1, or an unknown centrality.

    Example:
        >>> views = CentralityViews(centrality="degree", drop_edge_rate_1=0.3)
        >>> views.prepare(torch.ones(3, 2), torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]))
        >>> views.keep[0]  # edges to the middle stay
        tensor([1.0000, 0.4000, 0.4000, 1.0000])
    """

    def __init__(
        self,
        *,
        centrality: Centrality = "degree",
        threshold: float = 0.7,
        dense: bool = False,
        log_offset: float = 1.0,
        drop_edge_rate_1: float = 0.3,
        drop_edge_rate_2: float = 0.4,
        drop_feature_rate_1: float = 0.1,
        drop_feature_rate_2: float = 0.0,
    ) -> None:
        super().__init__(
            drop_edge_rate_1=drop_edge_rate_1,
            drop_edge_rate_2=drop_edge_rate_2,
            drop_feature_rate_1=drop_feature_rate_1,
            drop_feature_rate_2=drop_feature_rate_2,
        )
        check_choice(centrality, ("degree", "pagerank", "eigenvector"), "centrality")
        self.centrality, self.threshold, self.dense, self.log_offset = centrality, threshold, dense, log_offset

    def prepare(self, x: Float[Tensor, "n f"], edge_index: Int[Tensor, "2 e"]) -> None:
        """Compute the centralities, and from them the probabilities.

        Args:
            x: (N, F) attributes.
            edge_index: (2, E), both directions of every edge.
        """
        of_edges, of_features = self._centralities(edge_index, len(x))
        edges = centrality_weight(of_edges[edge_index[1]], offset=self.log_offset)
        features = centrality_weight(feature_centrality(x, of_features, dense=self.dense), offset=self.log_offset)
        threshold = self.threshold
        self.keep = [1 - centrality_drop_probability(edges, rate, threshold=threshold) for rate in self.edge_rates]
        self.drop = [centrality_drop_probability(features, rate, threshold=threshold) for rate in self.feature_rates]

    def _centralities(self, edge_index: Tensor, nodes: int) -> tuple[Tensor, Tensor]:
        """The centralities that decide on edges and on attributes."""
        if self.centrality == "pagerank":
            of_edges = pagerank_centrality(edge_index, nodes, steps=PAGERANK_STEPS_OF_EDGES)
            return of_edges, pagerank_centrality(edge_index, nodes, steps=PAGERANK_STEPS_OF_FEATURES)
        compute = degree_centrality if self.centrality == "degree" else eigenvector_centrality
        found = compute(edge_index, nodes)
        return found, found


class CommunalViews(GraphViews):
    """Edges of weak communities, edges between communities, and attributes of weak communities fall more often (CSGCL).

    Chen et al.: *CSGCL: Community-Strength-Enhanced Graph Contrastive Learning* (IJCAI 2023), CED and CAV.

    Args:
        communities: `"leiden"` or `"louvain"`, see `detect_communities`.
        community_seed: of their search.
        edge_threshold: θ, the largest probability that an edge falls.
        feature_threshold: the largest probability that an attribute falls.
        dense: for attributes that every node has, see `cav_drop_probability`.
        drop_edge_rate_1: p of the first view, see `ced_keep_probability`.
        drop_edge_rate_2: the same in the second view.
        drop_feature_rate_1: p of the first view, see `cav_drop_probability`.
        drop_feature_rate_2: the same in the second view.

    Raises:
        InputError: a rate outside 0 to 1, or an unknown search; when prepared, a threshold outside 0 to 1 or a graph
            without edges.

    Example:
        >>> views = CommunalViews(drop_edge_rate_1=0.3, edge_threshold=0.8)
        >>> triangles = torch.tensor([[0, 1, 2, 3, 4, 5, 2], [1, 2, 0, 4, 5, 3, 3]])
        >>> views.prepare(torch.eye(6), triangles)
        >>> views.keep[0][-2:]  # of the edge between the triangles, the rest
        tensor([0.8167, 0.2000], dtype=torch.float64)
    """

    def __init__(
        self,
        *,
        communities: CommunityMethod = "leiden",
        community_seed: int = 0,
        edge_threshold: float = 1.0,
        feature_threshold: float = 1.0,
        dense: bool = False,
        drop_edge_rate_1: float = 0.3,
        drop_edge_rate_2: float = 0.4,
        drop_feature_rate_1: float = 0.1,
        drop_feature_rate_2: float = 0.0,
    ) -> None:
        super().__init__(
            drop_edge_rate_1=drop_edge_rate_1,
            drop_edge_rate_2=drop_edge_rate_2,
            drop_feature_rate_1=drop_feature_rate_1,
            drop_feature_rate_2=drop_feature_rate_2,
        )
        check_choice(communities, ("leiden", "louvain"), "communities")
        self.communities, self.community_seed = communities, community_seed
        self.edge_threshold, self.feature_threshold, self.dense = edge_threshold, feature_threshold, dense

    def prepare(self, x: Float[Tensor, "n f"], edge_index: Int[Tensor, "2 e"]) -> None:
        """Find the communities and their strengths, and from them the probabilities and `node_strength` (N,).

        Args:
            x: (N, F) attributes.
            edge_index: (2, E), both directions of every edge.
        """
        community = detect_communities(edge_index, len(x), method=self.communities, seed=self.community_seed)
        strength = community_strength(edge_index, community)
        weight = communal_edge_weight(edge_index, community, strength)
        of_nodes = strength[community].to(x.dtype)
        self.of_nodes = {"node_strength": of_nodes}
        self.keep = [ced_keep_probability(weight, rate, threshold=self.edge_threshold) for rate in self.edge_rates]
        self.drop = [
            cav_drop_probability(x, of_nodes, rate, threshold=self.feature_threshold, dense=self.dense)
            for rate in self.feature_rates
        ]
