"""Distributions of the scores of positive and negative pairs."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from dipole.diagnostics.rows import check_two_samples, similarity_rows
from dipole.errors import InputError
from dipole.losses.common import unit_rows
from dipole.ops.checks import check_same_rows
from dipole.ops.door import public


class Scores(NamedTuple):
    """Mean, variance and histogram of one kind of score."""

    mean: float
    variance: float  # of the population: divided by the number of scores
    density: Float[Tensor, "bins"]  # integrates to 1 over [−1, 1]


class ScoreDistributions(NamedTuple):
    """Scores of positive and of negative pairs on common bins."""

    positive: Scores
    negative: Scores
    edges: Float[Tensor, "edges"]
    auc: float  # share of pairs of a positive and a negative score in which the positive is larger; ties count half


@public
@torch.no_grad()
def score_distributions(x: Float[Tensor, "n d"], y: Float[Tensor, "n d"], bins: int = 50) -> ScoreDistributions:
    """Compute the distribution of the cosine scores of positives `⟨x_i, y_i⟩` and of negatives `⟨x_i, y_j⟩`, j ≠ i.

    Rows are normalised here; the N×N matrix is read in tiles and every pair counts.

    Args:
        x: (N, D) embeddings of one view.
        y: (N, D) embeddings of another view of the same samples.
        bins: number of equal bins on [−1, 1].

    Returns:
        Mean, variance and density of both kinds of score, the bins + 1 edges, and how far the two overlap: the area
        under the curve is 0.5 where they cannot be told apart, and 1 where every positive is above every negative.

    Raises:
        InputError: shapes differ, a value is not finite, bins is below 1, or there is one sample only.

    Example:
        >>> scores = score_distributions(torch.eye(3), torch.eye(3), bins=4)
        >>> scores.positive.mean, scores.negative.mean
        (1.0, 0.0)
        >>> scores.positive.density
        tensor([0., 0., 0., 2.], dtype=torch.float64)
    """
    check_same_rows(x=x, y=y)
    check_two_samples(len(x), "the distribution of negative scores")
    if bins < 1:
        raise InputError(f"bins is {bins}: expected 1 or more.")
    x, y = unit_rows(x), unit_rows(y)
    positive = (x * y).sum(dim=1).double()
    own, counts = torch.zeros(2, bins, dtype=torch.int64, device=x.device)
    ranked, above = positive.to(x.dtype).sort().values, 0
    for rows, similarity in similarity_rows(x, y):
        own += _counts(similarity.diagonal(rows.start), bins)
        counts += _counts(similarity, bins)
        similarity.diagonal(rows.start).fill_(torch.inf)  # no positive is above it
        # Twice the number of positives above each negative, those that equal it once.
        above += int(sum((len(x) - torch.searchsorted(ranked, similarity, right=r)).sum() for r in (False, True)))
    return ScoreDistributions(
        _scores(positive.sum(), positive.square().sum(), own),
        _scores(*_negative_sums(x.double(), y.double()), counts - own),
        torch.linspace(-1, 1, bins + 1, dtype=torch.float64),
        above / (2 * len(x) ** 2 * (len(x) - 1)),
    )


def _negative_sums(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of the negative scores and of their squares, `Σ_ij ⟨x_i, y_j⟩² = ⟨XᵀX, YᵀY⟩`, in O(N D²)."""
    positive = (x * y).sum(dim=1)
    total = x.sum(dim=0) @ y.sum(dim=0) - positive.sum()
    squares = ((x.T @ x) * (y.T @ y)).sum() - positive.square().sum()
    return total, squares


def _counts(scores: Tensor, bins: int) -> Tensor:
    """Number of scores in each bin; rounding beyond ±1 belongs to the outer bins."""
    cell = scores.add(1).mul_(bins / 2).clamp_(0, bins - 1).int()
    return torch.bincount(cell.flatten(), minlength=bins)


def _scores(total: Tensor, squares: Tensor, counts: Tensor) -> Scores:
    """Moments and density."""
    number = int(counts.sum())
    mean = float(total) / number
    variance = max(float(squares) / number - mean**2, 0.0)
    return Scores(mean, variance, (counts.double() * (len(counts) / (2 * number))).cpu())
