"""GCA."""

from dipole.card import Card
from dipole.methods.graph.grace import GRACE
from dipole.views.graph import CentralityViews


class GCA(GRACE):
    """GRACE with views that keep what is important: edges to central nodes and attributes of central nodes.

        1. centralities of the nodes, once; w from their logarithms
        2. two views: edges and attributes fall with probability min(w / mean(w) · p, θ)
        3. as GRACE

    Args:
        **options: arguments of `NodeEmbedding` and `Method`.

    Example:
        >>> GCA(num_features=3, hidden=4).build_views(centrality="pagerank").threshold
        0.7
    """

    card = Card(
        name="gca",
        slug="csgcl",
        title="Graph Contrastive Learning with Adaptive Augmentation",
        authors="Zhu, Xu, Yu, Liu, Wu, Wang",
        year=2021,
        venue="WWW",
        arxiv="2010.14945",
        field="graph",
        summary="GRACE that drops edges and attributes of unimportant nodes more often.",
        equations=("objective of both directions", "adaptive dropping of edges", "adaptive masking of attributes"),
        official_code="CRIPAC-DIG/GCA",
        differences=(
            "The logarithm of centralities is log(1 + c), as in the authors' present code; `--views.log_offset 0` is "
            "the paper's log c.",
            "PageRank is the authors' iteration, in which a node keeps a share of its own importance.",
            "Where all centralities are alike, everything falls with the same probability; the authors' code divides "
            "by zero.",
            "The eigenvector is found with SciPy's symmetric solver from a fixed start, also for a graph in several "
            "parts.",
        ),
    )
    views_class = CentralityViews
