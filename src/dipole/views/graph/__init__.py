"""Views of graphs: communities and centralities, and what is dropped because of them."""

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

__all__ = [
    "CommunityMethod",
    "cav_drop_probability",
    "ced_keep_probability",
    "communal_edge_score",
    "communal_edge_weight",
    "community_strength",
    "detect_communities",
    "drop_edges",
    "drop_features",
    "simple_edges",
]
