"""Which papers are cited together."""

from typing import NamedTuple

import numpy as np

from dipole.errors import InputError


class CoCitations(NamedTuple):
    """Pairs that are cited by the same third paper.

    Attributes:
        pairs: (P, 2), the smaller number first, in ascending order.
        counts: (P,), by how many papers.
    """

    pairs: np.ndarray
    counts: np.ndarray


def co_citation_pairs(edges: np.ndarray, *, min_count: int = 1) -> CoCitations:
    """Find all pairs of papers that some third paper cites both.

    A citation of oneself does not count, and one that stands twice counts once.

    Args:
        edges: (E, 2) whole numbers: citing, cited.
        min_count: papers that must cite both.

    Raises:
        InputError: edges are no table of two columns of numbers of 0 or more, or `min_count` is below 1.

    Example:
        >>> co_citation_pairs(np.array([[0, 1], [0, 2], [3, 1], [3, 2]]))
        CoCitations(pairs=array([[1, 2]]), counts=array([2]))
    """
    import scipy.sparse

    edges = np.asarray(edges)
    if edges.ndim != 2 or edges.shape[1] != 2 or edges.dtype.kind not in "iu" or (edges < 0).any():
        raise InputError(f"edges are {edges.dtype} {edges.shape}: expected whole numbers (E, 2): citing, cited.")
    if min_count < 1:
        raise InputError(f"min_count is {min_count}: expected 1 or more.")
    edges = np.unique(edges[edges[:, 0] != edges[:, 1]], axis=0).astype(np.int64)
    size = int(edges.max(initial=-1)) + 1
    cites = scipy.sparse.csr_array((np.ones(len(edges), dtype=np.int64), (edges[:, 0], edges[:, 1])), (size, size))
    together = scipy.sparse.triu(cites.T @ cites, k=1).tocoo()
    kept = together.data >= min_count
    pairs = np.stack([together.row[kept], together.col[kept]], axis=1).astype(np.int64)
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    return CoCitations(pairs[order], together.data[kept][order])
