"""Communities of a graph: which nodes belong together, and how strongly."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dipole.errors import InputError
from dipole.ops.checks import check_choice, check_node_pairs

CommunityMethod = Literal["leiden", "louvain"]


def simple_edges(edge_index: Int[Tensor, "2 e"], num_nodes: int, *, symmetrize: bool = True) -> Int[Tensor, "2 m"]:
    """Return every undirected edge once, as (smaller, larger) node; self-loops stay.

    Args:
        edge_index: (2, E) edges, in one or both directions, also several times.
        num_nodes: N.
        symmetrize: an edge of either direction counts. False: only those from a smaller to a larger node do, as in
            the authors' code of CSGCL, where the one-way links of a directed graph are lost in the other direction.

    Returns:
        (2, M), sorted.

    Raises:
        InputError: an edge names a node that does not exist.

    Example:
        >>> simple_edges(torch.tensor([[0, 1, 1, 2], [1, 0, 1, 1]]), 3)
        tensor([[0, 1, 1],
                [1, 1, 2]])
    """
    check_edges(edge_index, num_nodes)
    if not symmetrize:
        edge_index = edge_index[:, edge_index[0] <= edge_index[1]]
    low, high = edge_index.min(dim=0).values, edge_index.max(dim=0).values
    code = torch.unique(low * num_nodes + high)
    return torch.stack([code // num_nodes, code % num_nodes])


def detect_communities(
    edge_index: Int[Tensor, "2 e"],
    num_nodes: int,
    *,
    method: CommunityMethod = "leiden",
    seed: int = 0,
    symmetrize: bool = True,
) -> Int[Tensor, "n"]:
    """Find the communities of a graph by modularity, at resolution 1 and without weights.

    Traag, Waltman, van Eck: *From Louvain to Leiden* (2019); Blondel et al.: *Fast unfolding of communities* (2008).

    Args:
        edge_index: (2, E) edges; duplicates count once.
        num_nodes: N. A node without edges is a community of its own.
        method: `"leiden"` (leidenalg, as in CSGCL) or `"louvain"` (networkx).
        seed: of the search, which is random.
        symmetrize: see `simple_edges`.

    Returns:
        (N,) the community of each node, numbered from 0, the largest first.

    Raises:
        InputError: an edge names a node that does not exist, or there is no such method.

    Example:
        >>> detect_communities(torch.tensor([[0, 1, 2, 3], [1, 2, 0, 4]]), 5)
        tensor([0, 0, 0, 1, 1])
    """
    check_choice(method, ("leiden", "louvain"), "method")
    edges = simple_edges(edge_index, num_nodes, symmetrize=symmetrize).T.cpu().numpy()
    if method == "leiden":
        try:
            import igraph
            import leidenalg
        except ModuleNotFoundError as error:
            raise InputError(f"communities need the package {error.name}: pip install 'dipole[graph]'.") from error
        graph = igraph.Graph(n=num_nodes, edges=edges)
        partition = leidenalg.find_partition(graph, leidenalg.ModularityVertexPartition, seed=seed)
        found = torch.tensor(partition.membership, dtype=torch.long)
    else:
        import networkx

        graph = networkx.Graph(edges.tolist())
        graph.add_nodes_from(range(num_nodes))
        found = torch.empty(num_nodes, dtype=torch.long)
        for number, nodes in enumerate(networkx.community.louvain_communities(graph, seed=seed)):
            found[list(nodes)] = number
    return _largest_first(found).to(edge_index.device)


def community_strength(
    edge_index: Int[Tensor, "2 e"], community: Int[Tensor, "n"], *, symmetrize: bool = True
) -> Float[Tensor, "k"]:
    """Compute what each community adds to the modularity: `S_c = in_c / m − (D_c / (2m))²`.

    m is the number of undirected edges, in_c those inside the community c, D_c the sum of the degrees of its nodes. A
    self-loop is one edge and adds 2 to the degree. The strengths sum to the modularity.

    Chen et al.: *CSGCL: Community-Strength-Enhanced Graph Contrastive Learning* (IJCAI 2023), community strength.

    Args:
        edge_index: (2, E) edges; duplicates count once.
        community: (N,) the community of each node, 0 to K − 1.
        symmetrize: see `simple_edges`.

    Returns:
        (K,) in float64.

    Raises:
        InputError: there are no edges, an edge names a node that does not exist, or a community is negative.

    Example:
        >>> triangle_and_pair = torch.tensor([[0, 1, 2, 3], [1, 2, 0, 4]])
        >>> community_strength(triangle_and_pair, torch.tensor([0, 0, 0, 1, 1]))  # 3/4 − (6/8)², 1/4 − (2/8)²
        tensor([0.1875, 0.1875], dtype=torch.float64)
    """
    low, high = simple_edges(edge_index, len(community), symmetrize=symmetrize)
    edges = low.numel()
    if edges == 0:
        raise InputError("a graph without edges has no communities: use a method that does not need them, e.g. grace.")
    if int(community.min()) < 0:
        raise InputError(f"community holds {int(community.min())}: expected numbers from 0.")
    count = int(community.max()) + 1
    inside = community[low][community[low] == community[high]]
    ends = community[torch.cat([low, high])]  # a self-loop has both its ends here
    return (
        torch.bincount(inside, minlength=count).double() / edges
        - (torch.bincount(ends, minlength=count).double() / (2 * edges)) ** 2
    )


def communal_edge_score(
    edge_index: Int[Tensor, "2 e"], community: Int[Tensor, "n"], strength: Float[Tensor, "k"]
) -> Float[Tensor, "e"]:
    """Compute how much the communities hold an edge: `S_c` inside the community c, `−(S_c + S_d)` between c and d.

    Chen et al.: *CSGCL* (IJCAI 2023), communal edge dropping.

    Args:
        edge_index: (2, E).
        community: (N,).
        strength: (K,) of `community_strength`.

    Returns:
        (E,), one for each directed entry.

    Example:
        >>> edges = torch.tensor([[0, 1], [1, 2]])
        >>> communal_edge_score(edges, torch.tensor([0, 0, 1]), torch.tensor([0.3, 0.1]))
        tensor([ 0.3000, -0.4000])
    """
    source, target = community[edge_index]
    return torch.where(source == target, strength[source], -(strength[source] + strength[target]))


def communal_edge_weight(
    edge_index: Int[Tensor, "2 e"], community: Int[Tensor, "n"], strength: Float[Tensor, "k"]
) -> Float[Tensor, "e"]:
    """Scale `communal_edge_score` to [0, 1] over all edges: `w = (score − min) / (max − min)`; 1 if all are equal.

    Chen et al.: *CSGCL* (IJCAI 2023), communal edge dropping.

    Args:
        edge_index: (2, E).
        community: (N,).
        strength: (K,) of `community_strength`.

    Returns:
        (E,): 1 for an edge inside the strongest community, 0 between the two strongest.

    Example:
        >>> edges = torch.tensor([[0, 1, 3], [1, 2, 2]])
        >>> communal_edge_weight(edges, torch.tensor([0, 0, 1, 1]), torch.tensor([0.3, 0.1]))
        tensor([1.0000, 0.0000, 0.7143])
    """
    score = communal_edge_score(edge_index, community, strength)
    if score.numel() == 0 or bool(score.max() == score.min()):
        return torch.ones_like(score)
    return (score - score.min()) / (score.max() - score.min())


def check_edges(edge_index: Tensor, num_nodes: int) -> None:
    """Require edges between nodes that exist.

    Raises:
        InputError: another shape, or a number that is no node.
    """
    check_node_pairs(edge_index, num_nodes, "edge_index")


def _largest_first(community: Tensor) -> Tensor:
    """Number communities by size, those of one size by their first node."""
    _, compact, sizes = torch.unique(community, return_inverse=True, return_counts=True)
    first = torch.full_like(sizes, len(community)).scatter_reduce_(
        0, compact, torch.arange(len(community)), reduce="amin"
    )
    order = sorted(range(len(sizes)), key=lambda c: (-int(sizes[c]), int(first[c])))
    number = torch.empty_like(sizes)
    number[torch.tensor(order, dtype=torch.long)] = torch.arange(len(sizes))
    return number[compact]
