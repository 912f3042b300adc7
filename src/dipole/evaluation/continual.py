"""What is known and what is forgotten when tasks are learned one after the other."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dipole.errors import InputError
from dipole.ops.door import public


class ContinualScores(NamedTuple):
    """Scores of T tasks that were learned in turn.

    Attributes:
        steps: (T,) accuracy on all classes seen so far, after each task.
        average: mean of the steps.
        last: the last step.
        forgetting: mean over all tasks but the last of what was lost since its best; 0 for one task.
    """

    steps: Tensor
    average: float
    last: float
    forgetting: float


@public
def continual_scores(accuracy: Float[Tensor, "t t"], counts: Int[Tensor, "t"]) -> ContinualScores:
    """Compute, from A_ij = accuracy on task j after learning task i, and the numbers n_j of test samples:

        step_i = Σ_{j≤i} n_j A_ij / Σ_{j≤i} n_j,   average = mean_i step_i,   last = step_{T−1}
        forgetting = mean_{j<T−1} ( max_{j≤i<T−1} A_ij − A_{T−1,j} )

    Args:
        accuracy: (T, T), shares from 0 to 1; what stands above the diagonal counts for nothing.
        counts: (T,) test samples of each task, 1 or more.

    Raises:
        InputError: the matrix is not square, a share is none, or a task has no test sample.

    Example:
        >>> continual_scores(torch.tensor([[1.0, 0.0], [0.5, 1.0]]), torch.tensor([10, 10]))
        ContinualScores(steps=tensor([1.0000, 0.7500]), average=0.875, last=0.75, forgetting=0.5)
    """
    tasks = len(accuracy)
    if accuracy.shape != (tasks, tasks) or not tasks or not accuracy.is_floating_point():
        raise InputError(f"accuracy is {accuracy.dtype} {tuple(accuracy.shape)}: expected shares (T, T).")
    if counts.shape != (tasks,) or counts.is_floating_point() or int(counts.min()) < 1:
        raise InputError(f"counts are {counts.dtype} {tuple(counts.shape)}: expected {tasks} whole numbers above 0.")
    known = accuracy.detach().tril()
    if not bool(((known >= 0) & (known <= 1)).all()):
        raise InputError("accuracy holds values outside 0 … 1: expected shares.")
    weight = counts.to(known.dtype)
    steps = (known * weight).sum(dim=1) / weight.cumsum(dim=0)
    lost = [known[j : tasks - 1, j].max() - known[tasks - 1, j] for j in range(tasks - 1)]
    forgetting = float(torch.stack(lost).mean()) if lost else 0.0
    return ContinualScores(steps, float(steps.mean()), float(steps[-1]), forgetting)
