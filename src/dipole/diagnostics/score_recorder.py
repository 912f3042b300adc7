"""A recorder of positive and negative scores, and where the gradient of InfoNCE vanishes.

Zhu, Zhao, Liu, Sun, Chen: *Improving Contrastive Learning by Visualizing Feature Transformation* (ICCV 2021).
"""

import math
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from dipole.errors import InputError
from dipole.files import atomic_write
from dipole.losses.common import unit_rows
from dipole.ops import pairwise_logsumexp
from dipole.ops.checks import check_at_least, check_embeddings, check_same_rows, check_temperature
from dipole.ops.door import public

COLUMNS = ("neg_mean", "neg_var", "pos", "exp_neg_mean", "exp_pos")


@public
@torch.no_grad()
def score_statistics(
    queries: Float[Tensor, "n d"],
    positives: Float[Tensor, "n d"],
    negatives: Float[Tensor, "m d"],
    *,
    temperature: float,
    normalize: bool = True,
) -> Float[Tensor, "n 5"]:
    """Compute five numbers of each query in place of its M scores:

        mean_j s_ij,   var_j s_ij,   s_i⁺,   mean_j exp(s_ij / τ),   exp(s_i⁺ / τ)

    The variance is divided by M − 1. The N×M scores are never stored: their moments follow from those of the negatives.

    Args:
        queries: (N, D).
        positives: (N, D).
        negatives: (M, D).
        temperature: τ > 0.
        normalize: False to take inner products of the rows as they are, for example of transformed features.

    Returns:
        (N, 5), at least in float32; half precision would overflow.

    Raises:
        InputError: shapes differ, a value is not finite, τ is not positive, or there is one negative only.

    Example:
        >>> score_statistics(torch.eye(2)[:1], torch.eye(2)[:1], torch.eye(2), temperature=1.0)
        tensor([[0.5000, 0.5000, 1.0000, 1.8591, 2.7183]])
    """
    check_same_rows(queries=queries, positives=positives)
    check_embeddings(queries=queries, negatives=negatives)
    check_temperature(temperature)
    count = len(negatives)
    if count < 2:
        raise InputError("the variance of negative scores needs two or more negatives.")
    queries, positives = unit_rows(queries, normalize), unit_rows(positives, normalize)
    negatives = unit_rows(negatives, normalize)
    centre = negatives.mean(dim=0)
    spread = (negatives - centre).T @ (negatives - centre) / (count - 1)
    positive = (queries * positives).sum(dim=1)
    log_mean = pairwise_logsumexp(queries, negatives, 1 / temperature) - math.log(count)
    variance = ((queries @ spread) * queries).sum(dim=1).clamp_min(0)
    return torch.stack([queries @ centre, variance, positive, log_mean.exp(), (positive / temperature).exp()], dim=1)


class ScoreCurves(NamedTuple):
    """One value of each recorded iteration."""

    neg_mean: Float[Tensor, "t"]
    neg_var: Float[Tensor, "t"]
    pos_mean: Float[Tensor, "t"]
    pos_var: Float[Tensor, "t"]  # over the batch, divided by N
    exp_neg: Float[Tensor, "t"]
    exp_pos: Float[Tensor, "t"]


class ScoreRecorder:
    """Record the scores of positives and negatives at every iteration, five numbers of each query.

    Low positive scores on a steady curve: positives are hard. A tiny variance of negative scores: all negatives look
    alike. A jump of it: the keys' encoder is not steady, its momentum too small.

    Args:
        every: record one of so many calls.

    Raises:
        InputError: `every` is below 1.

    Example:
        >>> recorder = ScoreRecorder()
        >>> for scale in (0.0, 1.0):
        ...     recorder.update(torch.eye(2), torch.eye(2), torch.eye(2) + scale, temperature=1.0)
        >>> recorder.curves().neg_mean
        tensor([0.5000, 0.6708])
    """

    def __init__(self, every: int = 1) -> None:
        check_at_least(every, 1, "every")
        self.every, self.calls = every, 0
        self.records: list[Tensor] = []

    def update(
        self,
        queries: Float[Tensor, "n d"],
        positives: Float[Tensor, "n d"],
        negatives: Float[Tensor, "m d"],
        *,
        temperature: float,
        normalize: bool = True,
    ) -> None:
        """Record the scores of a batch, see `score_statistics`."""
        if self.calls % self.every == 0:
            found = score_statistics(queries, positives, negatives, temperature=temperature, normalize=normalize)
            self.records.append(found.cpu())
        self.calls += 1

    def curves(self) -> ScoreCurves:
        """Return the mean over the batch of each column, and the variance of the positive score over the batch.

        Raises:
            InputError: nothing has been recorded.
        """
        if not self.records:
            raise InputError("nothing has been recorded: call update(…) first.")
        return score_curves(self.records)

    def save_epoch(self, path: str | Path) -> None:
        """Write the records of an epoch to a safetensors file and forget them.

        Args:
            path: of the file: `iteration_0`, `iteration_1` … hold (N, 5), columns as in `score_statistics`.

        Raises:
            InputError: nothing has been recorded.
        """
        from safetensors.torch import save_file

        if not self.records:
            raise InputError("nothing has been recorded: call update(…) first.")
        tensors = {f"iteration_{index}": record.contiguous() for index, record in enumerate(self.records)}
        with atomic_write(path) as temporary:
            save_file(tensors, temporary, metadata={"columns": ",".join(COLUMNS)})
        self.records = []


