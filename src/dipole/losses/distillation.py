"""A student that learns how a teacher ranks candidates."""

from jaxtyping import Float
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import Reduction, inner_products, reduce, unit_rows
from dipole.ops.checks import check_embeddings, check_temperature
from dipole.ops.door import looking, public


@public
def score_distillation_loss(
    queries: Float[Tensor, "n d"],
    candidates: Float[Tensor, "m d"],
    teacher_scores: Float[Tensor, "n m"],
    *,
    temperature: float | Float[Tensor, ""] = 0.05,
    teacher_temperature: float | Float[Tensor, ""] | None = None,
    normalize: bool = True,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "n"]:
    """Compute `KL( softmax(t_i / τ_t) ‖ softmax(s_i / τ) )` of a teacher's and a student's scores of all candidates.

    Conventions: rows are normalised here; mean over the N queries; no gradient reaches the teacher's scores. The N×M
    scores are stored, as the teacher's are.

    Hinton, Vinyals, Dean: *Distilling the Knowledge in a Neural Network* (2015), with candidates for classes.

    Args:
        queries: (N, D) of the student.
        candidates: (M, D) of the student.
        teacher_scores: (N, M), for example cosines.
        temperature: τ > 0.
        teacher_temperature: τ_t; that of the student if None.
        normalize: False to compare plain inner products.
        reduction: over the queries.

    Returns:
        The loss, or (N,) values, 0 where both agree.

    Raises:
        InputError: shapes differ, a value is not finite, or a temperature is not positive.

    Example:
        >>> import torch
        >>> z = torch.eye(2)
        >>> score_distillation_loss(z, z, 1 - z, temperature=1.0)  # (e − 1) / (e + 1)
        tensor(0.4621)
    """
    check_embeddings(queries=queries, candidates=candidates)
    check_temperature(temperature)
    if teacher_scores.shape != (len(queries), len(candidates)):
        expected = (len(queries), len(candidates))
        raise InputError(f"teacher_scores are {tuple(teacher_scores.shape)}: expected {expected}, one a pair.")
    if looking() and not bool(teacher_scores.isfinite().all()):
        raise InputError("teacher_scores contains NaN or infinite values: look at the teacher.")
    if teacher_temperature is not None:
        check_temperature(teacher_temperature, "teacher_temperature")
    scores = inner_products(unit_rows(queries, normalize), unit_rows(candidates, normalize))
    student = (scores / temperature).log_softmax(dim=1)
    teacher = (teacher_scores.detach().to(scores.dtype) / (teacher_temperature or temperature)).log_softmax(dim=1)
    return reduce((teacher.exp() * (teacher - student)).sum(dim=1), reduction)
