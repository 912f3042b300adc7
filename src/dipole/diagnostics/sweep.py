"""What each temperature would do to a given set of embeddings."""

from collections.abc import Sequence
from typing import TypedDict

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dipole.diagnostics.classes import tolerance
from dipole.diagnostics.hypersphere import uniformity
from dipole.diagnostics.rows import similarity_rows
from dipole.diagnostics.separation import local_separation
from dipole.errors import InputError
from dipole.losses.common import unit_rows
from dipole.ops.checks import check_temperature
from dipole.ops.door import public


class TemperatureRow(TypedDict):
    """One temperature; plain numbers, ready for JSON."""

    temperature: float
    entropy: float  # mean over anchors of H(r_i), nats
    effective_negatives: float  # mean over anchors of exp(H(r_i))
    uniformity: float  # L_unif; papers report its negative
    tolerance: float | None  # None without labels, or where no two samples share one
    positive_similarity: float
    top_negative_similarity: list[float]  # of the nearest negative, the second nearest, …
    penalty_by_similarity: list[float | None]  # mean r of the pairs in each similarity bin; None in an empty bin


class _PenaltyStatistics:
    """Sums over the anchors of one temperature."""

    def __init__(self, temperature: float, bins: int, device: torch.device) -> None:
        self.temperature = temperature
        self.entropy = self.effective = 0.0
        self.penalty = torch.zeros(bins, dtype=torch.float64, device=device)

    def add(self, similarity: Tensor, cell: Tensor) -> None:
        """Take in rows of similarities, −∞ for the positive, and the bin of each."""
        r = (similarity / self.temperature).softmax(dim=1)
        entropy = torch.special.entr(r).sum(dim=1).double()
        self.entropy += float(entropy.sum())
        self.effective += float(entropy.exp().sum())
        self.penalty += torch.bincount(cell.flatten(), r.flatten().double(), minlength=len(self.penalty))


@public
@torch.no_grad()
def temperature_sweep(
    x: Float[Tensor, "n d"],
    views: Float[Tensor, "n d"],
    labels: Int[Tensor, "n"] | None,
    temperatures: Sequence[float],
    *,
    k: int = 10,
    bins: int = 20,
) -> list[TemperatureRow]:
    """Describe how the contrastive loss would penalise the negatives of these embeddings at each temperature.

    The negatives of anchor i are `⟨x_i, v_j⟩`, j ≠ i. Only the penalties depend on the temperature; the geometry of the
    embeddings is repeated in each row, so that rows of runs trained at different temperatures can be put together.
    Rows are normalised here; the N×N matrix is read in tiles, once for all temperatures.

    Source: Wang, Liu, *Understanding the Behaviour of Contrastive Loss* (CVPR 2021).

    Args:
        x: (N, D) embeddings of one view.
        views: (N, D) embeddings of another view of the same samples.
        labels: (N,) classes for the tolerance, or None.
        temperatures: the values of τ > 0.
        k: number of nearest negatives for the local separation.
        bins: number of equal similarity bins on [−1, 1].

    Returns:
        One row for each temperature, in the order given.

    Raises:
        InputError: no temperature, one that is not positive, shapes that differ, non-finite values, or one sample only.

    Example:
        >>> rows = temperature_sweep(torch.eye(5), torch.eye(5), None, [0.1, 1.0])
        >>> [round(row["effective_negatives"], 3) for row in rows]  # all four negatives are equally similar
        [4.0, 4.0]
    """
    if not temperatures:
        raise InputError("temperatures is empty: give at least one value, e.g. 0.07, 0.3 and 1.0.")
    for temperature in temperatures:
        check_temperature(temperature)
    if bins < 1:
        raise InputError(f"bins is {bins}: expected 1 or more.")
    separation = local_separation(x, views, k)
    same_class = None if labels is None else tolerance(x, labels)
    statistics, pairs = _penalty_statistics(unit_rows(x), unit_rows(views), temperatures, bins)
    spread = float(uniformity(x))
    return [
        TemperatureRow(
            temperature=float(found.temperature),
            entropy=found.entropy / len(x),
            effective_negatives=found.effective / len(x),
            uniformity=spread,
            tolerance=None if same_class is None else float(same_class),
            positive_similarity=float(separation.positive_similarity),
            top_negative_similarity=separation.top_negative_similarity.tolist(),
            penalty_by_similarity=[
                total / number if number else None
                for total, number in zip(found.penalty.tolist(), pairs.tolist(), strict=True)
            ],
        )
        for found in statistics
    ]


def _penalty_statistics(
    x: Tensor, views: Tensor, temperatures: Sequence[float], bins: int
) -> tuple[list[_PenaltyStatistics], Tensor]:
    """Penalties at each temperature and the number of negative pairs in each bin."""
    statistics = [_PenaltyStatistics(temperature, bins, x.device) for temperature in temperatures]
    pairs = torch.zeros(bins, dtype=torch.int64, device=x.device)
    for rows, similarity in similarity_rows(x, views):
        cell = similarity.add(1).mul_(bins / 2).clamp_(0, bins - 1).int()
        pairs += torch.bincount(cell.flatten(), minlength=bins)
        # The positive is no negative: out of the counts, and with a penalty of exactly 0.
        pairs -= torch.bincount(cell.diagonal(rows.start), minlength=bins)
        similarity.diagonal(rows.start).fill_(-torch.inf)
        for found in statistics:
            found.add(similarity, cell)
    return statistics, pairs
