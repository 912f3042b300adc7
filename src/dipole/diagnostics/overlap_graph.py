"""How views of different samples overlap: a graph, its spectrum, and how often an augmentation changes the label."""

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from dipole.errors import InputError
from dipole.ops.checks import check_at_least, check_embeddings
from dipole.ops.door import public

DENSE = 2000  # samples up to which all eigenvalues of a dense matrix are computed


@public
def overlap_graph(x: Float[Tensor, "n d"], radius: float) -> Any:
    """Compute `W_ij = |B(x_i) ∩ B(x_j)| / |B|²`, the overlap of balls of radius r: augmentation by uniform noise.

    A sparse matrix: balls whose centres are 2r apart or more do not meet. W_ii = 1 / |B|.

    Wang, Zhang, Wang: *Do Generated Data Always Help Contrastive Learning?* (ICLR 2024); a graph on samples stands for
    the paper's graph on views.

    Args:
        x: (N, d) samples.
        radius: r of the noise.

    Returns:
        A SciPy matrix (N, N) in CSR form, float64.

    Raises:
        InputError: the radius is not above 0, or a value is not finite.

    Example:
        >>> graph = overlap_graph(torch.tensor([[0.0, 0.0], [1.0, 0.0], [5.0, 0.0]]), 1.0)
        >>> graph.nnz, round(float(graph[0, 1] / graph[0, 0]), 4)  # a lens, as a share of a disc
        (5, 0.391)
    """
    from scipy.sparse import coo_matrix
    from scipy.spatial import cKDTree

    check_embeddings(x=x)
    if not (math.isfinite(radius) and radius > 0):
        raise InputError(f"radius is {radius}: expected a number above 0.")
    points = x.detach().double().cpu().numpy()
    near = cKDTree(points).sparse_distance_matrix(cKDTree(points), 2 * radius, output_type="coo_matrix")
    count, dim = points.shape
    # The matrix of distances leaves out zeros: samples at the same place, and each itself.
    weight = 2 * _cap(near.data / 2 / radius, dim) / _volume(radius, dim)
    same = _same_place(points)
    rows, columns = np.concatenate([near.row, same[0]]), np.concatenate([near.col, same[1]])
    values = np.concatenate([weight, np.full(len(same[0]), 1 / _volume(radius, dim))])
    known = np.concatenate([near.data > 0, np.ones(len(same[0]), dtype=bool)])
    return coo_matrix((values[known], (rows[known], columns[known])), shape=(count, count)).tocsr()


@public
def laplacian_spectrum(graph: Any, count: int | None = None) -> Float[Tensor, "k"]:
    """Compute the smallest eigenvalues of `L = I − D^(−1/2) W D^(−1/2)`, in ascending order.

    λ_{k+1} is how well connected the graph is beyond k parts. Large graphs are kept sparse, and their eigenvalues
    found by Lanczos' method.

    Args:
        graph: W, a symmetric SciPy matrix (N, N) with entries of 0 or more.
        count: how many; all if None, for at most 2000 samples.

    Raises:
        InputError: all eigenvalues of a large graph were asked for, or a sample has no weight at all.

    Example:
        >>> from scipy.sparse import csr_matrix
        >>> laplacian_spectrum(csr_matrix([[1.0, 0.0], [0.0, 1.0]]))
        tensor([0., 0.], dtype=torch.float64)
    """
    from scipy.sparse import diags, identity
    from scipy.sparse.linalg import eigsh

    size = graph.shape[0]
    degree = np.asarray(graph.sum(axis=1)).ravel()
    if not (degree > 0).all():
        raise InputError("a sample of the graph has no weight at all: give it a weight with itself.")
    root = diags(degree**-0.5)
    normalised = root @ graph @ root
    if size <= DENSE:
        values = np.linalg.eigvalsh(np.eye(size) - normalised.toarray()).clip(0)
        return torch.from_numpy(values[:count])
    if count is None or count >= size - 1:
        raise InputError(f"all eigenvalues of a graph of {size} samples were asked for: say with count=… how many.")
    check_at_least(count, 1, "count")
    # The largest of 2 I − L are the smallest of L; a start of ones is the same in every run.
    found = eigsh(identity(size) + normalised, k=count, which="LA", v0=np.ones(size), return_eigenvectors=False)
    return torch.from_numpy(np.sort(2 - found).clip(0))


@public
def labelling_error(x: Float[Tensor, "n d"], radius: float) -> tuple[Float[Tensor, "n"], Int64[Tensor, "n"]]:
    """Compute how much of the ball around each sample lies beyond the boundary x₁ = 0, where the label is another.

    Args:
        x: (N, d); the label is 1 where x₁ > 0.
        radius: r of the noise.

    Returns:
        The share (N,) of each sample, whose mean is the labelling error α, and the labels (N,).

    Raises:
        InputError: the radius is not above 0, or a value is not finite.

    Example:
        >>> labelling_error(torch.tensor([[0.0, 3.0], [2.0, 0.0]]), 1.0)[0]
        tensor([0.5000, 0.0000], dtype=torch.float64)
    """
    check_embeddings(x=x)
    if not (math.isfinite(radius) and radius > 0):
        raise InputError(f"radius is {radius}: expected a number above 0.")
    first = x[:, 0].detach().double().cpu()
    share = _cap(first.abs().numpy() / radius, x.shape[1])
    return torch.from_numpy(share), (first > 0).long()


def _cap(height: Any, dim: int) -> Any:
    """Share of a ball beyond a plane at a distance from its centre, given as a share of the radius."""
    from scipy.special import betainc

    return betainc((dim + 1) / 2, 0.5, (1 - np.square(height)).clip(0)) / 2


def _volume(radius: float, dim: int) -> float:
    """Volume of a ball."""
    return math.pi ** (dim / 2) * radius**dim / math.gamma(dim / 2 + 1)


def _same_place(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of samples at one place, each with itself among them."""
    from scipy.sparse import csr_matrix

    place = np.unique(points, axis=0, return_inverse=True)[1].ravel()
    member = csr_matrix((np.ones(len(place)), (np.arange(len(place)), place)))
    both = (member @ member.T).tocoo()
    return both.row, both.col