@public
def score_curves(records: list[Tensor]) -> ScoreCurves:
    """Aggregate records (N, 5) of iterations to curves.

    Example:
        >>> score_curves([torch.tensor([[0.0, 1.0, 1.0, 2.0, 3.0], [0.5, 1.0, 2.0, 2.0, 3.0]])]).pos_var
        tensor([0.2500])
    """
    means = torch.stack([record.mean(dim=0) for record in records])
    variance = torch.stack([record[:, 2].var(correction=0) for record in records])
    neg_mean, neg_var, pos_mean, exp_neg, exp_pos = means.unbind(dim=1)
    return ScoreCurves(neg_mean, neg_var, pos_mean, variance, exp_neg, exp_pos)


@public
def score_gradients(
    positives: Float[Tensor, "n"], negatives: Float[Tensor, "n m"], *, temperature: float
) -> tuple[Float[Tensor, "n"], Float[Tensor, "n m"]]:
    """Compute the gradient of InfoNCE with respect to its scores, for p = softmax of positive and negatives over τ:

        ∂ℓ/∂s⁺ = −(1 − p₀) / τ,    ∂ℓ/∂s_j = p_j / τ

    Args:
        positives: (N,) scores s⁺.
        negatives: (N, M) scores.
        temperature: τ > 0.

    Returns:
        (N,) and (N, M), of each query's own loss.

    Raises:
        InputError: numbers of rows differ, or τ is not positive.

    Example:
        >>> score_gradients(torch.zeros(1), torch.zeros(1, 3), temperature=0.5)
        (tensor([-1.5000]), tensor([[0.5000, 0.5000, 0.5000]]))
    """
    check_temperature(temperature)
    if len(positives) != len(negatives):
        raise InputError(f"there are {len(positives)} positive scores and {len(negatives)} rows of negative ones.")
    shares = torch.cat([positives[:, None], negatives], dim=1).div(temperature).softmax(dim=1)
    # The sum of the others is exact where p₀ is rounded to 1.
    return -shares[:, 1:].sum(dim=1) / temperature, shares[:, 1:] / temperature


@public
def gradient_landscape(
    positive_scores: Float[Tensor, "p"],
    negative_variances: Float[Tensor, "v"],
    *,
    num_negatives: int = 4096,
    negative_mean: float = 0.0,
    temperature: float = 0.2,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "p v"]:
    """Compute |∂ℓ/∂s⁺| over a grid of positive scores and variances of negative scores: where it vanishes, InfoNCE no
    longer teaches.

    Args:
        positive_scores: (P,) grid; no gradient is recorded.
        negative_variances: (V,) grid; negative scores are drawn from a normal distribution.
        num_negatives: M.
        negative_mean: of the normal distribution.
        temperature: τ > 0.
        generator: of the one set of standard normal scores that serves the whole grid.

    Returns:
        (P, V).

    Raises:
        InputError: a variance is negative, or τ is not positive.

    Example:
        >>> landscape = gradient_landscape(torch.tensor([0.0, 1.0]), torch.tensor([0.0]), num_negatives=1)
        >>> landscape  # 1 / (2 τ), and 1 / (τ (1 + exp(1 / τ)))
        tensor([[2.5000],
                [0.0335]])
    """
    check_at_least(num_negatives, 1, "num_negatives")
    positive_scores, negative_variances = positive_scores.detach(), negative_variances.detach()
    for variance in negative_variances:
        check_at_least(float(variance), 0, "a variance of negative scores")
    normal = torch.randn(num_negatives, generator=generator, dtype=positive_scores.dtype)
    columns = []
    for variance in negative_variances:
        negatives = (negative_mean + variance.sqrt() * normal).expand(len(positive_scores), -1)
        columns.append(-score_gradients(positive_scores, negatives, temperature=temperature)[0])
    return torch.stack(columns, dim=1)
