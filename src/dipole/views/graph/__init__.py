"""Views of graphs: communities and centralities, and what is dropped because of them."""

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
    communal_edge_score,
    communal_edge_weight,
    community_strength,
    detect_communities,
    simple_edges,
)
from dipole.views.graph.dropping import (
    cav_drop_probability,
    ced_keep_probability,
    drop_edges,
    drop_features,
)
from dipole.views.graph.views import CentralityViews, CommunalViews, GraphViews

__all__ = [
    "Centrality",
    "CentralityViews",
    "CommunalViews",
    "CommunityMethod",
    "GraphViews",
    "cav_drop_probability",
    "ced_keep_probability",
    "centrality_drop_probability",
    "centrality_weight",
    "communal_edge_score",
    "communal_edge_weight",
    "community_strength",
    "degree_centrality",
    "detect_communities",
    "drop_edges",
    "drop_features",
    "eigenvector_centrality",
    "feature_centrality",
    "pagerank_centrality",
    "simple_edges",
]
