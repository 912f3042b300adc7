"""Meta-path views of a graph of several kinds of nodes: which nodes a path joins, and how alike they are by it."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dipole.errors import InputError
from dipole.ops.checks import check_at_least, check_node_pairs

DENSE_FROM = 0.02  # share of entries from which a product with the dense matrix is faster


class WeightedEdges(NamedTuple):
    """A sparse matrix.

    Attributes:
        pairs: (2, E) rows and columns.
        weight: (E,).
    """

    pairs: Tensor
    weight: Tensor


def path_similarity(commuting: WeightedEdges, num_nodes: int) -> Float[Tensor, "e"]:
    """Compute PathSim, `2 C_ij / (C_ii + C_jj)`, of the pairs that a meta-path joins.

    Sun et al.: *PathSim: Meta Path-Based Top-K Similarity Search in Heterogeneous Information Networks* (VLDB 2011).

    Args:
        commuting: C, for each pair of nodes the number of paths between them.
        num_nodes: N.

    Returns:
        (E,); 0 where neither node is joined to itself.

    Raises:
        InputError: a pair names nodes that do not exist.

    Example:
        >>> pairs = WeightedEdges(torch.tensor([[0, 0, 1, 1], [0, 1, 0, 1]]), torch.tensor([2.0, 1.0, 1.0, 1.0]))
        >>> path_similarity(pairs, 2)
        tensor([1.0000, 0.6667, 0.6667, 1.0000])
    """
    rows, columns = check_node_pairs(commuting.pairs, num_nodes, "commuting")
    count = commuting.weight.double() if commuting.weight.dtype == torch.float64 else commuting.weight.float()
    loop = rows == columns
    own = count.new_zeros(num_nodes).index_add(0, rows[loop], count[loop])
    both = own[rows] + own[columns]
    return torch.where(both > 0, 2 * count / torch.where(both > 0, both, 1), 0)


def most_similar(commuting: WeightedEdges, num_nodes: int, neighbours: int) -> WeightedEdges:
    """Keep of each row the pairs with the highest PathSim, the node itself among them, and their numbers of paths.

    Of equally similar nodes those with the lower index stay. Pairs without a path are no edges.

    Args:
        commuting: C.
        num_nodes: N.
        neighbours: K, of each node.

    Raises:
        InputError: fewer than one neighbour, or a pair names nodes that do not exist.

    Example:
        >>> pairs = WeightedEdges(torch.tensor([[0, 0, 1, 1], [0, 1, 0, 1]]), torch.tensor([2.0, 1.0, 1.0, 1.0]))
        >>> most_similar(pairs, 2, 1).pairs.tolist()
        [[0, 1], [0, 1]]
    """
    check_at_least(neighbours, 1, "neighbours")
    similarity = path_similarity(commuting, num_nodes)
    alike = torch.nonzero(similarity > 0).flatten()
    order = alike[commuting.pairs[1][alike].argsort(stable=True)]
    order = order[similarity[order].argsort(descending=True, stable=True)]
    order = order[commuting.pairs[0][order].argsort(stable=True)]
    rows = commuting.pairs[0][order]
    first = torch.searchsorted(rows, torch.arange(num_nodes, device=rows.device))
    kept = order[torch.arange(len(rows), device=rows.device) - first[rows] < neighbours].sort().values
    return WeightedEdges(commuting.pairs[:, kept], commuting.weight[kept])


def normalize_adjacency(edges: WeightedEdges, num_nodes: int, *, transpose: bool = True) -> WeightedEdges:
    """Compute `A_ij / √(d_i d_j)` with `d_i = Σ_j A_ij`, or its transpose: node i then hears those that chose i.

    Args:
        edges: A.
        num_nodes: N.
        transpose: as the authors' code does.

    Example:
        >>> edges = WeightedEdges(torch.tensor([[0, 0, 1], [0, 1, 1]]), torch.tensor([2.0, 2.0, 1.0]))
        >>> normalize_adjacency(edges, 2)
        WeightedEdges(pairs=tensor([[0, 1, 1],
                [0, 0, 1]]), weight=tensor([0.5000, 1.0000, 1.0000]))
    """
    rows, columns = check_node_pairs(edges.pairs, num_nodes, "edges")
    weight = edges.weight if edges.weight.is_floating_point() else edges.weight.float()
    degree = weight.new_zeros(num_nodes).index_add(0, rows, weight)
    both = degree[rows] * degree[columns]
    normal = torch.where(both > 0, weight * torch.where(both > 0, both, 1).rsqrt(), 0)
    return WeightedEdges(torch.stack([columns, rows] if transpose else [rows, columns]), normal)


def masked_edges(edges: WeightedEdges, rate: float, *, generator: torch.Generator) -> Int[Tensor, "2 e"]:
    """Draw which directed edges between different nodes stay: all but `⌊rate · E⌋`.

    Args:
        edges: A.
        rate: share that falls.
        generator: of the draw.

    Raises:
        InputError: the rate is no share.
    """
    if not 0 <= rate < 1:
        raise InputError(f"edge_mask is {rate}: expected a share from 0 to below 1.")
    different = edges.pairs[:, edges.pairs[0] != edges.pairs[1]]
    count = different.shape[1]
    stays = torch.randperm(count, generator=generator)[int(rate * count) :].sort().values
    return different[:, stays.to(different.device)]


def binary_with_loops(kept: Int[Tensor, "2 e"], num_nodes: int, dtype: torch.dtype = torch.float32) -> WeightedEdges:
    """Give every edge and a loop of every node the weight 1, as in the authors' masked view.

    Example:
        >>> binary_with_loops(torch.tensor([[0], [1]]), 2).pairs.tolist()
        [[0, 0, 1], [1, 0, 1]]
    """
    loops = torch.arange(num_nodes, device=kept.device).expand(2, -1)
    index = torch.cat([kept, loops], dim=1)
    return WeightedEdges(index, torch.ones(index.shape[1], dtype=dtype, device=kept.device))


def masked_attributes(x: Float[Tensor, "n f"], rate: float, *, generator: torch.Generator) -> Float[Tensor, "n f"]:
    """Set `⌊rate · E⌋` of the E attributes that are not 0 to 0.

    Args:
        x: (N, F).
        rate: share that falls.
        generator: of the draw.

    Raises:
        InputError: the rate is no share.

    Example:
        >>> masked_attributes(torch.ones(2, 2), 0.5, generator=torch.Generator().manual_seed(0)).sum()
        tensor(2.)
    """
    if not 0 <= rate < 1:
        raise InputError(f"feature_mask is {rate}: expected a share from 0 to below 1.")
    places = torch.nonzero(x.flatten()).flatten()
    falls = torch.randperm(len(places), generator=generator)[: int(rate * len(places))]
    masked = x.clone().flatten()
    masked[places[falls.to(x.device)]] = 0
    return masked.view_as(x)


def row_means(incidence: WeightedEdges) -> WeightedEdges:
    """Divide every row by its sum, or by 1 if that is smaller: a product with it is the mean over neighbours.

    Example:
        >>> row_means(WeightedEdges(torch.tensor([[0, 0], [0, 1]]), torch.ones(2))).weight
        tensor([0.5000, 0.5000])
    """
    rows = incidence.pairs[0]
    sums = incidence.weight.new_zeros(int(rows.max()) + 1 if rows.numel() else 0).index_add(0, rows, incidence.weight)
    return WeightedEdges(incidence.pairs, incidence.weight / sums.clamp_min(1)[rows])


def as_matrix(edges: WeightedEdges, shape: tuple[int, int]) -> Tensor:
    """Return a matrix to multiply with: dense if many entries are not 0, else compressed by rows.

    Example:
        >>> as_matrix(WeightedEdges(torch.tensor([[0], [1]]), torch.ones(1)), (2, 2))
        tensor([[0., 1.],
                [0., 0.]])
    """
    import warnings

    matrix = torch.sparse_coo_tensor(edges.pairs, edges.weight, shape, check_invariants=True)
    if edges.pairs.shape[1] >= DENSE_FROM * shape[0] * shape[1]:
        return matrix.to_dense()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*Sparse CSR tensor support is in beta.*")
        return matrix.to_sparse_csr()
