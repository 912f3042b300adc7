"""k-means by cosine: plain, and with clusters of equal size."""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from dipole.errors import InputError
from dipole.ops.checks import check_at_least, check_embeddings
from dipole.ops.door import public


class Clusters(NamedTuple):
    """Attributes:

    assignment: (N,) cluster of each row, before the last update of the centres.
    centres: (K, D), means of the rows as they are.
    """

    assignment: Tensor
    centres: Tensor


def check_clusters(rows: int, clusters: int) -> None:
    """Require as many rows as clusters.

    Raises:
        InputError: no cluster, or fewer rows.

    Example:
        >>> check_clusters(4, 2)
    """
    check_at_least(clusters, 1, "the number of clusters")
    if clusters > rows:
        raise InputError(f"{clusters} clusters were asked for of {rows} samples: ask for at most {rows}.")


@public
def cosine_kmeans(
    features: Float[Tensor, "n d"],
    clusters: int,
    *,
    initial_rows: Int[Tensor, "k"] | None = None,
    tolerance: float = 1e-3,
    max_iterations: int = 35,
    generator: torch.Generator | None = None,
) -> Clusters:
    """Cluster rows by cosine: assign to the centre of the largest cosine, move the centre to the mean of its rows.

    Ends when `(Σ_k ‖shift_k‖)²` is below the tolerance. A cluster that has lost all rows starts again at a random one.

    Args:
        features: (N, D); centres are means of the rows as they are.
        clusters: K.
        initial_rows: (K,) rows at which the centres start; drawn if None.
        tolerance: of the squared sum of shifts.
        max_iterations: at most.
        generator: of the draws.

    Raises:
        InputError: more clusters than rows, or other initial rows than clusters.

    Example:
        >>> rows = torch.tensor([[1.0, 0.0], [2.0, 0.1], [0.0, 1.0], [0.1, 3.0]])
        >>> cosine_kmeans(rows, 2, initial_rows=torch.tensor([0, 2])).assignment
        tensor([0, 0, 1, 1])
    """
    centres = _start(features, clusters, initial_rows, generator)
    unit = F.normalize(features, dim=1)
    assignment = torch.zeros(len(features), dtype=torch.int64)
    for _ in range(max_iterations):
        assignment = (unit @ F.normalize(centres, dim=1).T).argmax(dim=1)
        moved = _means(features, assignment, clusters)
        for empty in (torch.bincount(assignment, minlength=clusters) == 0).nonzero().flatten().tolist():
            moved[empty] = features[int(torch.randint(len(features), (), generator=generator))]
        shift = (moved - centres).norm(dim=1).sum() ** 2
        centres = moved
        if float(shift) < tolerance:
            break
    return Clusters(assignment, centres)


@public
def balanced_kmeans(
    features: Float[Tensor, "n d"],
    clusters: int,
    *,
    initial_rows: Int[Tensor, "k"] | None = None,
    tolerance: float = 1e-3,
    max_iterations: int = 50,
    generator: torch.Generator | None = None,
) -> Clusters:
    """Cluster rows by cosine into clusters of ⌊N/K⌋ or ⌊N/K⌋ + 1 rows.

    Cosines of a centre are divided by their sum; pairs of row and centre are visited from the largest, and a row goes
    to a cluster that has room. Where the sum is not above 0, the cosines stay as they are.

    Hou et al.: *Subclass-balancing Contrastive Learning* (ICCV 2023), algorithm 1.

    Args:
        features: (N, D).
        clusters: K.
        initial_rows: (K,) rows at which the centres start; drawn if None.
        tolerance: of the squared sum of shifts.
        max_iterations: at most.
        generator: of the draws.

    Raises:
        InputError: more clusters than rows, or other initial rows than clusters.

    Example:
        >>> rows = torch.tensor([[1.0, 0.0], [2.0, 0.1], [3.0, 0.2], [0.1, 3.0]])
        >>> balanced_kmeans(rows, 2, initial_rows=torch.tensor([0, 3])).assignment.bincount()
        tensor([2, 2])
    """
    centres = _start(features, clusters, initial_rows, generator)
    unit = F.normalize(features, dim=1)
    assignment = torch.zeros(len(features), dtype=torch.int64)
    for _ in range(max_iterations):
        assignment = balanced_assignment(F.normalize(centres, dim=1) @ unit.T)
        moved = _means(features, assignment, clusters)
        shift = (moved - centres).norm(dim=1).sum() ** 2
        centres = moved
        if float(shift) < tolerance:
            break
    return Clusters(assignment, centres)


@public
def balanced_assignment(cosines: Float[Tensor, "k n"]) -> Int[Tensor, "n"]:
    """Assign rows to centres, the same number to each, by their cosines from the largest; see `balanced_kmeans`.

    Args:
        cosines: (K, N) of centres and rows.

    Example:
        >>> balanced_assignment(torch.tensor([[0.9, 0.8], [0.1, 0.2]]))
        tensor([0, 1])
    """
    clusters, count = cosines.shape
    check_clusters(count, clusters)
    total = cosines.sum(dim=1, keepdim=True)
    scores = torch.where(total > 0, cosines / torch.where(total > 0, total, 1), cosines)
    order = np.argsort(-scores.detach().cpu().numpy().ravel(), kind="stable")
    room = [count // clusters] * clusters
    found = [-1] * count
    for capacity in (room, [1] * clusters):
        left = sum(1 for value in found if value < 0)
        # Of the rest, at most one sample goes to each cluster.
        for cell in order.tolist() if left else ():
            cluster, row = divmod(cell, count)
            if found[row] < 0 and capacity[cluster] > 0:
                found[row] = cluster
                capacity[cluster] -= 1
                left -= 1
                if not left:
                    break
    return torch.tensor(found, dtype=torch.int64)


def _start(features: Tensor, clusters: int, initial: Tensor | None, generator: torch.Generator | None) -> Tensor:
    """The rows at which centres start."""
    check_embeddings(features=features)
    check_clusters(len(features), clusters)
    if initial is None:
        initial = torch.randperm(len(features), generator=generator)[:clusters]
    if initial.shape != (clusters,):
        raise InputError(f"{len(initial)} initial rows came for {clusters} clusters: expected one each.")
    return features[initial].clone()


def _means(features: Tensor, assignment: Tensor, clusters: int) -> Tensor:
    """Mean row of every cluster, zeros for an empty one."""
    counts = torch.bincount(assignment, minlength=clusters).clamp_min(1).to(features.dtype)
    sums = features.new_zeros(clusters, features.shape[1]).index_add(0, assignment, features)
    return sums / counts[:, None]
