"""The geometry of two views of a data set, as plain numbers."""

from typing import TypedDict

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dipole.diagnostics.classes import tolerance
from dipole.diagnostics.hypersphere import alignment, uniformity
from dipole.diagnostics.rank import effective_rank
from dipole.diagnostics.scores import Scores, score_distributions
from dipole.losses.common import unit_rows
from dipole.ops.door import public


class Moments(TypedDict):
    """Mean and variance of a score."""

    mean: float
    variance: float


class Histogram(TypedDict):
    """Densities of the scores on common bins."""

    edges: list[float]
    positive: list[float]
    negative: list[float]


class Geometry(TypedDict):
    """Everything that is followed over the epochs of a run."""

    alignment: float
    uniformity: float  # L_unif; papers report its negative
    tolerance: float | None  # None without labels, or where no two samples share one
    effective_rank: float  # of the normalised embeddings
    positive: Moments
    negative: Moments
    auc: float  # of positive against negative scores: 0.5 where they overlap wholly, 1 where not at all
    histogram: Histogram


@public
@torch.no_grad()
def geometry(
    x: Float[Tensor, "n d"], y: Float[Tensor, "n d"], labels: Int[Tensor, "n"] | None = None, bins: int = 50
) -> Geometry:
    """Describe two views of a data set: alignment, uniformity, tolerance, effective rank and score distributions.

    What concerns one view (uniformity, tolerance, effective rank) is computed on `x`. Rows are normalised here.

    Args:
        x: (N, D) embeddings of one view.
        y: (N, D) embeddings of another view of the same samples.
        labels: (N,) classes for the tolerance, or None.
        bins: number of equal bins on [−1, 1] for the scores.

    Returns:
        Plain numbers and lists, ready for JSON: one entry of a run's `diagnostics.json`, less its epoch.

    Raises:
        InputError: shapes differ, a value is not finite, or there is one sample only.

    Example:
        >>> found = geometry(torch.eye(4), torch.eye(4))
        >>> found["alignment"], found["effective_rank"], found["negative"]
        (0.0, 4.0, {'mean': 0.0, 'variance': 0.0})
    """
    scores = score_distributions(x, y, bins)
    same_class = None if labels is None else tolerance(x, labels)
    return Geometry(
        alignment=float(alignment(x, y)),
        uniformity=float(uniformity(x)),
        tolerance=None if same_class is None else float(same_class),
        effective_rank=float(effective_rank(unit_rows(x))),
        positive=_moments(scores.positive),
        negative=_moments(scores.negative),
        auc=scores.auc,
        histogram=Histogram(
            edges=scores.edges.tolist(),
            positive=scores.positive.density.tolist(),
            negative=scores.negative.density.tolist(),
        ),
    )


def _moments(scores: Scores) -> Moments:
    """The scores without their histogram."""
    return Moments(mean=scores.mean, variance=scores.variance)
