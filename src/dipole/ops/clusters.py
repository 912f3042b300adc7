"""Clusters of embeddings: k-means by FAISS, nearest centres, labels that several clusterings share."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from dipole.errors import InputError
from dipole.ops.checks import check_at_least, check_choice, check_embeddings

ROWS_AT_ONCE = 2**24  # of features and centres, entries of their similarities
SPARSE = 0.15  # share of values that are not 0 below which k-means is faster on what is not 0
PseudoLabel = Literal["intersection", "last_stage"]


def kmeans(
    features: Float[Tensor, "n d"],
    clusters: int,
    *,
    seed: int = 0,
    iterations: int = 20,
    starts: int = 1,
    normalize: bool = True,
    inner_product: bool = False,
) -> tuple[Float[Tensor, "k d"], Int64[Tensor, "n"]]:
    """Cluster rows by Euclidean distance, with FAISS; the same rows and seed give the same clusters.

    Args:
        features: (N, D).
        clusters: K; N if there are fewer rows.
        seed: of the first centres.
        iterations: of Lloyd's algorithm; every row is used in each.
        starts: first centres that are tried; the closest clusters are kept.
        normalize: scale rows to length 1 before.
        inner_product: a row belongs to the centre with the largest product, not to the nearest; centres are means.

    Returns:
        The centres (K, D) and the nearest one of each row (N,).

    Raises:
        InputError: fewer than one cluster, or features that are not finite.

    Example:
        >>> x = torch.tensor([[0.0, 1.0], [0.1, 1.0], [1.0, 0.0], [1.0, 0.1]])
        >>> labels = kmeans(x, 2)[1]
        >>> bool(labels[0] == labels[1]), bool(labels[0] == labels[2])
        (True, False)
    """
    import faiss

    check_embeddings(features=features)
    check_at_least(clusters, 1, "clusters")
    check_at_least(iterations, 1, "iterations")
    check_at_least(starts, 1, "starts")
    rows = torch.nn.functional.normalize(features, dim=1) if normalize else features
    table = np.ascontiguousarray(rows.detach().float().cpu().numpy())
    found = faiss.Clustering(table.shape[1], min(clusters, len(table)))
    found.niter, found.nredo, found.seed = iterations, starts, seed % 2**31
    found.min_points_per_centroid, found.max_points_per_centroid = 1, len(table)
    index = (faiss.IndexFlatIP if inner_product else faiss.IndexFlatL2)(table.shape[1])
    found.train(table, index)
    centres = faiss.vector_float_to_array(found.centroids).reshape(-1, table.shape[1])
    _, nearest = index.search(table, 1)
    return torch.from_numpy(np.array(centres)), torch.from_numpy(nearest[:, 0].astype(np.int64))


def exact_kmeans(
    rows: Float[Tensor, "n d"], clusters: int, *, seed: int = 0, starts: int = 10
) -> tuple[Int64[Tensor, "n"], Float[Tensor, "k d"]]:
    """Cluster rows as they are by scikit-learn's k-means in float64: for few rows, where the last digit counts.

    Rows most of which are 0, such as words, stay sparse.

    Args:
        rows: (N, D).
        clusters: K.
        seed: of the starts.
        starts: of which the best is kept.

    Returns:
        The cluster of each row (N,), and the centres (K, D) in float64.

    Example:
        >>> exact_kmeans(torch.eye(2).repeat(3, 1), 2)[0].unique().tolist()
        [0, 1]
    """
    from scipy.sparse import csr_matrix
    from sklearn.cluster import KMeans

    table = rows.detach().double().cpu().numpy()
    few = np.count_nonzero(table) < SPARSE * table.size
    found = KMeans(clusters, n_init=starts, random_state=seed).fit(csr_matrix(table) if few else table)
    return torch.from_numpy(found.labels_).long(), torch.from_numpy(found.cluster_centers_)


def nearest_centres(
    features: Float[Tensor, "n d"], centres: Float[Tensor, "k d"], count: int
) -> tuple[Int64[Tensor, "n count"], Float[Tensor, "n count"]]:
    """Find the `count` centres with the largest cosine to each row, best first.

    Args:
        features: (N, D), of any length.
        centres: (K, D), of any length.
        count: centres for each row.

    Returns:
        Indices and cosines (N, count).

    Raises:
        InputError: widths differ, a value is not finite, or there are fewer centres than asked for.

    Example:
        >>> nearest_centres(torch.tensor([[1.0, 0.2]]), torch.eye(2), 2)[0]
        tensor([[0, 1]])
    """
    check_embeddings(features=features, centres=centres)
    check_at_least(count, 1, "count")
    if count > len(centres):
        raise InputError(f"{count} centres for each row were asked for, and there are {len(centres)}: ask for fewer.")
    unit = torch.nn.functional.normalize(centres, dim=1)
    labels, scores = [], []
    for rows in torch.nn.functional.normalize(features, dim=1).split(max(1, ROWS_AT_ONCE // len(centres))):
        cosine = rows @ unit.T
        best, place = cosine.topk(count, dim=1)
        scores.append(best)
        labels.append(place)
    return torch.cat(labels), torch.cat(scores)


def combine_cluster_labels(
    cluster_labels: Int64[Tensor, "stages n"] | Sequence[Int64[Tensor, "_"]],
    clusters: int,
    *,
    kind: PseudoLabel = "intersection",
) -> Int64[Tensor, "n"]:
    """Combine clusterings of the same samples into one label.

        intersection:  P(i) = ((c_0 K + c_1) K + …) K + c_t      equal where all clusters are
        last_stage:    P(i) = c_t (1 + K + … + K^t)              equal where the last cluster is

    Zhang et al.: *Learning the Unlearned: Mitigating Feature Suppression in Contrastive Learning* (ECCV 2024); the
    second is what their released code computes.

    Args:
        cluster_labels: (S, N), each from 0 to K − 1.
        clusters: K.
        kind: which of the two.

    Raises:
        InputError: a label is out of range, or K^S does not fit into 64 bits: combine dense labels step by step.

    Example:
        >>> combine_cluster_labels(torch.tensor([[0, 1, 1], [2, 0, 2]]), 3)
        tensor([2, 3, 5])
    """
    table = torch.stack(tuple(cluster_labels))
    check_at_least(clusters, 1, "clusters")
    check_choice(kind, ("intersection", "last_stage"), "kind")
    if table.numel() and not 0 <= int(table.min()) <= int(table.max()) < clusters:
        raise InputError(f"cluster labels reach from {int(table.min())} to {int(table.max())}: expected 0 to K − 1.")
    if clusters ** len(table) >= 2**63:
        raise InputError(f"{clusters}^{len(table)} labels do not fit into 64 bits: use fewer clusters or stages.")
    if kind == "last_stage":
        return table[-1] * sum(clusters**power for power in range(len(table)))
    combined = torch.zeros_like(table[0])
    for labels in table:
        combined = combined * clusters + labels
    return combined


def dense_labels(labels: Int64[Tensor, "n"]) -> Int64[Tensor, "n"]:
    """Number the labels that occur 0, 1, … in their order.

    Example:
        >>> dense_labels(torch.tensor([7, 3, 7]))
        tensor([1, 0, 1])
    """
    return labels.unique(return_inverse=True)[1]


def merge_small_labels(cluster_labels: Int64[Tensor, "stages n"], clusters: int, smallest: int) -> Int64[Tensor, "n"]:
    """Combine clusterings, and join labels of fewer samples than `smallest` into those of one stage less.

    Samples of small labels that share the clusters of all stages but the last are put together; where they are still
    too few, those of all but the last two; in the end all that are left.

    Args:
        cluster_labels: (S, N).
        clusters: K.
        smallest: samples that a label must have.

    Returns:
        Dense labels (N,); the last may be of fewer samples, if too few are left in all.

    Example:
        >>> merge_small_labels(torch.tensor([[0, 0, 0, 0, 1], [0, 0, 1, 2, 0]]), 3, 2)
        tensor([0, 0, 1, 1, 2])
    """
    merged = torch.full_like(cluster_labels[0], -1)
    left = torch.arange(merged.numel())
    offset = 0
    for stages in range(len(cluster_labels), -1, -1):
        if not len(left):
            break
        if stages:
            labels = dense_labels(combine_cluster_labels(cluster_labels[:stages, left], clusters))
        else:
            labels = torch.zeros(len(left), dtype=torch.int64)
        large = (labels.bincount() >= smallest)[labels] if stages else torch.ones(len(left), dtype=torch.bool)
        merged[left[large]] = offset + labels[large]
        offset += int(labels.max()) + 1
        left = left[~large]
    return dense_labels(merged)
