"""How far the positive stands above the nearest negatives."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from dipole.diagnostics.rows import check_two_samples, similarity_rows
from dipole.errors import InputError
from dipole.losses.common import unit_rows
from dipole.ops.checks import check_same_rows
from dipole.ops.door import public


class LocalSeparation(NamedTuple):
    """Similarity of the positives and, rank by rank, of the nearest negatives."""

    positive_similarity: Float[Tensor, ""]  # mean_i ⟨x_i, v_i⟩
    top_negative_similarity: Float[Tensor, "k"]  # the r-th largest ⟨x_i, v_j⟩, j ≠ i, averaged over i

    @property
    def gap(self) -> Tensor:
        """Positive similarity minus that of the nearest negative; it shrinks as the temperature grows."""
        return self.positive_similarity - self.top_negative_similarity[0]


@public
def local_separation(x: Float[Tensor, "n d"], views: Float[Tensor, "n d"], k: int = 10) -> LocalSeparation:
    """Compare the similarity of positives with that of the k nearest negatives.

    For every anchor i the similarities `⟨x_i, v_j⟩`, j ≠ i, are sorted in descending order; the first k are averaged
    over the anchors, rank by rank. Rows are normalised here; the N×N matrix is read in tiles.

    Source: Wang, Liu, *Understanding the Behaviour of Contrastive Loss* (CVPR 2021).

    Args:
        x: (N, D) embeddings of one view.
        views: (N, D) embeddings of another view of the same samples.
        k: number of ranks; at most N − 1 are returned.

    Returns:
        The mean positive similarity and the k mean similarities of the negatives.

    Raises:
        InputError: shapes differ, a value is not finite, k is below 1, or there is one sample only.

    Example:
        >>> found = local_separation(torch.eye(3), torch.eye(3), k=2)
        >>> found.positive_similarity, found.top_negative_similarity
        (tensor(1.), tensor([0., 0.]))
    """
    check_same_rows(x=x, views=views)
    check_two_samples(len(x), "local separation")
    if k < 1:
        raise InputError(f"k is {k}: expected 1 or more nearest negatives.")
    x, views = unit_rows(x), unit_rows(views)
    k = min(k, len(x) - 1)
    total = torch.zeros(k, dtype=torch.float64, device=x.device)
    for rows, similarity in similarity_rows(x, views):
        similarity.diagonal(rows.start).fill_(-torch.inf)
        total += similarity.topk(k, dim=1).values.sum(0, dtype=torch.float64)
    return LocalSeparation((x * views).sum(1).mean(), (total / len(x)).to(x.dtype))
