"""How central nodes are, and what GCA drops because of it."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dipole.errors import InputError
from dipole.ops.checks import check_at_least
from dipole.views.graph.communities import check_edges

Centrality = Literal["degree", "pagerank", "eigenvector"]


def degree_centrality(edge_index: Int[Tensor, "2 e"], num_nodes: int) -> Float[Tensor, "n"]:
    """Count the edges that end in each node.

    Args:
        edge_index: (2, E), both directions of every edge.
        num_nodes: N.

    Returns:
        (N,).

    Raises:
        InputError: an edge names a node that does not exist.

    Example:
        >>> degree_centrality(torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]), 3)
        tensor([1., 2., 1.])
    """
    check_edges(edge_index, num_nodes)
    return torch.bincount(edge_index[1], minlength=num_nodes).float()


def pagerank_centrality(
    edge_index: Int[Tensor, "2 e"], num_nodes: int, *, damping: float = 0.85, steps: int = 10
) -> Float[Tensor, "n"]:
    """Let importance flow along the edges: `x_i ← (1 − d) x_i + d Σ_{j→i} x_j / deg(j)`, from x = 1.

    This is the form of GCA's code: the node keeps a share of its own importance where PageRank gives all nodes the
    same. The total stays N, but for nodes without edges.

    Args:
        edge_index: (2, E), both directions of every edge.
        num_nodes: N.
        damping: d.
        steps: how often it flows; GCA: 200 for edges, 10 for attributes.

    Returns:
        (N,).

    Raises:
        InputError: an edge names a node that does not exist, or d is no share.

    Example:
        >>> pagerank_centrality(torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]), 3, steps=1)
        tensor([0.5750, 1.8500, 0.5750])
    """
    check_edges(edge_index, num_nodes)
    check_at_least(steps, 1, "steps")
    if not 0 <= damping <= 1:
        raise InputError(f"damping is {damping}: expected a share from 0 to 1.")
    source, target = edge_index
    leaving = torch.bincount(source, minlength=num_nodes).float()
    x = torch.ones(num_nodes, device=edge_index.device)
    for _ in range(steps):
        arriving = torch.zeros_like(x).index_add_(0, target, x[source] / leaving[source])
        x = (1 - damping) * x + damping * arriving
    return x


def eigenvector_centrality(edge_index: Int[Tensor, "2 e"], num_nodes: int) -> Float[Tensor, "n"]:
    """Compute the leading eigenvector of the adjacency matrix, of length 1 and with no negative entry.

    Args:
        edge_index: (2, E), both directions of every edge.
        num_nodes: N.

    Returns:
        (N,), raised by 10⁻⁸ as in GCA's code; equal for all nodes of a graph without edges.

    Raises:
        InputError: an edge names a node that does not exist.

    Example:
        >>> eigenvector_centrality(torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]), 3)
        tensor([0.5000, 0.7071, 0.5000])
    """
    check_edges(edge_index, num_nodes)
    if edge_index.shape[1] == 0:
        return torch.full((num_nodes,), num_nodes**-0.5, device=edge_index.device)
    import numpy as np
    from scipy.sparse import csr_matrix
    from scipy.sparse.linalg import eigsh

    source, target = edge_index.cpu().numpy()
    matrix = csr_matrix((np.ones(len(source)), (target, source)), shape=(num_nodes, num_nodes))
    if num_nodes < 3:  # too small for the iteration
        vector = np.linalg.eigh(matrix.toarray())[1][:, -1]
    else:
        vector = eigsh(matrix, k=1, which="LA", v0=np.ones(num_nodes))[1][:, 0]
    vector = vector * (1 if vector.sum() >= 0 else -1)
    return torch.from_numpy(vector.clip(min=0) + 1e-8).float().to(edge_index.device)


def feature_centrality(
    x: Float[Tensor, "n f"], centrality: Float[Tensor, "n"], *, dense: bool = False
) -> Float[Tensor, "f"]:
    """Sum the centralities of the nodes that have an attribute: `Σ_i 1[x_if ≠ 0] c_i`, or `Σ_i |x_if| c_i` if dense.

    Zhu et al.: *Graph Contrastive Learning with Adaptive Augmentation* (WWW 2021).

    Args:
        x: (N, F) attributes.
        centrality: (N,).
        dense: weigh by the size of the attribute, where every node has every attribute.

    Returns:
        (F,).

    Example:
        >>> feature_centrality(torch.tensor([[0.5, 0.0], [2.0, 1.0]]), torch.tensor([1.0, 3.0]))
        tensor([4., 3.])
    """
    weight = x.abs() if dense else (x != 0).to(x.dtype)
    return weight.T @ centrality.to(x.dtype)


def centrality_weight(centrality: Float[Tensor, "k"], *, offset: float = 1.0) -> Float[Tensor, "k"]:
    """Turn centralities of edges or attributes into what they are dropped by: `w = (max s − s) / (max s − mean s)`.

    With s = log(offset + c). The mean of w is 1, and w is 1 throughout if all s are alike.

    Zhu et al.: *Graph Contrastive Learning with Adaptive Augmentation* (WWW 2021).

    Args:
        centrality: (K,) of each edge (that of its target) or each attribute.
        offset: 1 in the authors' code, 0 in the paper.

    Returns:
        (K,).

    Raises:
        InputError: `offset` is negative, or a logarithm is not finite.

    Example:
        >>> centrality_weight(torch.tensor([0.0, 1.0, 3.0]))  # s = 0, log 2, log 4
        tensor([2., 1., 0.])
    """
    check_at_least(offset, 0, "offset")
    scores = (offset + centrality).log()
    if not bool(scores.isfinite().all()):
        raise InputError("a centrality is 0, of which there is no logarithm: use offset=1, as in the authors' code.")
    if scores.numel() == 0 or bool(scores.max() == scores.min()):
        return torch.ones_like(scores)
    return (scores.max() - scores) / (scores.max() - scores.mean())


def centrality_drop_probability(
    weight: Float[Tensor, "k"], rate: float, *, threshold: float = 0.7
) -> Float[Tensor, "k"]:
    """Compute the probability of dropping an edge or attribute: `min(w / mean(w) · p, θ)`.

    Zhu et al.: *Graph Contrastive Learning with Adaptive Augmentation* (WWW 2021).

    Args:
        weight: (K,) of `centrality_weight`.
        rate: p, from 0 to 1.
        threshold: θ, the largest probability.

    Returns:
        (K,).

    Raises:
        InputError: a rate or threshold outside 0 to 1.

    Example:
        >>> centrality_drop_probability(torch.tensor([2.0, 1.0, 0.0]), 0.4)
        tensor([0.7000, 0.4000, 0.0000])
    """
    for name, value in (("rate", rate), ("threshold", threshold)):
        if not 0 <= value <= 1:
            raise InputError(f"{name} is {value}: expected a share from 0 to 1.")
    if weight.numel() == 0:
        return weight
    return (weight / weight.mean() * rate).clamp(max=threshold)
