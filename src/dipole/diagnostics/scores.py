"""Distributions of the scores of positive and negative pairs."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from dipole.diagnostics.rows import check_two_samples, similarity_rows
from dipole.errors import InputError
from dipole.losses.common import unit_rows
from dipole.ops.checks import check_same_rows


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


class _Accumulator:
    """Moments and counts of scores that arrive in tiles."""

    def __init__(self, bins: int, device: torch.device) -> None:
        self.counts = torch.zeros(bins, dtype=torch.int64, device=device)
        self.sum = torch.zeros((), dtype=torch.float64, device=device)
        self.sum_of_squares = torch.zeros((), dtype=torch.float64, device=device)

    def add(self, scores: Tensor) -> None:
        """Take in scores of any shape."""
        bins = len(self.counts)
        cell = ((scores + 1) * (bins / 2)).long().clamp_(0, bins - 1)
        self.counts += torch.bincount(cell.flatten(), minlength=bins)
        wide = scores.double()
        self.sum += wide.sum()
        self.sum_of_squares += wide.square().sum()

    def result(self) -> Scores:
        """What came in."""
        number = int(self.counts.sum())
        mean = float(self.sum) / number
        variance = max(float(self.sum_of_squares) / number - mean**2, 0.0)
        return Scores(mean, variance, (self.counts.double() * (len(self.counts) / 2 / number)).cpu())


@torch.no_grad()
def score_distributions(x: Float[Tensor, "n d"], y: Float[Tensor, "n d"], bins: int = 50) -> ScoreDistributions:
    """Compute the distribution of the cosine scores of positives `⟨x_i, y_i⟩` and of negatives `⟨x_i, y_j⟩`, j ≠ i.

    Rows are normalised here; the N×N matrix is read in tiles and every pair counts.

    Args:
        x: (N, D) embeddings of one view.
        y: (N, D) embeddings of another view of the same samples.
        bins: number of equal bins on [−1, 1].

    Returns:
        Mean, variance and density of both kinds of score, and the bins + 1 edges.

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
    positive, negative = _Accumulator(bins, x.device), _Accumulator(bins, x.device)
    columns = torch.arange(len(x), device=x.device)
    for rows, similarity in similarity_rows(x, y):
        own = columns == columns[rows, None]
        positive.add(similarity[own])
        negative.add(similarity[~own])
    edges = torch.linspace(-1, 1, bins + 1, dtype=torch.float64)
    return ScoreDistributions(positive.result(), negative.result(), edges)
