"""Ajne's test statistic of uniformity on the sphere."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from dipole.diagnostics.rows import check_two_samples, similarity_rows
from dipole.losses.common import unit_rows
from dipole.ops.checks import check_embeddings
from dipole.ops.door import public


@public
@torch.no_grad()
def ajne_statistic(x: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Compute Ajne's statistic `A_N = N / 4 − Σ_{i<j} arccos(x_i · x_j) / (π N)`.

    It is 0 for points that are balanced with their antipodes, and N / 4 for points that are all alike: high means not
    uniform. Rows are normalised here. The N×N similarities are never stored.

    Prentice: *On invariant tests of uniformity for directions and orientations* (Annals of Statistics 1978); used by
    Fürst et al.: *CLOOB* (NeurIPS 2022).

    Args:
        x: (N, D) embeddings.

    Returns:
        A float64 scalar.

    Raises:
        InputError: there is one sample only, or a value is not finite.

    Example:
        >>> ajne_statistic(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
        tensor(0., dtype=torch.float64)
    """
    check_embeddings(x=x)
    check_two_samples(len(x), "Ajne's statistic")
    z = unit_rows(x).double()
    # arccos is steep at 1: rounding of a row's own similarity must not count.
    angles = sum(
        (tile.clamp_(-1, 1).arccos_().sum() - tile.diagonal(rows.start).sum() for rows, tile in similarity_rows(z, z)),
        start=z.new_zeros(()),
    )
    return len(z) / 4 - angles / (2 * math.pi * len(z))
